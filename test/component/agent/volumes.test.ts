import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NodePodFiles } from '../../../src/agent/pods/node-pod-files.ts';
import { NodeVolumes } from '../../../src/agent/volumes/node-volumes.ts';
import { type Mounter, VolumeError } from '../../../src/agent/volumes/port.ts';
import { canRecursiveReadOnly } from '../../../src/agent/volumes/read-only.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { FakeDesired, testPod } from '../../support/fake-node.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** Remembers mounts; makes none. */
class FakeMounter implements Mounter {
  readonly mounted = new Map<string, { sizeBytes?: number; mode: string }>();
  async mountTmpfs(path: string, options: { sizeBytes?: number; mode: string }): Promise<void> {
    this.mounted.set(path, options);
  }
  async mountNfs(): Promise<void> {
    throw new Error('NFS needs the program mount.nfs on this node (Debian: apt install nfs-common)');
  }
  /** Where what was bound really is. */
  readonly bound = new Map<string, string>();
  async bindOpen(fd: number, target: string): Promise<void> {
    this.mounted.set(target, { mode: '' });
    this.bound.set(target, readlinkSync(`/proc/self/fd/${fd}`));
  }
  async unmount(path: string): Promise<void> {
    if (!this.mounted.delete(path)) throw new Error(`${path} is not mounted`);
  }
  async mountsBelow(path: string): Promise<string[]> {
    return [...this.mounted.keys()].filter((point) => point === path || point.startsWith(`${path}/`));
  }
}

let directory: string;
let desired: FakeDesired;
let mounter: FakeMounter;
let volumes: NodeVolumes;
let token: () => Promise<string>;
let missing: number;
let recursive: boolean;
const clock = new VirtualClock();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'copepod-volumes-'));
  desired = new FakeDesired();
  mounter = new FakeMounter();
  token = async () => 'token-1';
  missing = 0;
  recursive = false;
  volumes = new NodeVolumes({
    podsDirectory: join(directory, 'pods'),
    volatileDirectory: join(directory, 'volatile'),
    clock,
    random: new SeededRandom(1),
    mounter,
    persistent: () => desired.volumes(),
    recursiveReadOnly: () => recursive,
    content: () => ({
      config: desired,
      fields: { hostIPs: ['192.168.1.10'], podIPs: ['10.42.0.2'], allocatable: {} },
      tokens: { token: () => token(), ca: 'CA' },
      onTokenMissing: () => {
        missing += 1;
      },
    }),
  });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

type Volume = NonNullable<NonNullable<Pod['spec']>['volumes']>[number];
const podWith = (
  volume: Omit<Volume, 'name'>,
  more: Partial<NonNullable<Pod['spec']>> = {},
  mount: object = {},
) =>
  testPod(
    'a',
    {
      volumes: [{ name: 'v', ...volume }],
      containers: [{ name: 'web', image: 'web', volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] }],
      ...more,
    },
    { labels: { app: 'web', tier: 'x' } },
  );
const prepared = async (pod: Pod, env = new Map<string, string>()) => {
  await volumes.prepare(pod);
  const [mount] = await volumes.mounts(pod, pod.spec?.containers[0] ?? { name: '' }, env);
  if (!mount) throw new Error('no mount');
  return mount;
};
const configMap = (data: Record<string, string>, binaryData: Record<string, string> = {}) =>
  desired.setConfig({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: 'default', name: 'cfg' },
    data,
    binaryData,
  });
const read = (...path: string[]) => readFileSync(join(...path), 'utf8');
const mode = (...path: string[]) => (statSync(join(...path)).mode & 0o7777).toString(8);

