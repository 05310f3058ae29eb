import type { Container, Pod, PodSpec } from '../../../src/api/types/core-v1.ts';

/** What a shape makes for one name: objects of the API, and when their pods are as they shall be. */
export interface Workload {
  name: string;
  shape: string;
  objects: KubeObject[];
  /** How many pods it stands for. */
  pods: number;
  /** Undefined when all is well, else what is missing. `pods` are those that carry its label. */
  missing(pods: readonly Pod[]): string | undefined;
}

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  [field: string]: unknown;
}

export const SOAK_LABEL = 'soak';
const IMAGE = 'copepod.local/busybox';
/** Nobody listens there: the pull is refused at once. */
const ABSENT_IMAGE = '127.0.0.1:1/absent:1';

type Make = (name: string, number: number) => Omit<Workload, 'name' | 'shape'>;

/** Every way to make pods that the soak knows. Data; `makeWorkload` picks by name. */
const SHAPES: Readonly<Record<string, Make>> = {
  deployment: (name) => ({
    pods: 2,
    objects: [
      configMap(name),
      service(name),
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name },
        spec: {
          replicas: 2,
          selector: { matchLabels: { [SOAK_LABEL]: name } },
          template: {
            metadata: { labels: { [SOAK_LABEL]: name } },
            spec: spec({
              containers: [
                {
                  ...sleeper('web', 'httpd -f -p 8080 -h /www'),
                  ports: [{ containerPort: 8080 }],
                  readinessProbe: { httpGet: { path: '/page', port: 8080 }, periodSeconds: 1 },
                  livenessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 2, initialDelaySeconds: 2 },
                  volumeMounts: [
                    { name: 'page', mountPath: '/www' },
                    { name: 'scratch', mountPath: '/scratch' },
                  ],
                },
              ],
              volumes: [
                { name: 'page', configMap: { name } },
                { name: 'scratch', emptyDir: {} },
              ],
            }),
          },
        },
      },
    ],
    missing: ready(2),
  }),

  sidecars: (name) => ({
    pods: 1,
    objects: [
      secret(name),
      pod(name, {
        initContainers: [
          sleeper('first', 'echo first > /shared/order'),
          {
            ...sleeper('proxy', 'sleep 1000000'),
            restartPolicy: 'Always',
            startupProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
            volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
          } as Container,
          sleeper('second', 'test -s /shared/order'),
        ].map(withMount('shared', '/shared')),
        containers: [
          {
            ...withMount('shared', '/shared')(sleeper('main', 'test -n "$KEY" && sleep 1000000')),
            env: [{ name: 'KEY', valueFrom: { secretKeyRef: { name, key: 'key' } } }],
          },
        ],
        volumes: [{ name: 'shared', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }],
      }),
    ],
    missing: ready(1),
  }),

  stateful: (name) => ({
    pods: 2,
    objects: [
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name },
        spec: {
          serviceName: name,
          replicas: 2,
          selector: { matchLabels: { [SOAK_LABEL]: name } },
          persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
          template: {
            metadata: { labels: { [SOAK_LABEL]: name } },
            spec: spec({
              containers: [
                withMount('data', '/data')(sleeper('main', 'date >> /data/starts; sleep 1000000')),
              ],
            }),
          },
          volumeClaimTemplates: [
            {
              metadata: { name: 'data' },
              spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
            },
          ],
        },
      },
    ],
    missing: ready(2),
  }),

  job: (name) => ({
    pods: 2,
    objects: [
      {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name },
        spec: {
          completions: 2,
          parallelism: 2,
          backoffLimit: 20,
          template: {
            metadata: { labels: { [SOAK_LABEL]: name } },
            spec: spec({ restartPolicy: 'OnFailure', containers: [sleeper('work', 'sleep 1; echo done')] }),
          },
        },
      },
    ],
    missing: (pods) =>
      pods.filter(({ status }) => status?.phase === 'Succeeded').length >= 2 ? undefined : 'not complete',
  }),

  failing: (name) => ({
    pods: 1,
    objects: [pod(name, { restartPolicy: 'Never', containers: [sleeper('main', 'exit 3')] })],
    missing: phase('Failed'),
  }),

  projected: (name) => ({
    pods: 1,
    objects: [
      configMap(name),
      pod(name, {
        containers: [withMount('all', '/all')(sleeper('main', 'cat /all/token /all/name && sleep 1000000'))],
        volumes: [
          {
            name: 'all',
            projected: {
              sources: [
                { serviceAccountToken: { path: 'token', expirationSeconds: 600 } },
                { configMap: { name } },
                {
                  downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] },
                },
              ],
            },
          },
        ],
      }),
    ],
    missing: ready(1),
  }),

  hostPort: (name, number) => ({
    pods: 1,
    objects: [
      pod(name, {
        containers: [
          {
            ...sleeper('main', 'httpd -f -p 80 -h /'),
            ports: [{ containerPort: 80, hostPort: 20_000 + (number % 10_000) }],
          },
        ],
      }),
    ],
    missing: ready(1),
  }),

  hostNetwork: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        hostNetwork: true,
        containers: [withMount('host', '/host')(sleeper('main', 'ls /host && sleep 1000000'))],
        volumes: [{ name: 'host', hostPath: { path: '/proc/sys', type: 'Directory' } }],
      }),
    ],
    missing: ready(1),
  }),

  hooks: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        shareProcessNamespace: true,
        containers: [
          {
            ...sleeper('main', 'trap "exit 0" TERM; while :; do sleep 0.1; done'),
            lifecycle: {
              postStart: { exec: { command: ['sh', '-c', 'sleep 0.3'] } },
              preStop: { exec: { command: ['sh', '-c', 'sleep 0.3'] } },
            },
          },
          sleeper('other', 'sleep 1000000'),
        ],
      }),
    ],
    missing: ready(1),
  }),

  subPath: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        securityContext: { fsGroup: 2000 },
        containers: [
          {
            ...sleeper('main', 'touch /data/here && sleep 1000000'),
            volumeMounts: [{ name: 'data', mountPath: '/data', subPath: 'a/b' }],
          },
        ],
        volumes: [{ name: 'data', emptyDir: {} }],
      }),
    ],
    missing: ready(1),
  }),

  crashing: (name) => ({
    pods: 1,
    objects: [pod(name, { containers: [sleeper('main', 'exit 1')] })],
    missing: waitingFor('CrashLoopBackOff'),
  }),

  unready: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        containers: [
          {
            ...sleeper('main', 'sleep 1000000'),
            livenessProbe: { exec: { command: ['false'] }, periodSeconds: 1, failureThreshold: 1 },
          },
        ],
      }),
    ],
    missing: (pods) =>
      (pods[0]?.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0 ? undefined : 'never restarted',
  }),

  absentImage: (name) => ({
    pods: 1,
    objects: [
      pod(name, { containers: [{ name: 'main', image: ABSENT_IMAGE, imagePullPolicy: 'IfNotPresent' }] }),
    ],
    missing: waitingFor('ErrImagePull', 'ImagePullBackOff'),
  }),

  absentConfig: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        containers: [
          {
            ...sleeper('main', 'sleep 1000000'),
            envFrom: [{ configMapRef: { name: `${name}-absent` } }],
          },
        ],
      }),
    ],
    missing: waitingFor('CreateContainerConfigError'),
  }),

  absentVolume: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        containers: [withMount('config', '/config')(sleeper('main', 'sleep 1000000'))],
        volumes: [{ name: 'config', configMap: { name: `${name}-absent` } }],
      }),
    ],
    missing: waitingFor('ContainerCreating'),
  }),

  failingInit: (name) => ({
    pods: 1,
    objects: [
      pod(name, {
        initContainers: [sleeper('init', 'exit 4')],
        containers: [sleeper('main', 'sleep 1000000')],
      }),
    ],
    missing: (pods) => {
      const state = pods[0]?.status?.initContainerStatuses?.[0];
      return (state?.restartCount ?? 0) > 0 ? undefined : 'its init container was not tried again';
    },
  }),
};

