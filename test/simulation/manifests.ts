import type { SeededRandom } from '../support/seeded-random.ts';
import { IMAGES } from './machine.ts';

export type Content = Record<string, unknown>;

/** What pods ask for that takes most of a board: not two of them fit on one. */
const HEAVY_CPU = '2500m';
const LIGHT_CPU = '10m';

/** The user's priority classes. `patient` is important and pushes nobody out. */
export const PRIORITY_CLASSES = [
  { name: 'low', value: -100 },
  { name: 'high', value: 1000 },
  { name: 'patient', value: 500, preemptionPolicy: 'Never' },
] as const;

/** Makes up what a user wants to run. */
export class Manifests {
  private readonly random: SeededRandom;
  /** The name of some ConfigMap that there is. */
  private readonly configMap: () => string | undefined;

  constructor(options: { random: SeededRandom; configMap: () => string | undefined }) {
    this.random = options.random;
    this.configMap = options.configMap;
  }

  image(): string {
    return this.random.pick(IMAGES.serve);
  }

  deployment(name: string): Content {
    const { random } = this;
    const labels = { app: name };
    return {
      replicas: random.integer(4),
      minReadySeconds: random.chance(0.3) ? 5 : 0,
      selector: { matchLabels: labels },
      ...(random.chance(0.2) ? { strategy: { type: 'Recreate' } } : {}),
      template: this.template(labels, this.image()),
    };
  }

  /** Its pods take most of a board, so that they compete. */
  heavyDeployment(name: string): Content {
    const labels = { app: name };
    const template = this.template(labels, this.image()) as { spec: Content };
    const [main, ...others] = template.spec.containers as [Content];
    return {
      replicas: 1 + this.random.integer(3),
      selector: { matchLabels: labels },
      // Without room for one more a rollout has to give up an old pod first.
      strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
      template: {
        ...template,
        spec: {
          ...template.spec,
          priorityClassName: this.random.pick(PRIORITY_CLASSES).name,
          containers: [{ ...main, resources: { requests: { cpu: HEAVY_CPU } } }, ...others],
        },
      },
    };
  }

  daemonSet(name: string): Content {
    const labels = { app: name };
    return { selector: { matchLabels: labels }, template: this.template(labels, this.image()) };
  }

  statefulSet(name: string): Content {
    const { random } = this;
    const labels = { app: name };
    const template = this.template(labels, this.image());
    const common = {
      serviceName: name,
      replicas: 1 + random.integer(2),
      ...(random.chance(0.5) ? { podManagementPolicy: 'Parallel' } : {}),
      selector: { matchLabels: labels },
    };
    if (random.chance(0.4)) return { ...common, template };
    const [main, ...others] = (template as { spec: { containers: [Content] } }).spec.containers;
    const mounts = [...((main.volumeMounts as Content[]) ?? []), { name: 'data', mountPath: '/data' }];
    return {
      ...common,
      persistentVolumeClaimRetentionPolicy: {
        whenDeleted: random.pick(['Retain', 'Delete']),
        whenScaled: random.pick(['Retain', 'Delete']),
      },
      template: {
        ...template,
        spec: {
          ...(template.spec as Content),
          containers: [{ ...main, volumeMounts: mounts }, ...others],
        },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: 'data' },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
        },
      ],
    };
  }

  job(): Content {
    const { random } = this;
    const fails = random.chance(0.2);
    const indexed = random.chance(0.25);
    return {
      completions: 1 + random.integer(3),
      parallelism: 1 + random.integer(2),
      backoffLimit: fails ? random.integer(3) : 60,
      ...(indexed ? { completionMode: 'Indexed' } : {}),
      template: this.template(
        {},
        fails ? IMAGES.fail : IMAGES.work,
        fails || random.chance(0.6) ? 'Never' : 'OnFailure',
      ),
    };
  }

  cronJob(): Content {
    const { random } = this;
    return {
      schedule: random.chance(0.7) ? '* * * * *' : '*/2 * * * *',
      concurrencyPolicy: random.pick(['Allow', 'Forbid', 'Replace']),
      successfulJobsHistoryLimit: random.integer(3),
      failedJobsHistoryLimit: random.integer(2),
      jobTemplate: { spec: { ...this.job(), completions: 1, parallelism: 1 } },
    };
  }

  pod(): Content {
    const { random } = this;
    const image = random.pick([...IMAGES.serve, IMAGES.slowStop, IMAGES.work, IMAGES.fail]);
    const ends = image === IMAGES.work || image === IMAGES.fail;
    return this.template({}, image, ends ? random.pick(['Never', 'OnFailure']) : 'Always').spec as Content;
  }

  budget(app: string): Content {
    return {
      selector: { matchLabels: { app } },
      ...this.random.pick([
        { minAvailable: 1 },
        { maxUnavailable: 1 },
        { minAvailable: '50%' },
        { maxUnavailable: '34%' },
      ]),
      ...(this.random.chance(0.3) ? { unhealthyPodEvictionPolicy: 'AlwaysAllow' } : {}),
    };
  }

  autoscaler(deployment: string): Content {
    return {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment },
      minReplicas: 1,
      maxReplicas: 4,
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 100 } },
        },
      ],
      behavior: { scaleDown: { stabilizationWindowSeconds: this.random.pick([0, 30, 300]) } },
    };
  }

  template(labels: Record<string, string>, image: string, restartPolicy = 'Always'): Content {
    const { random } = this;
    const config = random.chance(0.25) ? this.configMap() : undefined;
    const probe = (periodSeconds: number) => ({
      exec: { command: ['check'] },
      periodSeconds,
      timeoutSeconds: 1,
    });
    const serves = image.includes('serve');
    const readiness = serves && random.chance(0.3) ? { readinessProbe: probe(5) } : {};
    const liveness =
      serves && random.chance(0.1) ? { livenessProbe: { ...probe(10), failureThreshold: 3 } } : {};
    const init = random.chance(0.15) ? { initContainers: [{ name: 'init', image: IMAGES.init }] } : {};
    const second = serves && random.chance(0.15) ? [{ name: 'second', image: IMAGES.sidecar }] : [];
    return {
      metadata: { labels },
      spec: {
        restartPolicy,
        terminationGracePeriodSeconds: random.pick([30, 30, 5, 1]),
        ...init,
        // Optional: the user may delete it again.
        ...(config ? { volumes: [{ name: 'config', configMap: { name: config, optional: true } }] } : {}),
        containers: [
          {
            name: 'main',
            image,
            resources: { requests: { cpu: LIGHT_CPU } },
            ...readiness,
            ...liveness,
            ...(config ? { volumeMounts: [{ name: 'config', mountPath: '/config' }] } : {}),
          },
          ...second,
        ],
      },
    };
  }
}