describe('a configMap volume', () => {
  it('shows its keys through ..data, and is switched as a whole when it changes', async () => {
    configMap({ one: '1', two: '2' }, { bin: Buffer.from([0, 255]).toString('base64') });
    const pod = podWith({ configMap: { name: 'cfg', defaultMode: 0o640 } });
    const { hostPath, readOnly } = await prepared(pod);
    expect(readOnly).toBe(true);
    expect(hostPath).toContain('/volatile/uid-a/volumes/kubernetes.io~configmap/v');
    expect([read(hostPath, 'one'), read(hostPath, 'two')]).toEqual(['1', '2']);
    expect([...readFileSync(join(hostPath, 'bin'))]).toEqual([0, 255]);
    expect(mode(hostPath, 'one')).toBe('640');
    expect(readlinkSync(join(hostPath, 'one'))).toBe('..data/one');
    const before = readlinkSync(join(hostPath, '..data'));

    configMap({ one: 'changed', three: '3' });
    await volumes.prepare(pod);
    expect([read(hostPath, 'one'), read(hostPath, 'three')]).toEqual(['changed', '3']);
    const after = readlinkSync(join(hostPath, '..data'));
    expect(after).not.toBe(before);
    // Nothing of the old version is left, and nothing that was dropped.
    expect(readdirSync(hostPath).sort()).toEqual(['..data', after, 'one', 'three'].sort());
  });

  it('is not written again when nothing has changed', async () => {
    configMap({ one: '1' });
    const pod = podWith({ configMap: { name: 'cfg' } });
    const { hostPath } = await prepared(pod);
    const before = readlinkSync(join(hostPath, '..data'));
    await volumes.prepare(pod);
    expect(readlinkSync(join(hostPath, '..data'))).toBe(before);
  });

  it('takes items with their paths and modes', async () => {
    configMap({ one: '1', two: '2' });
    const items = [{ key: 'one', path: 'deep/er/file', mode: 0o400 }];
    const { hostPath } = await prepared(podWith({ configMap: { name: 'cfg', items } }));
    expect(read(hostPath, 'deep/er/file')).toBe('1');
    expect(mode(hostPath, 'deep/er/file')).toBe('400');
    expect(readdirSync(hostPath).filter((entry) => !entry.startsWith('..'))).toEqual(['deep']);
  });

  it('that is missing fails, unless it is optional', async () => {
    await expect(volumes.prepare(podWith({ configMap: { name: 'cfg' } }))).rejects.toMatchObject({
      volume: 'v',
      message: 'configmap "cfg" not found',
    });
    const { hostPath } = await prepared(podWith({ configMap: { name: 'cfg', optional: true } }));
    expect(readdirSync(hostPath).filter((entry) => !entry.startsWith('..'))).toEqual([]);
    configMap({});
    const items = [{ key: 'x', path: 'x' }];
    await expect(volumes.prepare(podWith({ configMap: { name: 'cfg', items } }))).rejects.toThrow(
      'references non-existent config key: x',
    );
  });

  it('never leaves its directory, whatever the paths say', async () => {
    configMap({ one: '1' });
    for (const path of ['../x', '/../x', 'a/../../x', '..data', '']) {
      const pod = podWith({ configMap: { name: 'cfg', items: [{ key: 'one', path }] } });
      await expect(volumes.prepare(pod)).rejects.toThrow('invalid path');
    }
  });
});

describe('a secret volume', () => {
  it('lies on the tmpfs, with the group of fsGroup', async () => {
    desired.setConfig({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: 'default', name: 'sec' },
      data: { pw: Buffer.from('geheim').toString('base64') },
    });
    const spec = { securityContext: { fsGroup: 1234 } };
    const { hostPath } = await prepared(podWith({ secret: { secretName: 'sec', defaultMode: 0o400 } }, spec));
    expect(hostPath).toContain('/volatile/');
    expect(read(hostPath, 'pw')).toBe('geheim');
    expect(mode(hostPath, 'pw')).toBe('440');
    if (process.getuid?.() === 0) expect(statSync(join(hostPath, 'pw')).gid).toBe(1234);
  });
});

