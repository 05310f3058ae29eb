import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NodeVolumes } from '../../../src/agent/volumes/node-volumes.ts';
import type { Mounter } from '../../../src/agent/volumes/port.ts';
import { directoryRemover, VolumeRemover } from '../../../src/agent/volumes/remover.ts';
import { LOCAL_PATH_PROVISIONER, PROVISIONED_BY, VOLUME_NODE } from '../../../src/api/local-path.ts';
import type { PersistentVolume, Pod } from '../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { VolumeReport } from '../../../src/wire/messages.ts';
import { FakeDesired, testPod } from '../../support/fake-node.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

let directory: string;
let desired: FakeDesired;
let volumes: NodeVolumes;
let clock: VirtualClock;
let mounted: string[];

const mounter: Mounter = {
  mountTmpfs: () => Promise.reject(new Error('not here')),
  mountNfs: async (path, { server, path: exported, options }) => {
    if (server === 'none') throw new Error('NFS needs the program mount.nfs on this node');
    mounted.push(path, `${server}:${exported} ${options.join()}`);
  },
  bindOpen: async (fd, target) => {
    mounted.push(target, readlinkSync(`/proc/self/fd/${fd}`));
  },
  unmount: () => Promise.reject(new Error('not here')),
  mountsBelow: async (path) => mounted.filter((point) => point === path || point.startsWith(`${path}/`)),
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'copepod-persistent-'));
  desired = new FakeDesired();
  clock = new VirtualClock();
  mounted = [];
  volumes = new NodeVolumes({
    podsDirectory: join(directory, 'pods'),
    volatileDirectory: join(directory, 'volatile'),
    clock,
    random: new SeededRandom(1),
    mounter,
    persistent: () => desired.volumes(),
    content: () => {
      throw new Error('not here');
    },
  });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const persistent = (
  name: string,
  spec: Partial<NonNullable<PersistentVolume['spec']>>,
  more: { phase?: 'Bound' | 'Released'; annotations?: Record<string, string> } = {},
): PersistentVolume => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name, uid: `uid-${name}`, annotations: more.annotations ?? {} },
  spec: { claimRef: { namespace: 'default', name: 'data' }, ...spec },
  status: { phase: more.phase ?? 'Bound' },
});
const path = (name: string): string => join(directory, 'storage', `${name}_default_data`);
const provisioned = (
  name: string,
  phase: 'Bound' | 'Released' = 'Bound',
  at = path(name),
): PersistentVolume =>
  persistent(
    name,
    { hostPath: { path: at, type: 'DirectoryOrCreate' }, persistentVolumeReclaimPolicy: 'Delete' },
    { phase, annotations: { [PROVISIONED_BY]: LOCAL_PATH_PROVISIONER, [VOLUME_NODE]: 'board' } },
  );
const pod = (mount: object = {}, readOnly = false, more: Partial<NonNullable<Pod['spec']>> = {}): Pod =>
  testPod('a', {
    volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'data', ...(readOnly ? { readOnly } : {}) } }],
    containers: [{ name: 'web', image: 'web', volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] }],
    ...more,
  });
const mountOf = async (of: Pod) => {
  await volumes.prepare(of);
  return (await volumes.mounts(of, of.spec?.containers[0] ?? { name: '' }, new Map()))[0];
};

describe('the volume of a claim', () => {
  it('is waited for until the claim is bound', async () => {
    await expect(volumes.prepare(pod())).rejects.toThrow(
      'error processing PVC default/data: PVC is not bound',
    );
    // That of an earlier claim of the same name is another's data.
    desired.setVolumes(provisioned('pvc-old', 'Released'));
    await expect(volumes.prepare(pod())).rejects.toThrow('PVC is not bound');
  });

  it('is a directory that anyone may write to, made once, and not the pod’s to remove', async () => {
    desired.setVolumes(provisioned('pvc-1'));
    expect(await mountOf(pod())).toMatchObject({ hostPath: path('pvc-1'), readOnly: false });
    expect(statSync(path('pvc-1')).mode & 0o7777).toBe(0o777);
    chmodSync(path('pvc-1'), 0o700);
    writeFileSync(join(path('pvc-1'), 'kept'), 'x');
    await volumes.prepare(pod());
    expect(statSync(path('pvc-1')).mode & 0o7777).toBe(0o700);
    await volumes.teardown('uid-a');
    expect(existsSync(join(path('pvc-1'), 'kept'))).toBe(true);
  });

  it('may be mounted in part, and read-only', async () => {
    desired.setVolumes(provisioned('pvc-1'));
    const mount = await mountOf(pod({ subPath: 'logs' }, true));
    expect(mount).toMatchObject({ readOnly: true });
    expect(mounted).toEqual([mount?.hostPath, join(path('pvc-1'), 'logs')]);
  });

  it('of type local has to exist, and is given to the pod’s fsGroup with all that it holds', async () => {
    const disk = join(directory, 'disk');
    desired.setVolumes(persistent('local', { local: { path: disk } }));
    await expect(volumes.prepare(pod())).rejects.toThrow(`path "${disk}" does not exist`);
    mkdirSync(disk);
    writeFileSync(join(disk, 'file'), 'x', { mode: 0o600 });
    await volumes.prepare(pod({}, false, { securityContext: { fsGroup: 4321 } }));
    expect(statSync(disk)).toMatchObject({ gid: 4321 });
    expect(statSync(disk).mode & 0o2070).toBe(0o2070);
    expect(statSync(join(disk, 'file'))).toMatchObject({ gid: 4321 });
    expect(statSync(join(disk, 'file')).mode & 0o777).toBe(0o660);
  });

  it('on NFS is mounted once; where the board cannot, and what no board can, is refused', async () => {
    desired.setVolumes(persistent('nfs', { nfs: { server: 'nas', path: '/x' }, mountOptions: ['vers=4'] }));
    const first = await mountOf(pod());
    await volumes.prepare(pod());
    expect(mounted).toEqual([first?.hostPath, 'nas:/x vers=4']);
    mounted = [];
    desired.setVolumes(persistent('nfs', { nfs: { server: 'none', path: '/x' } }));
    await expect(volumes.prepare(pod())).rejects.toThrow('mount.nfs');
    desired.setVolumes(persistent('csi', { csi: { driver: 'd', volumeHandle: 'h' } }));
    await expect(volumes.prepare(pod())).rejects.toThrow('persistent volume source csi is not supported');
    const unnamed = persistent('block', { hostPath: { path: '/dev/sda' }, volumeMode: 'Block' });
    desired.setVolumes(unnamed);
    await expect(volumes.prepare(pod())).rejects.toThrow(
      'volumeMode Block is supported for local volumes only',
    );
  });

  it('of mode Block is given as a device, and never mounted', async () => {
    const disk = join(directory, 'by-id');
    desired.setVolumes(persistent('disk', { local: { path: disk }, volumeMode: 'Block' }));
    await expect(volumes.prepare(pod())).rejects.toThrow(`${disk} is not a block device`);
    // Any block device of this machine; nothing is read from it.
    const [device = ''] = readdirSync('/dev')
      .map((name) => `/dev/${name}`)
      .filter((each) => statSync(each).isBlockDevice());
    symlinkSync(device, disk);
    await volumes.prepare(pod());
    const devices = { name: 'web', volumeDevices: [{ name: 'v', devicePath: '/dev/data' }] };
    expect(await volumes.mounts(pod(), devices, new Map())).toEqual([
      { hostPath: device, containerPath: '/dev/data', readOnly: false, device: 'rw' },
    ]);
    await expect(mountOf(pod())).rejects.toThrow(
      'volume v has volumeMode Block, but is specified in volumeMounts',
    );
    desired.setVolumes(provisioned('pvc-1'));
    await expect(volumes.mounts(pod(), devices, new Map())).rejects.toThrow(
      'volume v has volumeMode Filesystem, but is specified in volumeDevices',
    );
  });
});

