// What programs written against @kubernetes/client-node do all day.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import {
  AppsV1Api,
  type ConfigurationOptions,
  CoordinationV1Api,
  CoreV1Api,
  Cp,
  Exec,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  Log,
  makeInformer,
  PatchStrategy,
  PortForward,
  setHeaderOptions,
  type V1ConfigMap,
  type V1Lease,
  type V1Pod,
  type V1PodSpec,
  type V1Status,
  Watch,
} from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BoardPort } from '../support/board-port.ts';
import { busybox, podSpec } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

const folder = mkdtempSync(join(tmpdir(), 'copepod-client-'));
const namespace = 'default';
let port: BoardPort;
let config: KubeConfig;
let core: CoreV1Api;

const {
  boards: [board],
  cluster,
} = onBoards(['pi'], {
  async begin() {
    port = new BoardPort(board, 6443);
    const local = await port.start();
    config = new KubeConfig();
    config.loadFromString(
      readFileSync(cluster.kubeconfig, 'utf8').replace(/server: .*/, `server: https://127.0.0.1:${local}`),
    );
    core = config.makeApiClient(CoreV1Api);
  },
});
afterAll(async () => {
  await port?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const eventually = <T>(what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> =>
  cluster.eventually(what, async () => condition()) as Promise<NonNullable<T>>;

const configMap = (name: string, data: Record<string, string>): V1ConfigMap => ({
  metadata: { name, labels: { made: 'here' } },
  data,
});

describe('informers', () => {
  it('list, follow, and go on after a broken connection without missing anything', async () => {
    const labelSelector = 'made=here';
    const informer = makeInformer<V1ConfigMap>(
      config,
      `/api/v1/namespaces/${namespace}/configmaps`,
      () => core.listNamespacedConfigMap({ namespace, labelSelector }),
      labelSelector,
    );
    const seen: string[] = [];
    for (const verb of ['add', 'update', 'delete'] as const) {
      informer.on(verb, (object) => void seen.push(`${verb} ${object.metadata?.name} ${object.data?.n}`));
    }
    // As its documentation has it: an informer that has lost its connection is started again.
    let broken = false;
    informer.on('error', () => {
      broken = true;
    });
    await core.createNamespacedConfigMap({ namespace, body: configMap('before', { n: '1' }) });
    await informer.start();
    await core.createNamespacedConfigMap({ namespace, body: configMap('during', { n: '1' }) });
    await core.replaceNamespacedConfigMap({
      name: 'during',
      namespace,
      body: configMap('during', { n: '2' }),
    });
    await eventually('the change', () => seen.includes('update during 2'));
    expect(seen.slice(0, 2)).toEqual(['add before 1', 'add during 1']);

    port.breakConnections();
    await core.createNamespacedConfigMap({ namespace, body: configMap('missed', { n: '1' }) });
    await core.deleteNamespacedConfigMap({ name: 'before', namespace });
    await eventually('the break to be noticed, or mended', () => broken || seen.includes('add missed 1'));
    if (broken) await informer.start();
    await eventually(
      'what happened meanwhile',
      () => seen.includes('add missed 1') && seen.includes('delete before 1'),
    );
    expect(
      informer
        .list()
        .map(({ metadata }) => metadata?.name)
        .sort(),
    ).toEqual(['during', 'missed']);
    await informer.stop();
  });

  it('a watch goes on from a resourceVersion, with bookmarks asked for', async () => {
    const list = await core.listNamespacedConfigMap({ namespace });
    const phases: string[] = [];
    const watch = await new Watch(config).watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: list.metadata?.resourceVersion, allowWatchBookmarks: true },
      (phase, object: V1ConfigMap) => void phases.push(`${phase} ${object.metadata?.name}`),
      () => {},
    );
    await core.createNamespacedConfigMap({ namespace, body: configMap('watched', {}) });
    await core.deleteNamespacedConfigMap({ name: 'watched', namespace });
    await eventually('both events', () => phases.length >= 2);
    expect(phases).toEqual(['ADDED watched', 'DELETED watched']);
    watch.abort();
  });
});

describe('leader election on a Lease', () => {
  it('is won by one, kept by renewing, lost with the lease', async () => {
    const api = config.makeApiClient(CoordinationV1Api);
    const where = { name: 'leader', namespace };
    const now = (): string => new Date().toISOString().replace(/Z$/, '000Z');
    const spec = (holderIdentity: string) => ({
      holderIdentity,
      leaseDurationSeconds: 15,
      renewTime: now() as never,
    });
    // Several candidates at once: one creates it, the others find it there.
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'c'].map((name) =>
        api.createNamespacedLease({ namespace, body: { metadata: { name: 'leader' }, spec: spec(name) } }),
      ),
    );
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason.code).toBe(409);
    const lease = (won[0] as PromiseFulfilledResult<V1Lease>).value;
    // The holder renews; who still has the older state cannot take over.
    const renewed = await api.replaceNamespacedLease({
      ...where,
      body: { ...lease, spec: { ...spec(lease.spec?.holderIdentity ?? ''), leaseTransitions: 0 } },
    });
    expect(Number(renewed.metadata?.resourceVersion)).toBeGreaterThan(
      Number(lease.metadata?.resourceVersion),
    );
    await expect(
      api.replaceNamespacedLease({ ...where, body: { ...lease, spec: spec('thief') } }),
    ).rejects.toMatchObject({
      code: 409,
    });
    // After its end, whoever has the newest state takes it.
    const taken = await api.replaceNamespacedLease({ ...where, body: { ...renewed, spec: spec('next') } });
    expect(taken.spec?.holderIdentity).toBe('next');
  });
});