describe('a projected volume', () => {
  const sources = [
    { serviceAccountToken: { path: 'token', expirationSeconds: 3607 } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
  ];
  it('is what every pod talks to the API with; the CA is known without its ConfigMap', async () => {
    const { hostPath } = await prepared(podWith({ projected: { sources } }));
    expect([read(hostPath, 'token'), read(hostPath, 'ca.crt'), read(hostPath, 'namespace')]).toEqual([
      'token-1',
      'CA',
      'default',
    ]);
    token = async () => 'token-2';
    await volumes.prepare(podWith({ projected: { sources } }));
    expect(read(hostPath, 'token')).toBe('token-2');
  });

  it('does without a token that nobody can give, and gets it later', async () => {
    token = async () => {
      throw new Error('no server in reach');
    };
    const { hostPath } = await prepared(podWith({ projected: { sources } }));
    expect(missing).toBe(1);
    expect(readdirSync(hostPath)).not.toContain('token');
    token = async () => 'late';
    await volumes.prepare(podWith({ projected: { sources } }));
    expect(read(hostPath, 'token')).toBe('late');
  });

  it('gives the token to its reader alone when that is known', async () => {
    const spec = { securityContext: { runAsUser: 1000 } };
    const { hostPath } = await prepared(podWith({ projected: { sources } }, spec));
    expect(mode(hostPath, 'token')).toBe('600');
    if (process.getuid?.() === 0) expect(statSync(join(hostPath, 'token')).uid).toBe(1000);
  });
});

it('a downwardAPI volume follows the pod’s labels', async () => {
  const items = [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }];
  const pod = podWith({ downwardAPI: { items } });
  const { hostPath } = await prepared(pod);
  expect(read(hostPath, 'labels')).toBe('app="web"\ntier="x"');
  await volumes.prepare({ ...pod, metadata: { ...pod.metadata, labels: { app: 'other' } } });
  expect(read(hostPath, 'labels')).toBe('app="other"');
});

describe('an emptyDir', () => {
  it('is a directory for everyone, and keeps what is in it', async () => {
    const pod = podWith({ emptyDir: {} });
    const { hostPath, readOnly } = await prepared(pod);
    expect([readOnly, mode(hostPath)]).toEqual([false, '777']);
    mkdirSync(join(hostPath, 'kept'));
    await volumes.prepare(pod);
    expect(readdirSync(hostPath)).toEqual(['kept']);
  });

  it('in memory is a tmpfs of its size, mounted once', async () => {
    const pod = podWith({ emptyDir: { medium: 'Memory', sizeLimit: '10Mi' } });
    const { hostPath } = await prepared(pod);
    await volumes.prepare(pod);
    expect([...mounter.mounted]).toEqual([[hostPath, { mode: '0777', sizeBytes: 10_485_760 }]]);
  });
});

describe('a hostPath', () => {
  it.each([
    ['Directory', false, /is not a directory/],
    ['File', false, /is not a file/],
    ['Socket', false, /is not a socket file/],
    ['DirectoryOrCreate', true, undefined],
    ['FileOrCreate', true, undefined],
    ['', true, undefined],
  ] as const)('of type "%s" that does not exist', async (type, made, message) => {
    const path = join(directory, 'host');
    const pod = podWith({ hostPath: { path, type } });
    if (message) await expect(volumes.prepare(pod)).rejects.toThrow(message);
    else await volumes.prepare(pod);
    expect(readdirSync(directory).includes('host')).toBe(made);
  });
});

