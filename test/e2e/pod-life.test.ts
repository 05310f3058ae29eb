import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Limiter } from '../../src/agent/limiter.ts';
import type { Container, Node, Pod, PodSpec } from '../../src/api/types/core-v1.ts';
import { conditionOf, isReady } from '../support/look-at.ts';
import { busybox, FOREVER, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// The life of pods on a real engine: one board, many pods at the same time.
const {
  boards: [board],
  cluster,
  kubectl,
  apply,
  until,
  podReady: ready,
  eventsOf,
} = onBoards(['board']);

/** Until it succeeds: on a loaded machine kubectl gives up on a handshake after ten seconds. */
const exec = async (name: string, command: string): Promise<string> => {
  const { output } = await cluster.eventually(`${command} in ${name}`, async () => ({
    output: await kubectl.ok(['exec', name, '--', 'sh', '-c', command]),
  }));
  return output;
};
const groups = (uid: string): string[] =>
  readdirSync('/sys/fs/cgroup')
    .flatMap((hierarchy) =>
      ['', 'burstable', 'besteffort'].map((qos) =>
        join('/sys/fs/cgroup', hierarchy, 'kubepods', qos, `pod${uid}`),
      ),
    )
    .filter((path) => existsSync(path));

it('resizes CPU and memory in place, refuses what it cannot, and keeps to the pod’s own group', async () => {
  const limited = busybox(FOREVER, {
    resources: { requests: { cpu: '50m', memory: '32Mi' }, limits: { cpu: '100m', memory: '64Mi' } },
  });
  const whole = podOf('whole', { resources: { limits: { cpu: '200m', memory: '96Mi' } } });
  await apply(podOf('sized', { containers: [limited] }), whole);
  const [before, level] = await Promise.all([ready('sized'), ready('whole')]);
  const id = before.status?.containerStatuses?.[0]?.containerID?.replace('docker://', '') ?? '';
  const uid = before.metadata.uid ?? '';
  const [memory] = groups(uid).filter((path) => path.includes('/memory/'));
  expect(memory).toBe(`/sys/fs/cgroup/memory/kubepods/burstable/pod${uid}`);
  expect(readFileSync(`${memory}/memory.limit_in_bytes`, 'utf8').trim()).toBe(String(64 * 1024 * 1024));
  expect(existsSync(`${memory}/${id}`)).toBe(true);
  const quota = (path: string) => Number(readFileSync(`${path}/cpu.cfs_quota_us`, 'utf8'));
  const cpuGroup = groups(uid).find((path) => /\/cpu(,cpuacct)?\//.test(path)) ?? '';
  expect([quota(cpuGroup), quota(`${cpuGroup}/${id}`)]).toEqual([10_000, 10_000]);
  // The pod as a whole is limited where its container is not.
  const wholeGroup = groups(level.metadata.uid ?? '').find((path) => path.includes('/memory/'));
  expect(readFileSync(`${wholeGroup}/memory.limit_in_bytes`, 'utf8').trim()).toBe(String(96 * 1024 * 1024));
  expect(level.spec?.resources?.requests).toEqual({ cpu: '200m', memory: '96Mi' });
  expect(level.status?.qosClass).toBe('Guaranteed');

  const patch = (name: string, cpu: string, mem: string) =>
    kubectl.run([
      'patch',
      'pod',
      name,
      '--subresource=resize',
      '-p',
      JSON.stringify({
        spec: { containers: [{ name: 'main', resources: { limits: { cpu, memory: mem } } }] },
      }),
    ]);
  expect((await patch('sized', '300m', '128Mi')).code).toBe(0);
  const after = await until('to be resized', 'sized', ({ status }) => {
    return status?.containerStatuses?.[0]?.resources?.limits?.memory === '128Mi';
  });
  expect(after.status?.containerStatuses?.[0]).toMatchObject({
    restartCount: 0,
    containerID: `docker://${id}`,
    resources: { limits: { cpu: '300m', memory: '128Mi' }, requests: { cpu: '50m', memory: '32Mi' } },
    allocatedResources: { cpu: '50m', memory: '32Mi' },
  });
  expect([quota(cpuGroup), quota(`${cpuGroup}/${id}`)]).toEqual([30_000, 30_000]);
  expect(readFileSync(`${memory}/memory.limit_in_bytes`, 'utf8').trim()).toBe(String(128 * 1024 * 1024));
  expect(await eventsOf('sized')).toEqual(
    expect.arrayContaining([expect.stringMatching(/^ResizeCompleted: /)]),
  );

  // Below what it uses: refused by the agent, said in the condition.
  await exec('sized', 'dd if=/dev/zero of=/dev/shm/fill bs=1M count=40 2>/dev/null');
  expect((await patch('sized', '300m', '33Mi')).code).toBe(0);
  const refused = await until('its resize to fail', 'sized', (found) =>
    conditionOf(found, 'PodResizeInProgress')?.message?.includes('below current usage'),
  );
  expect(conditionOf(refused, 'PodResizeInProgress')?.reason).toBe('Error');
  await exec('sized', 'rm /dev/shm/fill');

  const removed = await kubectl.run([
    'patch',
    'pod',
    'sized',
    '--subresource=resize',
    '--type=json',
    '-p',
    '[{"op":"remove","path":"/spec/containers/0/resources/limits/cpu"}]',
  ]);
  expect(removed.stderr).toContain('resource limits cannot be removed');
  await kubectl.line('delete pod sized whole --wait=true');
  expect(groups(uid)).toEqual([]);
});

it('runs static pods from files, shows them at the server, and ends them with their files', async () => {
  const directory = join(cluster.dataDir, 'agent', 'pod-manifests');
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'web.yaml');
  const manifest = (word: string): string => `
apiVersion: v1
kind: Pod
metadata:
  name: fixed
  labels: {app: fixed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: copepod.local/busybox
    imagePullPolicy: IfNotPresent
    command: ["sh", "-c", "echo ${word}; ${FOREVER.replaceAll('"', '\\"')}"]
`;
  writeFileSync(file, manifest('one'));
  writeFileSync(join(directory, 'bad.json'), '{"apiVersion": "v1", "kind": "Pod"');
  const name = 'fixed-board';
  const appears = (test: (found: Pod) => unknown) =>
    cluster.eventually(`static pod ${name}`, async () => {
      const { code, stdout } = await kubectl.run(['get', 'pod', name, '-o', 'json']);
      if (code !== 0) return undefined;
      const found = JSON.parse(stdout) as Pod;
      return test(found) ? found : undefined;
    });
  const first = await appears(isReady);
  const hash = first.metadata.annotations?.['kubernetes.io/config.hash'] ?? '';
  expect(first.metadata).toMatchObject({
    labels: { app: 'fixed' },
    annotations: { 'kubernetes.io/config.source': 'file', 'kubernetes.io/config.mirror': hash },
    ownerReferences: [{ kind: 'Node', name: 'board', controller: true }],
  });
  expect(await kubectl.line(`logs ${name}`)).toBe('one\n');
  expect(await exec(name, 'echo in')).toBe('in\n');
  expect(await eventsOf('board')).toEqual(
    expect.arrayContaining([expect.stringMatching(/^InvalidStaticPod: .*bad\.json: /)]),
  );
  rmSync(join(directory, 'bad.json'));
  const container = first.status?.containerStatuses?.[0]?.containerID;

  // Deleted at the server: made again there, and nothing happens on the board.
  await kubectl.line(`delete pod ${name} --wait=false`);
  const second = await appears((found) => isReady(found) && found.metadata.uid !== first.metadata.uid);
  expect(second.status?.containerStatuses?.[0]?.containerID).toBe(container);

  writeFileSync(file, manifest('two'));
  const third = await appears(
    (found) => isReady(found) && found.metadata.annotations?.['kubernetes.io/config.hash'] !== hash,
  );
  expect(third.status?.containerStatuses?.[0]?.containerID).not.toBe(container);
  expect(await kubectl.line(`logs ${name}`)).toBe('two\n');

  rmSync(file);
  await cluster.eventually(`${name} to go`, async () => {
    const { code } = await kubectl.run(['get', 'pod', name]);
    return code !== 0;
  });
});

it('gives many pods what they ask for, and refuses what the node cannot give', async () => {
  const shared = mkdtempSync(join(tmpdir(), 'copepod-pod-life-'));
  const profiles = join(cluster.dataDir, 'agent', 'seccomp');
  mkdirSync(profiles, { recursive: true });
  writeFileSync(
    join(profiles, 'no-mkdir.json'),
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    }),
  );
  const seccomp = (localhostProfile: string): Partial<PodSpec> => ({
    securityContext: { seccompProfile: { type: 'Localhost', localhostProfile } },
  });
  const said = (name: string): string =>
    `trap "echo ${name} >> /shared/ended; exit 0" TERM; while true; do sleep 1000000 & wait $!; done`;
  const sees = { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] };
  const sidecar = (name: string): Container =>
    busybox(said(name), { name, restartPolicy: 'Always', ...sees });
  await kubectl.apply({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'words' },
    data: { one: 'first', 'two.dotted': 'second' },
  });
  await apply(
    podOf('debugged', {}),
    podOf('rules', {
      restartPolicy: 'Never',
      volumes: [{ name: 'ran', emptyDir: {} }],
      containers: [
        busybox('if [ -e /ran/once ]; then exit 0; fi; touch /ran/once; exit 42', {
          restartPolicy: 'Never',
          restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }],
          volumeMounts: [{ name: 'ran', mountPath: '/ran' }],
        }),
      ],
    }),
    podOf('signalled', {
      os: { name: 'linux' },
      terminationGracePeriodSeconds: 30,
      containers: [
        busybox(
          'trap "echo -n usr1 > /dev/termination-log; exit 7" USR1; while true; do sleep 1000000 & wait $!; done',
          {
            lifecycle: { stopSignal: 'SIGUSR1' },
            livenessProbe: {
              exec: { command: ['false'] },
              periodSeconds: 1,
              failureThreshold: 1,
              initialDelaySeconds: 2,
              terminationGracePeriodSeconds: 5,
            },
          },
        ),
      ],
    }),
    podOf('fallback', {
      restartPolicy: 'Never',
      containers: [busybox('echo last words; exit 3', { terminationMessagePolicy: 'FallbackToLogsOnError' })],
    }),
    podOf('named', {
      hostname: 'short',
      subdomain: 'sub',
      setHostnameAsFQDN: true,
      hostAliases: [{ ip: '10.9.8.7', hostnames: ['far', 'away'] }],
      dnsPolicy: 'None',
      dnsConfig: { nameservers: ['10.1.1.1'], searches: ['a.b'], options: [{ name: 'ndots', value: '2' }] },
    }),
    podOf('sharing', {
      shareProcessNamespace: true,
      containers: [busybox(FOREVER), busybox('exec sleep 7654321', { name: 'other' })],
    }),
    podOf('hosting', { hostNetwork: true, hostPID: true, hostIPC: true }),
    podOf('gated', { readinessGates: [{ conditionType: 'example.com/open' }] }),
    podOf('hooked', {
      containers: [busybox(FOREVER, { lifecycle: { postStart: { exec: { command: ['false'] } } } })],
    }),
    podOf('bounded', { activeDeadlineSeconds: 2 }),
    podOf('ordered', {
      volumes: [{ name: 'shared', hostPath: { path: shared } }],
      terminationGracePeriodSeconds: 20,
      initContainers: [sidecar('first'), sidecar('second')],
      containers: [busybox(said('main'), sees)],
    }),
    podOf('tuned', {
      securityContext: { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '80' }] },
    }),
    podOf('detuned', { securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '65536' }] } }),
    podOf('filtered', seccomp('no-mkdir.json')),
    podOf('unfiltered', seccomp('missing.json')),
    podOf('mapped', { hostUsers: false }),
    podOf('rootless', { securityContext: { runAsNonRoot: true } }),
    podOf('strict', {
      securityContext: {
        runAsUser: 1000,
        runAsGroup: 2000,
        supplementalGroups: [3000],
        supplementalGroupsPolicy: 'Strict',
      },
    }),
    podOf('filed', {
      volumes: [{ name: 'made', emptyDir: {} }],
      initContainers: [
        busybox('echo "WORD=\'from a file\' # yes" > /made/env; ln -s /etc/passwd /made/out', {
          name: 'maker',
          volumeMounts: [{ name: 'made', mountPath: '/made' }],
        }),
      ],
      containers: [
        busybox(FOREVER, {
          env: [
            { name: 'WORD', valueFrom: { fileKeyRef: { volumeName: 'made', path: 'env', key: 'WORD' } } },
            {
              name: 'NONE',
              valueFrom: { fileKeyRef: { volumeName: 'made', path: 'none', key: 'X', optional: true } },
            },
          ],
        }),
        busybox(FOREVER, {
          name: 'nosy',
          env: [{ name: 'X', valueFrom: { fileKeyRef: { volumeName: 'made', path: 'out', key: 'X' } } }],
        }),
      ],
    }),
    podOf(
      'told',
      {
        containers: [
          busybox(FOREVER, {
            resources: { requests: { memory: '10Mi' }, limits: { cpu: '1500m' } },
            envFrom: [{ prefix: 'W_', configMapRef: { name: 'words' } }],
            env: [
              { name: 'A', value: 'a' },
              { name: 'B', value: '$(A)-$$(A)-$(NONE)-$(W_one)' },
              { name: 'NOTE', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['note']" } } },
              { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
              { name: 'HOSTS', valueFrom: { fieldRef: { fieldPath: 'status.hostIPs' } } },
              { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
              { name: 'MILLI', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } },
              {
                name: 'MEM',
                valueFrom: { resourceFieldRef: { resource: 'requests.memory', divisor: '1Mi' } },
              },
              { name: 'ALL', valueFrom: { resourceFieldRef: { resource: 'limits.memory' } } },
              { name: 'GONE', valueFrom: { configMapKeyRef: { name: 'none', key: 'x', optional: true } } },
            ],
          }),
        ],
      },
      { annotations: { note: 'well said' } },
    ),
  );

  const checks: Record<string, () => Promise<void>> = {
    async debugged() {
      await ready('debugged');
      expect(await exec('debugged', 'cat /proc/1/oom_score_adj')).toBe('1000\n');
      const debug = await kubectl.runOnTerminal(
        'debug -it debugged --image=copepod.local/busybox --image-pull-policy=IfNotPresent --target=main -c probe -- sh'.split(
          ' ',
        ),
        { stdin: 'cat /proc/1/cmdline | tr "\\0" " "; echo; exit\n' },
      );
      // It looks into the process namespace of its target.
      expect(debug.stdout).toContain('trap "exit 0" TERM');
      const { status, spec } = await until('its probe to have ended', 'debugged', (found) =>
        found.status?.ephemeralContainerStatuses?.some(({ state }) => state?.terminated),
      );
      expect(spec?.ephemeralContainers?.[0]?.targetContainerName).toBe('main');
      expect(status?.ephemeralContainerStatuses?.[0]).toMatchObject({
        name: 'probe',
        state: { terminated: { exitCode: 0 } },
      });
      expect(status?.phase).toBe('Running');
    },
    async rules() {
      const { status } = await until('to be done', 'rules', (found) => found.status?.phase === 'Succeeded');
      expect(status?.containerStatuses?.[0]).toMatchObject({
        restartCount: 1,
        lastState: { terminated: { exitCode: 42 } },
      });
    },
    async signalled() {
      const { status } = await until('to have been restarted', 'signalled', (found) =>
        found.status?.containerStatuses?.some(({ restartCount }) => restartCount > 0),
      );
      const [main] = status?.containerStatuses ?? [];
      expect(main).toMatchObject({
        stopSignal: 'SIGUSR1',
        lastState: { terminated: { exitCode: 7, message: 'usr1' } },
      });
    },
    async fallback() {
      const { status } = await until(
        'to have failed',
        'fallback',
        (found) => found.status?.phase === 'Failed',
      );
      expect(status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({
        exitCode: 3,
        message: 'last words\n',
      });
    },
    async named() {
      const { status } = await ready('named');
      const fqdn = 'short.sub.default.svc.cluster.local';
      expect(await exec('named', 'hostname')).toBe(`${fqdn}\n`);
      const hosts = await exec('named', 'cat /etc/hosts');
      expect(hosts).toContain('10.9.8.7\tfar\taway\n');
      expect(hosts).toContain(`${status?.podIP}\t${fqdn}`);
      expect(await exec('named', 'cat /etc/resolv.conf')).toBe(
        'search a.b\nnameserver 10.1.1.1\noptions ndots:2\n',
      );
    },
    async sharing() {
      await ready('sharing');
      expect(await exec('sharing', 'ps')).toContain('sleep 7654321');
    },
    async hosting() {
      const { status } = await ready('hosting');
      expect(status?.podIP).toBe(board.ip);
      expect(await exec('hosting', 'cat /proc/1/comm')).toBe(readFileSync('/proc/1/comm', 'utf8'));
      expect(await exec('hosting', 'readlink /proc/self/ns/ipc')).toBe(
        `${readlinkSync('/proc/self/ns/ipc')}\n`,
      );
    },
    async gated() {
      const waiting = await until('its containers to be ready', 'gated', (found) => {
        return conditionOf(found, 'ContainersReady')?.status === 'True';
      });
      expect(conditionOf(waiting, 'Ready')).toMatchObject({
        status: 'False',
        reason: 'ReadinessGatesNotReady',
        message: 'corresponding condition of pod readiness gate "example.com/open" does not exist.',
      });
      const open = (status: string) =>
        kubectl.ok([
          'patch',
          'pod',
          'gated',
          '--subresource=status',
          '-p',
          JSON.stringify({ status: { conditions: [{ type: 'example.com/open', status }] } }),
        ]);
      await open('True');
      await ready('gated');
      await open('False');
      const closed = await until('to be unready', 'gated', (found) => !isReady(found));
      expect(conditionOf(closed, 'example.com/open')?.status).toBe('False');
    },
    async hooked() {
      await until('to have been restarted', 'hooked', (found) =>
        found.status?.containerStatuses?.some(({ restartCount }) => restartCount > 0),
      );
      expect(await eventsOf('hooked')).toEqual(
        expect.arrayContaining([expect.stringMatching(/^FailedPostStartHook: /)]),
      );
    },
    async bounded() {
      const { status } = await until('to be over', 'bounded', (found) => found.status?.phase === 'Failed');
      expect(status).toMatchObject({
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
      });
    },
    async ordered() {
      await ready('ordered');
      await kubectl.line('delete pod ordered --wait=true');
      expect(readFileSync(join(shared, 'ended'), 'utf8')).toBe('main\nsecond\nfirst\n');
    },
    async tuned() {
      await ready('tuned');
      expect(await exec('tuned', 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start')).toBe('80\n');
    },
    async detuned() {
      const { status } = await until('to be refused', 'detuned', (found) => found.status?.phase === 'Failed');
      expect(status).toMatchObject({
        reason: 'SysctlForbidden',
        message: 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
      });
    },
    async filtered() {
      await ready('filtered');
      expect(await exec('filtered', 'mkdir /tmp/x 2>&1 || true')).toContain('Operation not permitted');
    },
    async unfiltered() {
      const { status } = await until('to wait', 'unfiltered', (found) =>
        found.status?.containerStatuses?.some(
          ({ state }) => state?.waiting?.reason === 'CreateContainerError',
        ),
      );
      expect(status?.containerStatuses?.[0]?.state?.waiting?.message).toContain(
        'cannot load seccomp profile',
      );
    },
    async mapped() {
      await cluster.eventually('the refusal of a user namespace', async () =>
        (await eventsOf('mapped')).some((event) => /^FailedCreatePodSandBox: .*user namespaces/.test(event)),
      );
    },
    async rootless() {
      const { status, metadata } = await until('to wait', 'rootless', (found) =>
        found.status?.containerStatuses?.some(
          ({ state }) => state?.waiting?.reason === 'CreateContainerConfigError',
        ),
      );
      expect(status?.containerStatuses?.[0]?.state?.waiting?.message).toBe(
        `container has runAsNonRoot and image will run as root (pod: "rootless_default(${metadata.uid})", container: main)`,
      );
    },
    async strict() {
      await ready('strict');
      expect(await exec('strict', 'id -u; id -G')).toBe('1000\n2000 3000\n');
    },
    async filed() {
      const { status } = await until('its first container to run', 'filed', (found) =>
        found.status?.containerStatuses?.some(({ name, state }) => name === 'main' && state?.running),
      );
      expect(await exec('filed', 'echo $WORD-$NONE')).toBe('from a file-\n');
      // A link out of the volume is not followed: it would be read as root, from the board.
      const nosy = status?.containerStatuses?.find(({ name }) => name === 'nosy');
      expect(nosy?.state?.running).toBeUndefined();
      await until('its second to wait', 'filed', (found) =>
        found.status?.containerStatuses?.some(({ state }) =>
          state?.waiting?.message?.includes('the file is not in the volume'),
        ),
      );
    },
    async told() {
      const { status } = await ready('told');
      const env = new Map(
        (await exec('told', 'env'))
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const),
      );
      const { allocatable } = (await kubectl.get<Node>('node', 'board')).status ?? {};
      expect(Object.fromEntries(env)).toMatchObject({
        W_one: 'first',
        B: 'a-$(A)-$(NONE)-first',
        NOTE: 'well said',
        IP: status?.podIP,
        HOSTS: board.ip,
        CPU: '2',
        MILLI: '1500',
        MEM: '10',
        ALL: String(Number.parseInt(allocatable?.memory ?? '', 10) * 1024),
        KUBERNETES_SERVICE_HOST: '10.43.0.1',
      });
      expect(env.get('GONE')).toBeUndefined();
    },
  };
  const names = Object.keys(checks);
  // The pods start all at once; kubectl's processes would take the machine from them.
  const limiter = new Limiter(6);
  const results = await Promise.allSettled(
    names.map((name) => limiter.run(async () => await checks[name]?.())),
  );
  rmSync(shared, { recursive: true, force: true });
  const failures = results.flatMap((result, index) =>
    result.status === 'rejected' ? [`${names[index]}: ${(result.reason as Error).message}`] : [],
  );
  expect(failures).toEqual([]);
});