describe('the directory of a released volume', () => {
  let reports: VolumeReport[];
  let remover: VolumeRemover;
  let failure: Error | undefined;
  let unwantedLeft: boolean;
  beforeEach(async () => {
    reports = [];
    failure = undefined;
    unwantedLeft = false;
    remover = new VolumeRemover({
      node: 'board',
      desired,
      removeDirectory: directoryRemover(mounter),
      inUse: () => unwantedLeft,
      report: async (report) => {
        if (failure) throw failure;
        reports.push(report);
      },
      clock,
      logger: silentLogger,
    });
    for (const name of ['pvc-1', 'pvc-2']) {
      mkdirSync(path(name), { recursive: true });
      writeFileSync(join(path(name), 'file'), 'x');
    }
    await remover.start();
  });
  afterEach(() => remover.stop());
  const settled = (count: number) => expect.poll(() => reports.length).toBe(count);

  it('is removed and reported, again and again until the volume is desired no more', async () => {
    desired.setVolumes(provisioned('pvc-1', 'Released'), provisioned('pvc-2'));
    await settled(1);
    expect(reports).toEqual([{ v: 1, name: 'pvc-1', uid: 'uid-pvc-1' }]);
    expect([existsSync(path('pvc-1')), existsSync(path('pvc-2'))]).toEqual([false, true]);
    await clock.advance(30_000);
    await settled(2);
    desired.setVolumes(provisioned('pvc-2'));
    await clock.advance(300_000);
    expect(reports).toHaveLength(2);
  });

  it('is reported later when the server is not there', async () => {
    failure = new Error('disconnected');
    desired.setVolumes(provisioned('pvc-1', 'Released'));
    await expect.poll(() => existsSync(path('pvc-1'))).toBe(false);
    failure = undefined;
    await clock.advance(30_000);
    await settled(1);
  });

  it('stays while a pod of this board uses the claim', async () => {
    desired.set(pod());
    desired.setVolumes(provisioned('pvc-1', 'Released'));
    await clock.advance(30_000);
    expect(existsSync(path('pvc-1'))).toBe(true);
    desired.delete('uid-a');
    await settled(1);
    expect(existsSync(path('pvc-1'))).toBe(false);
  });

  it('stays while containers end that nobody wants any more: they may be of a pod that used it', async () => {
    unwantedLeft = true;
    desired.setVolumes(provisioned('pvc-1', 'Released'));
    await clock.advance(60_000);
    expect(existsSync(path('pvc-1'))).toBe(true);
    expect(reports).toEqual([]);
    unwantedLeft = false;
    await clock.advance(5_000);
    await settled(1);
    expect(existsSync(path('pvc-1'))).toBe(false);
  });

  it('stays when something is mounted in it, or when it is not one of the provisioner', async () => {
    mounted = [join(path('pvc-1'), 'disk')];
    const elsewhere = join(directory, 'storage');
    desired.setVolumes(provisioned('pvc-1', 'Released'), provisioned('pvc-9', 'Released', elsewhere));
    await settled(2);
    expect(reports.map(({ error }) => error).sort()).toEqual([
      'its path is not one of the local-path provisioner',
      `still mounted: ${mounted[0]}`,
    ]);
    expect(existsSync(join(path('pvc-1'), 'file'))).toBe(true);
  });
});