describe('a subPath', () => {
  it('is made inside the volume', async () => {
    const pod = podWith({ emptyDir: {} }, {}, { subPath: 'a/b' });
    const { hostPath } = await prepared(pod);
    // A mount of its own, of what was opened: nobody can put something else in its place.
    expect(hostPath).toBe(join(directory, 'pods/uid-a/volume-subpaths/v/web/0'));
    const real = mounter.bound.get(hostPath) ?? '';
    expect(real.endsWith('/kubernetes.io~empty-dir/v/a/b')).toBe(true);
    expect(mode(real)).toBe('777');
    await volumes.teardown('uid-a');
    expect(mounter.mounted.size).toBe(0);
  });

  it('may be a file', async () => {
    const { hostPath } = await prepared(podWith({ emptyDir: {} }));
    writeFileSync(join(hostPath, 'conf'), 'x');
    const mount = await prepared(podWith({ emptyDir: {} }, {}, { subPath: 'conf' }));
    expect(mounter.bound.get(mount.hostPath)).toBe(join(hostPath, 'conf'));
    expect(statSync(mount.hostPath).isFile()).toBe(true);
  });

  it('of what the agent has written is mounted from its place', async () => {
    configMap({ one: '1' });
    const { hostPath } = await prepared(podWith({ configMap: { name: 'cfg' } }, {}, { subPath: 'one' }));
    expect(read(hostPath)).toBe('1');
    expect(mounter.bound.size).toBe(0);
    await expect(prepared(podWith({ configMap: { name: 'cfg' } }, {}, { subPath: 'two' }))).rejects.toThrow(
      'failed to prepare subPath for volumeMount "v" of container "web"',
    );
  });

  it('expands subPathExpr', async () => {
    const pod = podWith({ emptyDir: {} }, {}, { subPathExpr: '$(POD)/x' });
    const { hostPath } = await prepared(pod, new Map([['POD', 'me']]));
    expect(mounter.bound.get(hostPath)?.endsWith('/v/me/x')).toBe(true);
    await expect(prepared(pod)).rejects.toThrow('missing value for "POD"');
  });

  it('does not lead out of the volume by a symlink', async () => {
    const pod = podWith({ emptyDir: {} });
    const { hostPath } = await prepared(pod);
    symlinkSync('/etc', join(hostPath, 'out'));
    // Inside it may lead where it likes.
    mkdirSync(join(hostPath, 'real'));
    symlinkSync('real', join(hostPath, 'alias'));
    const alias = await prepared(podWith({ emptyDir: {} }, {}, { subPath: 'alias/deep' }));
    expect(mounter.bound.get(alias.hostPath)).toBe(join(hostPath, 'real/deep'));
    for (const subPath of ['out', 'out/new']) {
      await expect(prepared(podWith({ emptyDir: {} }, {}, { subPath }))).rejects.toThrow(
        'leads out of the volume',
      );
    }
    expect(readdirSync('/etc')).not.toContain('new');
  });
});

describe('read-only mounts', () => {
  const mountOf = async (mount: object, can: boolean) => {
    recursive = can;
    return (await prepared(podWith({ emptyDir: {} }, {}, mount))).readOnlyBelow;
  };

  it('are recursive as asked for, where the engine can', async () => {
    expect(await mountOf({ readOnly: true }, true)).toBe('never');
    expect(await mountOf({ readOnly: true, recursiveReadOnly: 'IfPossible' }, true)).toBe('always');
    expect(await mountOf({ readOnly: true, recursiveReadOnly: 'Enabled' }, true)).toBe('always');
    expect(await mountOf({}, true)).toBeUndefined();
  });

  it('of an engine that cannot are not, or are refused', async () => {
    expect(await mountOf({ readOnly: true, recursiveReadOnly: 'IfPossible' }, false)).toBeUndefined();
    await expect(mountOf({ readOnly: true, recursiveReadOnly: 'Enabled' }, false)).rejects.toThrow(
      'volume "v" requested recursive read-only mode, but it is not supported by the runtime',
    );
  });

  it('need Docker 25 and Linux 5.12 to be so', () => {
    expect(canRecursiveReadOnly('1.44', '5.12.0')).toBe(true);
    expect(canRecursiveReadOnly('1.43', '6.1.0')).toBe(false);
    expect(canRecursiveReadOnly('1.47', '5.10.103-v7l+')).toBe(false);
  });
});