describe('a pod', () => {
  const name = 'served';
  const decoder = (stream: PassThrough): (() => string) => {
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    return () => text;
  };

  beforeAll(async () => {
    const script = 'mkdir /www; echo served > /www/index.html; echo ready; exec httpd -f -p 8080 -h /www';
    const spec = podSpec({ terminationGracePeriodSeconds: 0, containers: [busybox(script)] });
    const body: V1Pod = { metadata: { name }, spec: spec as V1PodSpec };
    await core.createNamespacedPod({ namespace, body });
    await eventually(
      'the pod to run',
      async () => (await core.readNamespacedPod({ name, namespace })).status?.phase === 'Running',
    );
  });

  it('exec: streams and exit code over the WebSocket', async () => {
    const out = new PassThrough();
    const err = new PassThrough();
    const [stdout, stderr] = [decoder(out), decoder(err)];
    const status = await new Promise<V1Status>((resolve, reject) => {
      new Exec(config)
        .exec(
          namespace,
          name,
          'main',
          ['sh', '-c', 'cat; echo wrong >&2; exit 3'],
          out,
          err,
          Readable.from(['typed\n']),
          false,
          resolve,
        )
        .catch(reject);
    });
    expect(status).toMatchObject({ status: 'Failure', reason: 'NonZeroExitCode' });
    expect(status.details?.causes?.[0]?.message).toBe('3');
    expect([stdout(), stderr()]).toEqual(['typed\n', 'wrong\n']);
  });

  it('logs, as text and followed', async () => {
    expect(await core.readNamespacedPodLog({ name, namespace })).toBe('ready\n');
    const body: V1Pod = {
      metadata: { name: 'brief' },
      spec: {
        restartPolicy: 'Never',
        containers: [
          {
            name: 'main',
            image: 'copepod.local/busybox',
            imagePullPolicy: 'IfNotPresent',
            command: ['sh', '-c', 'echo one; sleep 2; echo two'],
          },
        ],
      },
    };
    await core.createNamespacedPod({ namespace, body });
    await eventually('the pod to run', async () => {
      const { status } = await core.readNamespacedPod({ name: 'brief', namespace });
      return status?.phase !== 'Pending';
    });
    const stream = new PassThrough();
    const text = decoder(stream);
    let ended = false;
    stream.on('end', () => {
      ended = true;
    });
    await new Log(config).log(namespace, 'brief', 'main', stream, { follow: true });
    await eventually('the log to end with the container', () => ended);
    expect(text()).toBe('one\ntwo\n');
  });

  it('port-forward', async () => {
    const forward = new PortForward(config);
    const server = createServer(
      (socket) => void forward.portForward(namespace, name, [8080], socket, null, socket),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1', () =>
        socket.write('GET /index.html HTTP/1.0\r\n\r\n'),
      );
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.includes('served')) resolve(text);
      });
      socket.on('error', reject).on('close', () => resolve(text));
    });
    expect(answer).toContain('served');
    server.close();
  });

  it('cp from the pod', async () => {
    const target = join(folder, 'out');
    mkdirSync(target);
    await new Cp(config).cpFromPod(namespace, name, 'main', 'index.html', target, '/www');
    await eventually('the file', () => readFileSync(join(target, 'index.html'), 'utf8') === 'served\n');
  });

  it('cp to the pod', async () => {
    const source = join(folder, 'in');
    mkdirSync(source);
    writeFileSync(join(source, 'in.txt'), 'carried\n');
    await new Cp(config).cpToPod(namespace, name, 'main', source, '/tmp');
    const out = new PassThrough();
    const text = decoder(out);
    await eventually('the file in the pod', async () => {
      await new Promise<void>((resolve, reject) => {
        new Exec(config)
          .exec(namespace, name, 'main', ['sh', '-c', 'cat /tmp/in.txt'], out, null, null, false, () =>
            resolve(),
          )
          .catch(reject);
      });
      return text().includes('carried');
    });
  });
});

