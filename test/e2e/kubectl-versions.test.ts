// The ordinary life of objects by two unmodified kubectl, five years apart: the one on the PATH and Debian 12's 1.20.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { debianKubectl } from '../support/debian-package.ts';
import type { Kubectl } from '../support/kubectl.ts';
import { busybox, podOf, podSpec, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

const { cluster } = onBoards(['pi']);

const spec = podSpec({
  terminationGracePeriodSeconds: 0,
  containers: [busybox('echo hello from $HOSTNAME; exec sleep 100000')],
});
const pod = (name: string) => podOf(name, spec, { labels: { app: name } });
const deployment = (replicas: number) => workload('Deployment', 'web', spec, { replicas });

/** One of each kind that people make by hand, valid and doing nothing. */
const KINDS: readonly { kind: string; apiVersion: string; cluster?: boolean; [field: string]: unknown }[] = [
  { apiVersion: 'v1', kind: 'ConfigMap', data: { key: 'value' } },
  { apiVersion: 'v1', kind: 'Secret', data: { key: 'dmFsdWU=' } },
  { apiVersion: 'v1', kind: 'Service', spec: { selector: { app: 'none' }, ports: [{ port: 80 }] } },
  { apiVersion: 'v1', kind: 'ServiceAccount' },
  { apiVersion: 'v1', kind: 'LimitRange', spec: { limits: [{ type: 'Pod', max: { cpu: '100' } }] } },
  { apiVersion: 'v1', kind: 'ResourceQuota', spec: { hard: { pods: '100' } } },
  {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Mi' } },
      storageClassName: 'none',
    },
  },
  {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    cluster: true,
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage: '1Mi' },
      hostPath: { path: '/tmp/none' },
      storageClassName: 'other',
    },
  },
  {
    apiVersion: 'v1',
    kind: 'ReplicationController',
    spec: {
      replicas: 0,
      selector: { app: 'rc' },
      template: { metadata: { labels: { app: 'rc' } }, spec: spec },
    },
  },
  deployment(0),
  { ...deployment(0), kind: 'ReplicaSet' },
  workload('StatefulSet', 'web', spec, { replicas: 0, serviceName: 'none' }),
  workload('DaemonSet', 'ds', { ...spec, nodeSelector: { none: 'such' } }),
  {
    apiVersion: 'batch/v1',
    kind: 'Job',
    spec: { suspend: true, template: { spec: { ...spec, restartPolicy: 'Never' } } },
  },
  {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    spec: {
      schedule: '0 0 1 1 *',
      suspend: true,
      jobTemplate: { spec: { template: { spec: { ...spec, restartPolicy: 'Never' } } } },
    },
  },
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    spec: { defaultBackend: { service: { name: 'none', port: { number: 80 } } } },
  },
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    spec: { podSelector: { matchLabels: { app: 'none' } } },
  },
  {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    spec: { minAvailable: 1, selector: { matchLabels: { app: 'none' } } },
  },
  {
    apiVersion: 'autoscaling/v1',
    kind: 'HorizontalPodAutoscaler',
    spec: { maxReplicas: 2, scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'none' } },
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'thing' },
    subjects: [{ kind: 'ServiceAccount', name: 'default' }],
  },
  { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', spec: { holderIdentity: 'me' } },
  { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', cluster: true, value: 10 },
  { apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', cluster: true, provisioner: 'example.com/none' },
];

/**
 * A budget's selector is always sent whole (its patch strategy is `replace`), which kubectl takes for a change. kubectl 1.20
 * does not know the type of batch/v1's CronJob and sends lists whole, without the defaults in their items.
 */
const alwaysConfigured = (kubectl: string, kind: string): boolean =>
  kind === 'PodDisruptionBudget' || (kubectl === 'old' && kind === 'CronJob');

const OUTPUTS = [
  'json',
  'yaml',
  'wide',
  'name',
  'jsonpath={.metadata.name}',
  'custom-columns=N:.metadata.name',
];

const KUBECTLS = [
  ['of the PATH', 'new', undefined],
  ['1.20 of Debian 12', 'old', debianKubectl],
] as const;

// Both beside each other, each case after case.
describe.concurrent.each(KUBECTLS)('kubectl %s', (_title, name, program) => {
  describe('in a namespace of its own', { concurrent: false }, () => cases(name, program));
});

function cases(name: string, program: (() => string) | undefined): void {
  let kubectl: Kubectl;
  const inNamespace = (words: string): Promise<string> => kubectl.line(`-n ${name} ${words}`);
  const apply = (object: object, ...flags: string[]): Promise<string> =>
    kubectl.ok(['-n', name, 'apply', '-f', '-', ...flags], { stdin: stringify(object) });

  beforeAll(async () => {
    kubectl = cluster.otherKubectl(name, {
      ...(program ? { program: program() } : {}),
      environment: { EDITOR: 'sed -i s/first/second/', KUBE_EDITOR: '' },
    });
    await kubectl.line(`create namespace ${name}`);
  });
  afterAll(() => kubectl.line(`delete namespace ${name} --wait=false`));

  it.each(KINDS)(
    '$kind: create, get, describe, label, apply, patch, delete',
    async ({ cluster: wide, ...kind }) => {
      // Of its own: some kinds belong to no namespace.
      const thing = `thing-${name}`;
      const object = { ...kind, metadata: { name: thing, labels: { made: 'first' } } };
      const type = kind.kind.toLowerCase();
      expect(
        await kubectl.ok(['-n', name, 'create', '-f', '-', '--save-config'], { stdin: stringify(object) }),
      ).toContain(`${thing} created`);
      await Promise.all(
        OUTPUTS.map(async (output) =>
          expect(await inNamespace(`get ${type} ${thing} -o ${output}`)).toContain(thing),
        ),
      );
      expect(await inNamespace(`get ${type}`)).toContain('NAME');
      // kubectl 1.20 describes these in versions that Kubernetes 1.25 has removed.
      const describable = name === 'new' || !['CronJob', 'PodDisruptionBudget'].includes(kind.kind);
      if (describable)
        expect(await inNamespace(`describe ${type} ${thing}`)).toMatch(new RegExp(`Name:\\s+${thing}`));
      expect(await inNamespace(`annotate ${type} ${thing} a=b`)).toContain('annotate');
      expect(await inNamespace(`label ${type} ${thing} made=second --overwrite`)).toContain('label');
      expect(
        await apply({ ...object, metadata: { ...object.metadata, labels: { made: 'third' } } }),
      ).toContain('configured');
      expect(
        await apply({ ...object, metadata: { ...object.metadata, labels: { made: 'third' } } }),
      ).toContain(alwaysConfigured(name, kind.kind) ? thing : 'unchanged');
      const patch = JSON.stringify({ metadata: { labels: { made: 'fourth' } } });
      expect(await kubectl.ok(['-n', name, 'patch', type, thing, '-p', patch])).toContain('patched');
      const now = await kubectl.get<{ metadata: Record<string, object> }>('-n', name, type, thing);
      expect(now.metadata).toMatchObject({ labels: { made: 'fourth' }, annotations: { a: 'b' } });
      expect(await inNamespace(`delete ${type} ${thing}`)).toContain('deleted');
      if (wide) expect(await kubectl.line(`get ${type} --ignore-not-found ${thing}`)).toBe('');
    },
  );

  it('validates before it sends, with the fields that the server knows', async () => {
    const wrong = { ...pod('wrong'), spec: { ...spec, nodeSelektor: {} } };
    const { code, stderr } = await kubectl.run(['-n', name, 'apply', '-f', '-'], { stdin: stringify(wrong) });
    expect(code).not.toBe(0);
    expect(stderr).toContain('nodeSelektor');
  });

  it('explains', async () => {
    expect(await kubectl.line('explain pod.spec')).toMatch(
      /restartPolicy\s*<string>[\s\S]*Always, OnFailure or Never/,
    );
    expect(await kubectl.line('explain deployment.spec.strategy.rollingUpdate')).toContain('maxSurge');
    expect(await kubectl.line('explain service.spec.type')).toContain('NodePort');
    expect(await kubectl.line('explain cronjob --recursive')).toContain('jobTemplate');
  });

  it('edits and shows what an apply would change', async () => {
    await apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'edited' },
      data: { key: 'first' },
    });
    expect(await inNamespace('edit configmap edited')).toContain('edited');
    expect(await inNamespace('get configmap edited -o jsonpath={.data.key}')).toBe('second');
    const { code, stdout, stderr } = await kubectl.run(['-n', name, 'diff', '-f', '-'], {
      stdin: stringify({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'edited' },
        data: { key: 'third' },
      }),
    });
    expect([code, stderr]).toEqual([1, '']);
    expect(stdout).toMatch(/-\s+key: second[\s\S]*\+\s+key: third/);
    expect(
      await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'edited' } }, '--dry-run=server'),
    ).toContain('server dry run');
  });

  it('runs a pod: wait, logs, exec, cp, port-forward', async () => {
    await apply(pod('runner'));
    await inNamespace('wait --for=condition=Ready pod/runner --timeout=60s');
    expect(await inNamespace('logs runner')).toContain('hello from runner');
    expect(await inNamespace('exec runner -- hostname')).toBe('runner\n');
    const piped = await kubectl.ok(
      ['-n', name, 'exec', '-i', 'runner', '--', 'sh', '-c', 'cat > /tmp/in; cat /tmp/in'],
      {
        stdin: 'through\n',
      },
    );
    expect(piped).toBe('through\n');
    const failed = await kubectl.run(['-n', name, 'exec', 'runner', '--', 'sh', '-c', 'exit 7']);
    expect(failed.code).toBe(7);
    expect(await inNamespace('delete pod runner')).toContain('deleted');
  });

  it('rolls a deployment out, scales it, goes back', async () => {
    await apply(deployment(1));
    expect(await inNamespace('rollout status deployment/web --timeout=60s')).toContain(
      'successfully rolled out',
    );
    await inNamespace('scale deployment/web --replicas=2');
    await inNamespace('rollout status deployment/web --timeout=60s');
    await inNamespace('set env deployment/web CHANGED=yes');
    await inNamespace('rollout status deployment/web --timeout=60s');
    expect(await inNamespace('rollout history deployment/web')).toMatch(/^2\s/m);
    expect(await inNamespace('rollout undo deployment/web')).toContain('rolled back');
    await inNamespace('rollout restart deployment/web');
    await inNamespace('rollout status deployment/web --timeout=60s');
    expect(await inNamespace('expose deployment web --port=80')).toContain('exposed');
    expect(await inNamespace('autoscale deployment web --max=3')).toContain('autoscaled');
    await inNamespace('delete deployment,service,hpa --all');
    await cluster.eventually(
      'the pods to be gone',
      async () => (await inNamespace('get pods -l app=web -o name')) === '',
    );
  });

  it('asks about rights, nodes and the cluster', async () => {
    expect(await inNamespace('auth can-i create deployments')).toBe('yes\n');
    const account = `system:serviceaccount:${name}:default`;
    const denied = await kubectl.run(['-n', name, 'auth', 'can-i', 'delete', 'nodes', `--as=${account}`]);
    expect([denied.code, denied.stdout]).toEqual([1, 'no\n']);
    expect(await kubectl.line('get nodes')).toMatch(/pi\s+Ready/);
    expect(await kubectl.line('describe node pi')).toContain('Allocatable:');
    expect(await kubectl.line('api-resources')).toContain('deployments');
    expect(await kubectl.line('api-versions')).toContain('apps/v1');
    expect(await kubectl.line('version')).toContain('v1.36.0+copepod');
    expect(await inNamespace('get events')).toContain('Scheduled');
    expect(await inNamespace('create job once --image=x --dry-run=client -o name')).toContain(
      'job.batch/once',
    );
    await kubectl.line('cordon pi');
    await kubectl.line('uncordon pi');
  });
}