describe('a hostPath that is a device', () => {
  it('is given to the container as a device, by what it stands for', async () => {
    symlinkSync('/dev/null', join(directory, 'by-id'));
    const source = { path: join(directory, 'by-id'), type: 'CharDevice' as const };
    expect(await prepared(podWith({ hostPath: source }, {}, { mountPath: '/dev/sensor' }))).toEqual({
      hostPath: '/dev/null',
      containerPath: '/dev/sensor',
      readOnly: false,
      device: 'rw',
    });
    expect(await prepared(podWith({ hostPath: source }, {}, { readOnly: true }))).toMatchObject({
      device: 'r',
    });
  });

  it('of no type is a mount, as in Kubernetes', async () => {
    expect(await prepared(podWith({ hostPath: { path: '/dev/null' } }))).not.toHaveProperty('device');
  });

  it('is missed until it is plugged in', async () => {
    const path = join(directory, 'ttyUSB0');
    const pod = podWith({ hostPath: { path, type: 'CharDevice' } });
    await expect(volumes.prepare(pod)).rejects.toThrow(
      `hostPath type check failed: ${path} is not a character device`,
    );
    symlinkSync('/dev/null', path);
    await volumes.prepare(pod);
  });
});

it('what is not supported is refused by name', async () => {
  await expect(volumes.prepare(podWith({ iscsi: { targetPortal: 'x', iqn: 'y', lun: 0 } }))).rejects.toThrow(
    'volume type iscsi is not supported on this node',
  );
});

describe('teardown', () => {
  it('leaves no mount and no directory', async () => {
    configMap({ one: '1' });
    const pod = testPod('a', {
      volumes: [
        { name: 'm', emptyDir: { medium: 'Memory' } },
        { name: 'd', emptyDir: {} },
        { name: 'c', configMap: { name: 'cfg' } },
      ],
      containers: [],
    });
    await volumes.prepare(pod);
    expect(await volumes.left()).toEqual(['uid-a']);
    await volumes.teardown('uid-a');
    await volumes.teardown('uid-a');
    expect([mounter.mounted.size, await volumes.left()]).toEqual([0, []]);
    expect(readdirSync(join(directory, 'pods'))).toEqual([]);
  });

  it('does not delete through a mount that would not go', async () => {
    await volumes.prepare(podWith({ emptyDir: { medium: 'Memory' } }));
    mounter.unmount = async () => {};
    await expect(volumes.teardown('uid-a')).rejects.toThrow('still mounted');
    expect(await volumes.left()).toEqual(['uid-a']);
  });
});

describe('what the system refuses', () => {
  it('is told as the failure of the volume, in Go’s words', () => {
    const refused = Object.assign(new Error("ENOSPC: no space left on device, mkdir '/pods/a'"), {
      code: 'ENOSPC',
      syscall: 'mkdir',
      path: '/pods/a',
    });
    expect(VolumeError.from('v', refused)).toEqual(
      new VolumeError('v', 'mkdir /pods/a: no space left on device'),
    );
    const other = new Error('PVC is not bound');
    expect(VolumeError.from('v', other)).toBe(other);
  });
});

