import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Container, Node, Pod, PodSpec, PodStatus } from '../../src/api/types/core-v1.ts';
import { busybox, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// A board that runs out of memory and disk, logs that rotate, and devices. What the board measures is its own: a
// /proc/meminfo and a file system for volumes that only it sees.
const KIB = 1024;
const directory = mkdtempSync(join(tmpdir(), 'copepod-pressure-'));
const {
  boards: [board],
  cluster,
  kubectl,
  apply,
  getPod: get,
  podReaches,
  eventsOf,
} = onBoards(['small'], {
  flags: [
    '--eviction-pressure-transition-period=3s',
    '--volume-stats-agg-period=3s',
    '--container-log-max-size=64Ki',
    '--container-log-max-files=3',
    '--system-reserved=memory=100Mi,cpu=100m',
    '--pod-max-pids=100',
  ],
  prepare() {
    memory(600);
    board.run('mount', '--bind', join(directory, 'meminfo'), '/proc/meminfo');
  },
  async begin() {
    board.run('mount', '-t', 'tmpfs', '-o', 'size=64m,mode=0711', 'tmpfs', join(cluster.dataDir, 'pods'));
  },
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The board has a gibibyte, and this much of it is left. In place: the file is mounted. */
function memory(mebibytes: number): void {
  const lines = [
    'MemTotal: 1048576 kB',
    `MemFree: ${mebibytes * KIB} kB`,
    `MemAvailable: ${mebibytes * KIB} kB`,
  ];
  writeFileSync(join(directory, 'meminfo'), `${lines.join('\n')}\nBuffers: 0 kB\nCached: 0 kB\n`);
}

const pod = (
  name: string,
  script: string,
  spec: Partial<PodSpec> = {},
  container: Partial<Container> = {},
): Pod => podOf(name, { restartPolicy: 'Never', containers: [busybox(script, container)], ...spec });
const reaches = async (name: string, ...phases: string[]): Promise<PodStatus> =>
  (await podReaches(name, ...phases)).status ?? {};
const condition = async (type: string) => {
  const node = await kubectl.get<Node>('node', 'small');
  const taints = node.spec?.taints?.map(({ key }) => key) ?? [];
  return { status: node.status?.conditions?.find((each) => each.type === type)?.status, taints };
};

describe('a board', () => {
  it('keeps from its pods what was reserved', async () => {
    const { status } = await kubectl.get<Node>('node', 'small');
    expect(status?.capacity?.memory).toBe('1Gi');
    expect(status?.allocatable?.memory).toBe('824Mi');
    expect(status?.allocatable?.cpu).toMatch(/900m$/);
  });

  it('short of memory evicts the pod that takes most above its request, and says so', async () => {
    await apply(
      pod('modest', 'sleep 1000', {}, { resources: { requests: { memory: '64Mi' } } }),
      // A page of the tmpfs of /dev/shm is memory of the container.
      pod('greedy', 'head -c 30000000 /dev/zero > /dev/shm/x; echo done; sleep 1000'),
    );
    await Promise.all([reaches('modest', 'Running'), reaches('greedy', 'Running')]);
    await cluster.eventually('greedy to be greedy', async () =>
      (await kubectl.line('logs greedy')).includes('done'),
    );
    memory(80);
    const status = await reaches('greedy', 'Failed');
    expect(status).toMatchObject({ reason: 'Evicted' });
    expect(status.message).toMatch(
      /^The node was low on resource: memory\. Threshold quantity: 100Mi, available: 80Mi\. Container main was using \d+(Ki|Mi)?, request is 0, has larger consumption of memory\. $/,
    );
    expect(status.conditions).toContainEqual(
      expect.objectContaining({ type: 'DisruptionTarget', status: 'True', reason: 'TerminationByKubelet' }),
    );
    memory(600);
    expect((await eventsOf('greedy')).join()).toContain('The node was low on resource: memory.');
    expect((await get('modest')).status?.phase).toBe('Running');
  });

  it('is tainted while its memory is short, which keeps pods without requests away until it is over', async () => {
    // Nothing can be evicted: the only pod that runs is of the system.
    await kubectl.ok(['delete', 'pod', 'modest', 'greedy', '--now']);
    memory(80);
    await cluster.eventually('MemoryPressure', async () => {
      const { status, taints } = await condition('MemoryPressure');
      return status === 'True' && taints.includes('node.kubernetes.io/memory-pressure');
    });
    await apply(pod('late', 'sleep 1000'));
    await cluster.eventually('late to be unschedulable', async () =>
      (await get('late')).status?.conditions?.some(({ reason }) => reason === 'Unschedulable'),
    );
    memory(600);
    await reaches('late', 'Running');
    expect(await condition('MemoryPressure')).toEqual({ status: 'False', taints: [] });
    await kubectl.ok(['delete', 'pod', 'late', '--now']);
  });

  it('evicts a pod that wrote more than it may, and frees the disk of one that filled it', async () => {
    const volume = (emptyDir: object) => ({ volumes: [{ name: 'data', emptyDir }] });
    const mounted = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
    await apply(
      pod('writer', 'head -c 8000000 /dev/zero > /data/x; sleep 1000', volume({ sizeLimit: '4Mi' }), mounted),
      pod(
        'layer',
        'head -c 8000000 /dev/zero > /x; sleep 1000',
        {},
        {
          resources: { limits: { 'ephemeral-storage': '4Mi' } },
        },
      ),
      pod(
        'ram',
        'df -k /data | tail -n 1; sleep 1000',
        volume({ medium: 'Memory', sizeLimit: '8Mi' }),
        mounted,
      ),
    );
    expect((await reaches('writer', 'Failed')).message).toBe(
      'Usage of EmptyDir volume "data" exceeds the limit "4Mi". ',
    );
    expect((await reaches('layer', 'Failed')).message).toMatch(
      /^(Pod ephemeral local storage usage exceeds the total limit of containers 4Mi|Container main exceeded its local ephemeral storage limit "4Mi")\. $/,
    );
    await reaches('ram', 'Running');
    expect(await kubectl.line('logs ram')).toMatch(/tmpfs\s+8192\s/);

    // Again and again: what the writer gives back meanwhile is filled too.
    const fill = 'while :; do cat /dev/zero >> /data/x; sleep 0.2; done';
    await apply(pod('filler', fill, volume({}), mounted));
    const status = await reaches('filler', 'Failed');
    expect(status.message).toMatch(/^The node was low on resource: ephemeral-storage\. Threshold quantity: /);
    await cluster.eventually(
      'the disk to be free again',
      async () => (await condition('DiskPressure')).status === 'False',
      150_000,
    );
    expect((await get('ram')).status?.phase).toBe('Running');
    await kubectl.ok(['delete', 'pod', '--all', '--now']);
  });
});

describe('logs', () => {
  it('rotate, are followed through it, and lie where collectors look', async () => {
    // About 160 KiB: three files, the fourth of which has pushed the first one out.
    const script =
      'i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done; sleep 1; echo end; sleep 1000';
    await apply(pod('chatty', script));
    await reaches('chatty', 'Running');
    const followed = await kubectl.ok([
      'logs',
      '-f',
      'chatty',
      '--pod-running-timeout=10s',
      '--limit-bytes=100',
    ]);
    expect(followed).toHaveLength(100);
    await cluster.eventually('the end of the log', async () =>
      (await kubectl.line('logs chatty --tail=1')).includes('end'),
    );
    const { metadata, status } = await get('chatty');
    const id = status?.containerStatuses?.[0]?.containerID?.replace('docker://', '') ?? '';
    const link = `/var/log/containers/chatty_default_main-${id}.log`;
    expect(board.run('readlink', link).trim()).toBe(
      `/var/log/pods/default_chatty_${metadata.uid}/main/0.log`,
    );
    expect(board.run('sh', '-c', `tail -n 1 ${link}`)).toContain('"log":"end\\n"');
    const engine = board.run('sh', '-c', `dirname $(readlink -f ${link})`).trim();
    const files = readdirSync(engine).filter((name) => name.includes('-json.log'));
    expect(files).toHaveLength(3);
    for (const name of files) expect(readFileSync(join(engine, name)).length).toBeLessThan(70_000);
    // All that was kept, once and in order.
    const kept = (await kubectl.ok(['logs', 'chatty'])).trim().split('\n').slice(0, -1);
    const first = Number(kept[0]?.replace('line ', ''));
    expect(kept).toEqual(Array.from({ length: 2000 - first }, (_, index) => `line ${first + index}`));
    expect(await kubectl.line('logs chatty --tail=2')).toMatch(/line 1999\s+end/);
    expect(await kubectl.line('logs chatty --timestamps --tail=1')).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:.]+Z end\s*$/,
    );
    expect(await kubectl.line('logs chatty --since-time=2030-01-01T00:00:00Z')).toBe('');
  });

  it('of the run before are kept, and many that follow and go leave nothing open', async () => {
    await apply(
      pod(
        'restarts',
        'echo run; [ -e /data/x ] && sleep 1000; touch /data/x',
        {
          restartPolicy: 'Always',
          volumes: [{ name: 'data', emptyDir: {} }],
        },
        { volumeMounts: [{ name: 'data', mountPath: '/data' }] },
      ),
    );
    await cluster.eventually('a restart', async () =>
      (await get('restarts')).status?.containerStatuses?.some(
        ({ restartCount, ready }) => restartCount === 1 && ready,
      ),
    );
    expect((await kubectl.line('logs --previous restarts')).trim()).toBe('run');
    const before = sockets();
    const followers = Array.from({ length: 12 }, () =>
      kubectl.run(['logs', '-f', 'chatty', '--request-timeout=2s'], { timeoutMs: 30_000 }),
    );
    await Promise.all(followers);
    // A follower holds four or more; connections to Docker that wait for the next call are kept, a few of them.
    await cluster.eventually('all streams to be closed', async () => sockets() <= before + 8);
    const { uid } = (await get('chatty')).metadata;
    await kubectl.ok(['delete', 'pod', '--all', '--now']);
    expect(board.run('sh', '-c', `ls /var/log/pods | grep -c ${uid} || true`).trim()).toBe('0');
    expect(board.run('sh', '-c', 'find /var/log/containers -xtype l').trim()).toBe('');
  });
});

/** Open sockets of the program. */
function sockets(): number {
  const directory = `/proc/${cluster.process.pid}/fd`;
  return readdirSync(directory).filter((fd) => {
    try {
      return readlinkSync(`${directory}/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

describe('devices', () => {
  const device = (path: string, type: '' | 'BlockDevice' | 'CharDevice') => ({
    volumes: [{ name: 'dev', hostPath: { path, type } }],
  });
  const mounted = { volumeMounts: [{ name: 'dev', mountPath: '/dev/thing' }] };

  it('named by their type are given to a container without privileges, and no other', async () => {
    // A loop device that nothing is behind: it opens, and ends at once.
    const script = 'dd if=/dev/thing bs=512 count=1 2>&1 || exit 3';
    await apply(
      pod('typed', script, device('/dev/loop7', 'BlockDevice'), mounted),
      pod('untyped', script, device('/dev/loop7', ''), mounted),
      pod('reads', `${script}; echo x > /dev/thing`, device('/dev/loop7', 'BlockDevice'), {
        volumeMounts: [{ name: 'dev', mountPath: '/dev/thing', readOnly: true }],
      }),
    );
    await reaches('typed', 'Succeeded');
    await reaches('untyped', 'Failed');
    await reaches('reads', 'Failed');
    const [typed, untyped, reads] = await Promise.all(
      ['typed', 'untyped', 'reads'].map((name) => kubectl.line(`logs ${name}`)),
    );
    expect(typed).toContain('0+0 records');
    expect([untyped, reads].map((text) => /not permitted/.test(text ?? ''))).toEqual([true, true]);
  });

  it('are waited for until they are plugged in, with the reason', async () => {
    const path = join(directory, 'ttyUSB0');
    await apply(pod('sensor', 'head -c 4 /dev/thing | wc -c', device(path, 'CharDevice'), mounted));
    const message = `hostPath type check failed: ${path} is not a character device`;
    await cluster.eventually('the reason', async () => (await eventsOf('sensor')).join().includes(message));
    execFileSync('mknod', [path, 'c', '1', '5']);
    await reaches('sensor', 'Succeeded');
    expect((await kubectl.line('logs sensor')).trim()).toBe('4');
  });

  it('and parts of volumes: what leads out of the volume, and what the engine cannot do, is refused by name', async () => {
    const volume = { volumes: [{ name: 'data', emptyDir: {} }] };
    const mount = (more: object) => ({ volumeMounts: [{ name: 'data', mountPath: '/data', ...more }] });
    await apply(
      pod('part', 'echo hello > /data/x; cat /data/x; cat /proc/sys/kernel/pid_max; ls /data', volume, {
        ...mount({ subPathExpr: '$(NAME)/inner' }),
        env: [{ name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
      }),
      pod('recursive', 'true', volume, mount({ readOnly: true, recursiveReadOnly: 'Enabled' })),
    );
    await reaches('part', 'Succeeded');
    expect(await kubectl.line('logs part')).toContain('hello');
    await cluster.eventually('the refusal', async () =>
      (await get('recursive')).status?.containerStatuses?.[0]?.state?.waiting?.message?.includes(
        'requested recursive read-only mode',
      ),
    );
    await kubectl.ok(['delete', 'pod', '--all', '--now']);
    expect(board.run('sh', '-c', 'grep -c volume-subpaths /proc/self/mountinfo || true').trim()).toBe('0');
  });
});
