import { beforeEach, describe, expect, it } from 'vitest';
import { ArchitectureVerdicts } from '../../../../src/agent/images/architectures.ts';
import { ImageManager, type ImageParts, isReplaced } from '../../../../src/agent/images/image-manager.ts';
import { ImageRecords } from '../../../../src/agent/images/records.ts';
import { parseRegistries } from '../../../../src/agent/images/registries.ts';
import { containersOf, type NamedContainer } from '../../../../src/agent/names.ts';
import { PodEvents } from '../../../../src/agent/pods/pod-events.ts';
import { RuntimeError } from '../../../../src/agent/runtime.ts';
import type { Pod } from '../../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { FakeDesired, FakeReporter, testPod } from '../../../support/fake-node.ts';
import { FakeRuntime } from '../../../support/fake-runtime.ts';
import { MemoryJournal } from '../../../support/memory-journal.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

describe('images of pods', () => {
  let clock: VirtualClock;
  let runtime: FakeRuntime;
  let desired: FakeDesired;
  let reporter: FakeReporter;
  let journal: MemoryJournal;
  let verdicts: ArchitectureVerdicts;
  let atRegistry: string[] | Error;
  let asked: number;
  let head: Buffer | undefined;
  let interpreters: string[];
  beforeEach(() => {
    clock = new VirtualClock();
    runtime = new FakeRuntime({ clock });
    desired = new FakeDesired();
    reporter = new FakeReporter();
    journal = new MemoryJournal();
    atRegistry = ['arm64'];
    asked = 0;
    head = undefined;
    interpreters = [];
  });

  const unmodelled = (): never => {
    throw new Error('not modelled');
  };
  function make(architecture = 'arm64', parallelPulls = 2): ImageManager {
    const parts: ImageParts = {
      engine: {
        list: unmodelled,
        inUse: unmodelled,
        remove: unmodelled,
        tag: unmodelled,
        load: unmodelled,
        allowsInsecure: unmodelled,
        layers: unmodelled,
        export: unmodelled,
        architectures: async () => {
          asked += 1;
          if (atRegistry instanceof Error) throw atRegistry;
          return atRegistry;
        },
        programHead: async () => head,
      },
      files: { current: async () => parseRegistries({}), dockerAuths: async () => ({}) },
      records: new ImageRecords({ journal, clock }),
      policy: 'NeverVerifyPreloadedImages',
      architecture,
      interpreters: async () => interpreters,
      verdicts: () => verdicts,
      onPulled: () => {},
      stallMs: 120_000,
    };
    const manager = new ImageManager({
      runtime,
      clock,
      desired,
      events: new PodEvents(reporter),
      parallelPulls,
      parts,
    });
    verdicts = new ArchitectureVerdicts({
      journal,
      clock,
      logger: silentLogger,
      check: (image) => manager.availableHere(image),
      onChange: () => {},
    });
    return manager;
  }
  function wanting(name: string, image: string, policy = 'IfNotPresent'): [Pod, NamedContainer] {
    const pod = testPod(name, { containers: [{ name: 'c', image, imagePullPolicy: policy as 'Always' }] });
    desired.set(pod);
    const [named] = containersOf(pod);
    if (!named) throw new Error('no container');
    return [pod, named];
  }
  const pulls = (): string[] => runtime.calls.filter((call) => call.startsWith('pull'));

  it('one that is made for another CPU is told, remembered, and taken back when it changes', async () => {
    const manager = make('amd64');
    runtime.images.set('web:1', { present: false, architecture: 'arm64' });
    await expect(manager.ensure(...wanting('a', 'web:1'), false)).rejects.toMatchObject({
      reason: 'ErrImagePull',
      wrongArchitecture: true,
      message: 'image "web:1" is made for arm64, not for this node\'s CPU architecture amd64',
    });
    expect(reporter.reasons()).toContain('ImageArchitecture');
    expect(verdicts.lacking()).toEqual(['web:1']);
    // amd64 boards do not ask before they pull.
    expect(asked).toBe(0);
    runtime.images.set('docker.io/library/web:1', { present: true, architecture: 'amd64' });
    await manager.ensure(...wanting('a', 'docker.io/library/web:1'), false);
    expect(verdicts.lacking()).toEqual([]);
  });

  it('other boards ask the registry before gigabytes are pulled for nothing', async () => {
    const manager = make('arm64');
    atRegistry = ['amd64', '386'];
    runtime.images.set('web:1', { present: false });
    await expect(manager.ensure(...wanting('a', 'web:1'), false)).rejects.toThrow(
      'is made for amd64, 386, not',
    );
    expect(pulls()).toEqual([]);
    atRegistry = new Error('the registry does not say');
    await manager.ensure(...wanting('a', 'web:1'), false);
    expect(pulls()).toEqual(['pull web:1']);
  });

  it('the registry’s own word counts too', async () => {
    const manager = make('amd64');
    const pullError = new RuntimeError('ImageArchitecture', 'no matching manifest for linux/amd64');
    runtime.images.set('web:1', { present: false, pullError });
    await expect(manager.ensure(...wanting('a', 'web:1'), false)).rejects.toMatchObject({
      wrongArchitecture: true,
      message: expect.stringContaining('no matching manifest'),
    });
  });

  it('an emulator that the kernel has makes it run', async () => {
    const manager = make('amd64');
    interpreters = ['qemu-aarch64'];
    runtime.images.set('web:1', { present: true });
    await manager.ensure(...wanting('a', 'web:1'), false);
    expect(verdicts.lacking()).toEqual([]);
  });

  it('a wrong one that lies here is replaced by a pull, where pulls are allowed', async () => {
    const manager = make('amd64');
    runtime.images.set('web:1', { present: true, architecture: 'arm64' });
    await expect(manager.ensure(...wanting('a', 'web:1', 'Never'), false)).rejects.toMatchObject({
      reason: 'ErrImageNeverPull',
      wrongArchitecture: true,
    });
    await expect(manager.ensure(...wanting('a', 'web:1'), true)).rejects.toThrow('is made for arm64');
    expect(pulls()).toEqual(['pull web:1']);
  });

  it('the content of a volume has no CPU', async () => {
    const manager = make('amd64');
    runtime.images.set('data:1', { present: true, architecture: 's390x' });
    const [pod] = wanting('a', 'web:1');
    await manager.ensureForVolume(pod, { reference: 'data:1', pullPolicy: 'IfNotPresent' });
    expect(verdicts.lacking()).toEqual([]);
  });

  describe('a program that the kernel refuses', () => {
    const elf = (machine: number): Buffer => {
      const buffer = Buffer.alloc(20);
      buffer.writeUInt32BE(0x7f454c46);
      buffer[5] = 1;
      buffer.writeUInt16LE(machine, 18);
      return buffer;
    };
    const error = 'OCI runtime create failed: exec /bin/app: exec format error: unknown';
    const instance = { id: 'x', imageId: 'sha256:web:1', exitCode: 127, error };

    it('is known by its own header, and the image stays known for it', async () => {
      const manager = make('amd64');
      head = elf(183);
      const [pod, named] = wanting('a', 'web:1');
      expect(await manager.refused(pod, named, instance)).toBe(
        'exec format error: the program of image "web:1" is made for arm64, not for this node\'s CPU architecture amd64',
      );
      runtime.images.set('web:1', { present: true, architecture: 'amd64' });
      await manager.ensure(pod, named, true);
      expect(verdicts.lacking()).toEqual(['web:1']);
    });

    it('may be a script, or have ended for another reason', async () => {
      const manager = make('amd64');
      const [pod, named] = wanting('a', 'web:1');
      head = Buffer.from('echo a script without its first line');
      expect(await manager.refused(pod, named, instance)).toBeUndefined();
      head = elf(183);
      const other = { ...instance, error: 'no such file' };
      expect(await manager.refused(pod, named, other)).toBeUndefined();
      expect(verdicts.lacking()).toEqual([]);
    });
  });

  it('of a tag the registry is asked again every hour, of a digest never', async () => {
    const manager = make('amd64');
    const digest = `web@sha256:${'a'.repeat(64)}`;
    verdicts.learn('web:1', false);
    verdicts.learn(digest, false);
    await verdicts.start();
    atRegistry = ['arm64'];
    await clock.advance(3_600_000);
    expect(verdicts.lacking()).toEqual(['web:1', digest]);
    atRegistry = ['arm64', 'amd64'];
    await clock.advance(3_600_000);
    expect(verdicts.lacking()).toEqual([digest]);
    expect(asked).toBe(2);
    verdicts.learn('private:1', false);
    atRegistry = new Error('unauthorized');
    await clock.advance(23 * 3_600_000);
    expect(verdicts.lacking()).toEqual([digest, 'private:1']);
    await clock.advance(3_600_000);
    expect(verdicts.lacking()).toEqual([digest]);
    await verdicts.stop();
    expect(manager).toBeDefined();
    // The next agent knows it too.
    make('amd64');
    expect(verdicts.lacking()).toEqual([digest]);
  });

  it('a pull that nobody waits for any more is ended, and its place is free', async () => {
    const manager = make('arm64', 1);
    runtime.images.set('big:1', { present: false, pullMs: 3_600_000 });
    runtime.images.set('small:1', { present: false, pullMs: 1000 });
    const [first, second] = ['a', 'b'].map((name) => manager.ensure(...wanting(name, 'big:1'), false));
    const third = manager.ensure(...wanting('c', 'small:1'), false);
    const outcomes = Promise.allSettled([first, second, third]);
    await clock.advance(10_000);
    desired.delete(testPod('a', { containers: [] }).metadata.uid ?? '');
    await clock.advance(10_000);
    await expect(first).rejects.toThrow('the pod does not want it any more');
    expect(pulls()).toEqual(['pull big:1']);
    desired.delete(testPod('b', { containers: [] }).metadata.uid ?? '');
    await clock.advance(10_000);
    await expect(outcomes).resolves.toMatchObject([
      { status: 'rejected' },
      { status: 'rejected' },
      { status: 'fulfilled' },
    ]);
    expect(reporter.events.filter(({ reason }) => reason === 'Failed')).toEqual([]);
  });

  it('a long pull says now and then how far it is', async () => {
    const manager = make('arm64');
    runtime.images.set('big:1', { present: false, pullMs: 100_000 });
    runtime.pull = async (reference, options) => {
      options?.onProgress?.({ id: 'a', status: 'Pulling fs layer' });
      options?.onProgress?.({
        id: 'a',
        status: 'Downloading',
        progressDetail: { current: 1048576, total: 9437184 },
      });
      await FakeRuntime.prototype.pull.call(runtime, reference, options);
    };
    const pull = manager.ensure(...wanting('a', 'big:1'), false);
    await clock.advance(100_000);
    await pull;
    const told = reporter.events.filter(({ reason }) => reason === 'Pulling').map(({ message }) => message);
    expect(told).toEqual([
      'Pulling image "big:1"',
      ...Array.from({ length: 2 }, () => 'Pulling image "big:1": 1.0 MiB of 9.0 MiB, 0 of 1 layers done'),
    ]);
  });

  it('an image that came with a Secret’s credential is not for pods without it', async () => {
    const manager = make('arm64');
    runtime.images.set('r.example/a:1', { present: false });
    const auths = { 'r.example': { username: 'me', password: 'p' } };
    desired.setConfig({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/dockerconfigjson',
      metadata: { namespace: 'default', name: 'reg', uid: 's' },
      data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') },
    });
    const [pod, named] = wanting('a', 'r.example/a:1');
    const with_ = { ...pod, spec: { ...pod.spec, containers: [], imagePullSecrets: [{ name: 'reg' }] } };
    await manager.ensure(with_, named, false);
    expect(pulls()).toEqual(['pull r.example/a:1 as me']);
    await manager.ensure(with_, named, false);
    expect(pulls()).toHaveLength(1);
    runtime.images.set('r.example/a:1', {
      present: true,
      pullError: new RuntimeError('ImagePull', 'unauthorized'),
    });
    await expect(manager.ensure(pod, named, true)).rejects.toThrow('unauthorized');
    const volume = { reference: 'r.example/a:1', pullPolicy: 'IfNotPresent' };
    await expect(manager.ensureForVolume(pod, volume)).rejects.toThrow('unauthorized');
    await manager.ensureForVolume(with_, { ...volume, pullPolicy: 'Always' });
    expect(pulls().slice(1, 3)).toEqual(['pull r.example/a:1', 'pull r.example/a:1']);
  });
});

it('a pod is replaced by its controller, a static pod or one of its own is not', () => {
  const owned = (kind: string, controller = true): boolean =>
    isReplaced(
      testPod(
        'a',
        { containers: [] },
        { ownerReferences: [{ apiVersion: 'v1', kind, name: 'x', uid: 'y', controller }] },
      ),
    );
  expect([
    owned('ReplicaSet'),
    owned('Node'),
    owned('Custom', false),
    isReplaced(testPod('a', { containers: [] })),
  ]).toEqual([true, false, false, false]);
});