describe('the small files of a pod', () => {
  const identity = { namespace: 'default', name: 'a', uid: 'uid-a' };
  const make = () =>
    new NodePodFiles({
      podsDirectory: join(directory, 'pods'),
      volatileDirectory: join(directory, 'volatile'),
      logDirectory: join(directory, 'log'),
      engineDirectory: () => join(directory, 'engine'),
      seccompDirectory: directory,
      etcDirectory: directory,
      clusterDns: () => undefined,
      clusterDomain: () => 'cluster.local',
      onDnsNotice: () => {},
    });

  beforeEach(() => {
    for (const id of ['abc', 'def', 'ghi'])
      mkdirSync(join(directory, 'engine/containers', id), { recursive: true });
  });

  it('leaves no link to what somebody else has removed', async () => {
    const files = make();
    const pod = testPod('a', { containers: [] });
    await files.linkLogs(pod, 'web', 0, 'abc');
    await files.linkLogs(pod, 'web', 1, 'def');
    rmSync(join(directory, 'engine/containers/abc'), { recursive: true });
    await files.linkLogs(pod, 'web', 2, 'ghi');
    expect(readdirSync(join(directory, 'log/pods/default_a_uid-a/web'))).toEqual(['1.log', '2.log']);
    expect(readdirSync(join(directory, 'log/containers')).sort()).toEqual([
      'a_default_web-def.log',
      'a_default_web-ghi.log',
    ]);
  });

  it('links the logs as collectors expect them, and takes the links away again', async () => {
    const files = make();
    const pod = testPod('a', { containers: [] });
    await files.linkLogs(pod, 'web', 0, 'abc');
    await files.linkLogs(pod, 'web', 1, 'def');
    const log = join(directory, 'log/pods/default_a_uid-a/web/0.log');
    expect(readlinkSync(log)).toBe(join(directory, 'engine/containers/abc/abc-json.log'));
    expect(readlinkSync(join(directory, 'log/containers/a_default_web-abc.log'))).toBe(log);
    await files.unlinkLogs(identity, 'web', 0, 'abc');
    expect(readdirSync(join(directory, 'log/pods/default_a_uid-a/web'))).toEqual(['1.log']);
    await files.unlinkLogs(identity, 'web', 1, 'def');
    expect(readdirSync(join(directory, 'log/pods'))).toEqual([]);
    expect(readdirSync(join(directory, 'log/containers'))).toEqual([]);
  });

  it('leaves no link that was being made while it was removed', async () => {
    const files = make();
    const pod = testPod('a', { containers: [] });
    const ids = ['abc', 'def', 'ghi'];
    await Promise.all(
      ids.flatMap((id, attempt) => [
        files.linkLogs(pod, 'web', attempt, id),
        files.unlinkLogs(identity, 'web', attempt, id),
      ]),
    );
    expect(readdirSync(join(directory, 'log/pods'))).toEqual([]);
    expect(readdirSync(join(directory, 'log/containers'))).toEqual([]);
  });

  it('removes all links of a pod that is gone, and of no other', async () => {
    const files = make();
    const other = testPod('b', { containers: [] });
    await files.linkLogs(testPod('a', { containers: [] }), 'web', 0, 'abc');
    await files.linkLogs(testPod('a', { containers: [] }), 'proxy', 2, 'def');
    await files.linkLogs(other, 'web', 0, 'ghi');
    await files.removeLogs('uid-a');
    expect(readdirSync(join(directory, 'log/pods'))).toEqual(['default_b_uid-b']);
    expect(readdirSync(join(directory, 'log/containers'))).toEqual(['b_default_web-ghi.log']);
    await files.removeLogs('uid-a');
  });

  it('keeps what the network gave over a restart of the agent', async () => {
    await make().saveNetwork('uid-a', { sandboxId: 's', ips: ['10.42.0.2'] });
    expect(await make().loadNetwork('uid-a')).toEqual({ sandboxId: 's', ips: ['10.42.0.2'] });
    expect(await make().loadNetwork('other')).toBeUndefined();
  });

  it('reads at most 4096 bytes of last words', async () => {
    const files = make();
    const path = await files.createTerminationLog('uid-a', 'web', 0);
    expect(mode(path)).toBe('666');
    writeFileSync(path, 'x'.repeat(10_000));
    expect((await files.readTerminationLog('uid-a', 'web', 0)).length).toBe(4096);
    expect(await files.readTerminationLog('uid-a', 'web', 1)).toBe('');
  });

  it('fills in hosts in place, for it is mounted already', async () => {
    const files = make();
    const pod = testPod('a', { containers: [] });
    await files.prepare(pod);
    const { hosts } = files.paths('uid-a');
    const { ino } = statSync(hosts);
    await files.writeHosts(pod, ['10.42.0.2']);
    expect(read(hosts)).toContain('10.42.0.2\ta\n');
    expect(statSync(hosts).ino).toBe(ino);
  });
});