describe('writing', () => {
  it('objects of any kind, by what they say that they are', async () => {
    const api = KubernetesObjectApi.makeApiClient(config);
    const made = await api.create<KubernetesObject>({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'any', namespace },
      spec: {
        schedule: '0 0 1 1 *',
        jobTemplate: {
          spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } } },
        },
      },
    } as KubernetesObject);
    expect(made.metadata?.uid).toBeTruthy();
    expect((await api.list('batch/v1', 'CronJob', namespace)).items).toHaveLength(1);
    await api.delete(made);
  });

  it('patches of each kind', async () => {
    const apps = config.makeApiClient(AppsV1Api);
    const labels = { app: 'patched' };
    await apps.createNamespacedDeployment({
      namespace,
      body: {
        metadata: { name: 'patched' },
        spec: {
          replicas: 0,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'x' }] } },
        },
      },
    });
    const where = { name: 'patched', namespace };
    const as = (strategy: string) => setHeaderOptions('Content-Type', strategy) as ConfigurationOptions;
    const merged = await apps.patchNamespacedDeployment(
      { ...where, body: { metadata: { labels: { m: '1' } } } },
      as(PatchStrategy.MergePatch),
    );
    expect(merged.metadata?.labels).toEqual({ m: '1' });
    const strategic = await apps.patchNamespacedDeployment(
      { ...where, body: { spec: { template: { spec: { containers: [{ name: 'd', image: 'y' }] } } } } },
      as(PatchStrategy.StrategicMergePatch),
    );
    expect(strategic.spec?.template.spec?.containers.map((container) => container.name)).toEqual(['d', 'c']);
    const replaced = await apps.patchNamespacedDeployment(
      {
        ...where,
        body: [{ op: 'replace', path: '/spec/minReadySeconds', value: 5 }].map((operation) => ({
          ...operation,
          op: 'add',
        })),
      },
      as(PatchStrategy.JsonPatch),
    );
    expect(replaced.spec?.minReadySeconds).toBe(5);
  });

  it('server-side apply: owners, conflicts, force', async () => {
    const apply = (fieldManager: string, data: Record<string, string>, force?: boolean) =>
      core.patchNamespacedConfigMap(
        {
          name: 'applied',
          namespace,
          fieldManager,
          ...(force === undefined ? {} : { force }),
          body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied' }, data },
        },
        setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply) as ConfigurationOptions,
      );
    const first = await apply('one', { a: '1', b: '1' });
    expect(first.metadata?.managedFields).toMatchObject([{ manager: 'one', operation: 'Apply' }]);
    await expect(apply('two', { a: '2' })).rejects.toMatchObject({ code: 409 });
    const forced = await apply('two', { a: '2' }, true);
    expect(forced.data).toEqual({ a: '2', b: '1' });
    // What its only owner no longer applies goes.
    const less = await apply('one', {});
    expect(less.data).toEqual({ a: '2' });
  });
});