export const SHAPE_NAMES: readonly string[] = Object.keys(SHAPES);

export function makeWorkload(shape: string, number: number): Workload {
  const make = SHAPES[shape];
  if (!make) throw new Error(`no shape ${shape}`);
  const name = `s${number}-${shape.toLowerCase()}`;
  return { name, shape, ...make(name, number) };
}

/** Nothing here ends by itself at SIGTERM, and nobody waits for it. */
function spec(own: PodSpec): PodSpec {
  return { terminationGracePeriodSeconds: 1, ...own };
}

function pod(name: string, own: PodSpec): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { [SOAK_LABEL]: name } },
    spec: spec(own),
  };
}

function sleeper(name: string, script: string): Container {
  return { name, image: IMAGE, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', script] };
}

function withMount(name: string, mountPath: string): (container: Container) => Container {
  return (container) => ({ ...container, volumeMounts: [{ name, mountPath }] });
}

function configMap(name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { page: name } };
}

function secret(name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: { key: name } };
}

function service(name: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { [SOAK_LABEL]: name }, ports: [{ port: 80, targetPort: 8080 }] },
  };
}

type Missing = Workload['missing'];

function ready(count: number): Missing {
  return (pods) => {
    const up = pods.filter(({ status }) =>
      status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
    );
    return up.length === count && pods.length === count ? undefined : `${up.length} of ${count} Ready`;
  };
}

function phase(wanted: string): Missing {
  return (pods) =>
    pods[0]?.status?.phase === wanted ? undefined : `phase ${pods[0]?.status?.phase}, not ${wanted}`;
}

function waitingFor(...reasons: string[]): Missing {
  return (pods) => {
    const reason = pods[0]?.status?.containerStatuses?.[0]?.state?.waiting?.reason;
    return reason && reasons.includes(reason) ? undefined : `waits for ${reason}, not ${reasons[0]}`;
  };
}
