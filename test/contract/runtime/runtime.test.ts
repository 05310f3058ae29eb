import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerRuntime } from '../../../src/agent/docker/runtime.ts';
import { type ContainerRuntime, type ContainerSpec, RuntimeError } from '../../../src/agent/runtime.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { DockerDaemon } from '../../support/docker-daemon.ts';
import { FakeRuntime } from '../../support/fake-runtime.ts';
import { waitFor } from '../../support/wait.ts';

const IMAGE = 'copepod.local/busybox:latest';

interface World {
  runtime: ContainerRuntime;
  /** The same engine as another node's agent sees it. */
  other: ContainerRuntime;
  stop(): Promise<void>;
}

const worlds: [string, () => Promise<World>][] = [
  [
    'FakeRuntime',
    async () => {
      const clock = new SystemClock();
      const runtime = new FakeRuntime({ clock, owner: 'one' });
      runtime.images.set(IMAGE, {});
      runtime.images.set('exits', { exitAfterMs: 10, exitCode: 7 });
      runtime.images.set('deaf', { ignoresSigterm: true });
      runtime.images.set('writes', { exitAfterMs: 10, writableBytes: 200_000 });
      runtime.images.set('nocommand', { startError: 'exec: "/nope": no such file or directory: unknown' });
      return { runtime, other: runtime.as('two'), stop: async () => {} };
    },
  ],
  [
    'DockerRuntime',
    async () => {
      const daemon = new DockerDaemon();
      await daemon.start();
      const options = { clock: new SystemClock(), socketPath: daemon.socket };
      const runtime = new DockerRuntime({ ...options, owner: 'one' });
      const other = new DockerRuntime({ ...options, owner: 'two' });
      runtime.connect();
      return {
        runtime,
        other,
        stop: async () => {
          runtime.disconnect();
          other.disconnect();
          await daemon.stop();
        },
      };
    },
  ],
];

/** What the container does, as a script for busybox and as an image of the fake. */
const BEHAVIOUR = {
  runs: { image: IMAGE, entrypoint: ['/bin/busybox', 'sleep', '1000'] },
  exits: { image: 'exits', entrypoint: ['/bin/busybox', 'sh', '-c', 'exit 7'] },
  deaf: {
    image: 'deaf',
    entrypoint: ['/bin/busybox', 'sh', '-c', 'trap "" TERM; while :; do sleep 1; done'],
  },
  writes: {
    image: 'writes',
    entrypoint: ['/bin/busybox', 'sh', '-c', '/bin/busybox head -c 200000 /dev/zero > /x'],
  },
  noCommand: { image: 'nocommand', entrypoint: ['/nope'] },
};

describe.each(worlds)('%s as a ContainerRuntime', (name, make) => {
  let world: World;
  let runtime: ContainerRuntime;
  let counter = 0;

  beforeAll(async () => {
    world = await make();
    runtime = world.runtime;
  }, 60_000);
  afterAll(() => world?.stop(), 60_000);

  const spec = (behaviour: keyof typeof BEHAVIOUR): ContainerSpec => {
    counter += 1;
    const { image, entrypoint } = BEHAVIOUR[behaviour];
    return {
      name: `k8s_c_p_n_u_${counter}`,
      labels: { 'io.kubernetes.pod.uid': 'u' },
      image: name === 'FakeRuntime' ? image : IMAGE,
      entrypoint,
      env: [],
      tty: false,
      stdin: false,
      stdinOnce: false,
      networkMode: 'none',
      ipcMode: 'shareable',
      mounts: [],
      devices: [],
      resources: {},
      oomScoreAdj: 0,
      security: {
        privileged: false,
        readOnlyRootFilesystem: false,
        capAdd: [],
        capDrop: [],
        noNewPrivileges: false,
        options: [],
        sysctls: {},
      },
    };
  };
  const state = async (id: string) => (await runtime.inspect(id))?.state;

  it('creates without starting, starts, stops, removes; list and inspect tell the same', async () => {
    const made = spec('runs');
    const id = await runtime.create(made);
    expect(await runtime.inspect(id)).toMatchObject({
      id,
      name: made.name,
      state: 'created',
      image: made.image,
    });
    await runtime.start(id);
    const running = await runtime.inspect(id);
    expect(running).toMatchObject({ state: 'running', labels: { 'io.kubernetes.pod.uid': 'u' } });
    expect(running?.pid).toBeGreaterThan(0);
    expect(running?.startedAt).toBeGreaterThan(0);
    expect((await runtime.list()).find((each) => each.id === id)).toEqual(running);
    await runtime.stop(id, 0);
    const ended = await runtime.inspect(id);
    expect(ended).toMatchObject({ state: 'exited' });
    expect(ended?.pid).toBeUndefined();
    expect(ended?.finishedAt).toBeGreaterThanOrEqual(running?.startedAt ?? 0);
    expect((await runtime.list()).find((each) => each.id === id)).toEqual(ended);
    await runtime.remove(id);
    expect(await runtime.inspect(id)).toBeUndefined();
    expect((await runtime.list()).some((each) => each.id === id)).toBe(false);
  });

  it('bears what was done already', async () => {
    const id = await runtime.create(spec('runs'));
    await runtime.stop(id, 0);
    await runtime.start(id);
    await runtime.start(id);
    await runtime.stop(id, 0);
    await runtime.stop(id, 0);
    await runtime.remove(id);
    await runtime.remove(id);
    await runtime.stop(id, 0);
  });

  it('tells the exit code, and that it ended, by an event', async () => {
    const heard: (string | undefined)[] = [];
    const unsubscribe = runtime.onEvent((id) => heard.push(id));
    const id = await runtime.create(spec('exits'));
    await runtime.start(id);
    await waitFor('the end', async () => (await state(id)) === 'exited');
    expect(await runtime.inspect(id)).toMatchObject({ exitCode: 7 });
    await waitFor('its event', () => heard.includes(id));
    await runtime.remove(id);
    unsubscribe();
  });

  it('kills what does not end within its grace period', async () => {
    const id = await runtime.create(spec('deaf'));
    await runtime.start(id);
    const began = performance.now();
    await runtime.stop(id, 1);
    expect(performance.now() - began).toBeGreaterThan(900);
    expect(await runtime.inspect(id)).toMatchObject({ state: 'exited', exitCode: 137 });
    await runtime.remove(id);
  });

  it('refuses a name that is taken', async () => {
    const first = spec('runs');
    const id = await runtime.create(first);
    await expect(runtime.create(first)).rejects.toMatchObject({ code: 'NameConflict' });
    await runtime.remove(id);
  });

  it('says of a command that does not exist that it could not be started', async () => {
    const id = await runtime.create(spec('noCommand'));
    await expect(runtime.start(id)).rejects.toMatchObject({ code: 'CommandNotFound' });
    const observed = await runtime.inspect(id);
    expect(observed).toMatchObject({ state: 'created', exitCode: 127 });
    expect(observed?.error).toContain('/nope');
    expect(observed?.startedAt).toBeUndefined();
    await runtime.remove(id);
  });

  it('knows images that are there, and fails for those that are not', async () => {
    expect((await runtime.inspectImage(IMAGE))?.id).toBe(await runtime.imageId(IMAGE));
    expect(await runtime.inspectImage('no.such.registry.invalid/image:1')).toBeUndefined();
    await expect(
      runtime.create({ ...spec('runs'), image: 'no.such.registry.invalid/image:1' }),
    ).rejects.toMatchObject({ code: 'ImageNotFound' });
    await expect(runtime.pull('no.such.registry.invalid/image:1')).rejects.toBeInstanceOf(RuntimeError);
  });

  it('shows a node only what it made itself', async () => {
    const id = await runtime.create(spec('runs'));
    expect((await world.other.list()).some((each) => each.id === id)).toBe(false);
    expect(await world.other.inspect(id)).toBeUndefined();
    await runtime.remove(id);
  });

  it('tells how much a container has written', async () => {
    const id = await runtime.create(spec('writes'));
    await runtime.start(id);
    await waitFor('the end', async () => (await state(id)) === 'exited');
    const bytes = await runtime.writableBytes(id);
    expect(bytes).toBeGreaterThanOrEqual(200_000);
    expect(bytes).toBeLessThan(400_000);
    await runtime.remove(id);
    await expect(runtime.writableBytes(id)).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('changes the limits of a container that runs, and tells them', async () => {
    const id = await runtime.create({
      ...spec('runs'),
      resources: { cpuShares: 100, memoryBytes: 64 * 2 ** 20 },
    });
    await runtime.start(id);
    expect((await runtime.inspect(id))?.limits).toEqual({ cpuShares: 100, memoryBytes: 64 * 2 ** 20 });
    await runtime.update(id, { cpuShares: 200, cpuQuota: 50_000, memoryBytes: 96 * 2 ** 20 });
    const limits = { cpuShares: 200, cpuQuota: 50_000, memoryBytes: 96 * 2 ** 20 };
    expect((await runtime.inspect(id))?.limits).toEqual(limits);
    // The list's word is not an older one.
    expect((await runtime.list()).find((each) => each.id === id)?.limits).toEqual(limits);
    await runtime.remove(id);
    await expect(runtime.update(id, { cpuShares: 2 })).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('does not know a container that does not exist', async () => {
    await expect(runtime.start('0123456789abcdef')).rejects.toMatchObject({ code: 'NotFound' });
    expect(await runtime.inspect('0123456789abcdef')).toBeUndefined();
  });
});

describe('DockerRuntime alone', () => {
  let daemon: DockerDaemon;
  let runtime: DockerRuntime;
  beforeAll(async () => {
    daemon = new DockerDaemon();
    await daemon.start();
    runtime = new DockerRuntime({
      clock: new SystemClock(),
      socketPath: daemon.socket,
      owner: 'one',
      logFiles: { maxSize: 128 * 1024, maxFiles: 3 },
    });
    runtime.connect();
  }, 60_000);
  afterAll(async () => {
    runtime.disconnect();
    await daemon.stop();
  }, 60_000);

  const make = async (script: string, more: Partial<ContainerSpec> = {}): Promise<string> => {
    const id = await runtime.create({
      name: `k8s_x_${Math.trunc(performance.now() * 1000)}`,
      labels: {},
      image: IMAGE,
      entrypoint: ['/bin/busybox', 'sh', '-c', script],
      env: ['PATH=/bin'],
      tty: false,
      stdin: false,
      stdinOnce: false,
      networkMode: 'none',
      ipcMode: 'shareable',
      mounts: [],
      devices: [],
      resources: {},
      oomScoreAdj: 0,
      security: {
        privileged: false,
        readOnlyRootFilesystem: false,
        capAdd: [],
        capDrop: [],
        noNewPrivileges: false,
        options: [],
        sysctls: {},
      },
      ...more,
    });
    await runtime.start(id);
    return id;
  };
  const collector = () => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    return {
      sink: {
        stdout: (chunk: Buffer) => void out.push(Buffer.from(chunk)),
        stderr: (chunk: Buffer) => void err.push(Buffer.from(chunk)),
      },
      stdout: () => Buffer.concat(out),
      stderr: () => Buffer.concat(err).toString(),
    };
  };

  it('executes with stdin that is closed before the output ends', async () => {
    const id = await make('sleep 1000');
    const session = await runtime.exec(id, {
      command: ['/bin/busybox', 'sh', '-c', 'cat; echo done >&2; exit 5'],
      stdin: true,
      stdout: true,
      stderr: true,
      tty: false,
    });
    const got = collector();
    session.onOutput(got.sink);
    const data = Buffer.alloc(500_000, 'x');
    session.write(data);
    session.closeStdin();
    expect(await session.exit).toBe(5);
    expect(got.stdout().equals(data)).toBe(true);
    expect(got.stderr()).toBe('done\n');
    await runtime.remove(id);
  });

  it('ends an exec with its container, though its process namespace lives on', async () => {
    const sandbox = await make('sleep 1000');
    const id = await make('sleep 1000', { pidMode: `container:${sandbox}` });
    // Docker hangs on it in four of five cases.
    for (let round = 0; round < 4; round += 1) {
      const session = await runtime.exec(id, {
        command: ['/bin/busybox', 'sh', '-c', 'echo begun; sleep 1000'],
        stdin: false,
        stdout: true,
        stderr: true,
        tty: false,
      });
      const got = collector();
      session.onOutput(got.sink);
      await waitFor('the command', () => got.stdout().toString() === 'begun\n');
      await daemon.call('POST', `/containers/${id}/kill`);
      expect(await session.exit).toBe(137);
      await runtime.start(id);
    }
    await runtime.remove(id);
    await runtime.remove(sandbox);
  });

  it('kills an exec that is given up', async () => {
    const id = await make('sleep 1000');
    const session = await runtime.exec(id, {
      command: ['/bin/busybox', 'sleep', '999'],
      stdin: false,
      stdout: true,
      stderr: true,
      tty: false,
    });
    session.onOutput(collector().sink);
    await session.kill();
    expect(await session.exit).toBe(137);
    await runtime.remove(id);
  });

  it('separates stdout and stderr of logs, and follows them to the end', async () => {
    const id = await make('echo one; echo two >&2; sleep 1; echo three');
    const got = collector();
    await runtime.logs(id, { follow: true, timestamps: false }, got.sink, new AbortController().signal);
    expect(got.stdout().toString()).toBe('one\nthree\n');
    expect(got.stderr()).toBe('two\n');
    const tail = collector();
    await runtime.logs(
      id,
      { follow: false, timestamps: false, tailLines: 1 },
      tail.sink,
      new AbortController().signal,
    );
    expect(tail.stdout().toString()).toBe('three\n');
    await runtime.remove(id);
  });

  it('follows logs through their rotation, line by line', async () => {
    // Some 3000 lines a second: each file lasts for half of one.
    const script =
      'i=0; while [ $i -lt 6000 ]; do echo "line $i"; i=$((i+1)); [ $((i % 100)) = 0 ] && usleep 30000; done; echo end';
    const id = await make(script);
    const got = collector();
    await runtime.logs(id, { follow: true, timestamps: false }, got.sink, new AbortController().signal);
    const lines = got.stdout().toString().trim().split('\n');
    expect(lines.length).toBe(6001);
    expect(lines.slice(0, -1)).toEqual(Array.from({ length: 6000 }, (_, index) => `line ${index}`));
    await runtime.remove(id);
  });

  it('stops following when told', async () => {
    const id = await make('echo begin; sleep 1000');
    const got = collector();
    const abort = new AbortController();
    const following = runtime.logs(id, { follow: true, timestamps: false }, got.sink, abort.signal);
    await waitFor('the first line', () => got.stdout().length > 0);
    abort.abort();
    await following;
    await runtime.remove(id);
  });

  it('gives limits to the kernel', async () => {
    const id = await make('sleep 1000', {
      resources: { memoryBytes: 32 * 1024 * 1024, cpuShares: 102, cpuQuota: 20_000 },
    });
    const details = (await daemon.call('GET', `/containers/${id}/json`)) as {
      HostConfig: Record<string, number>;
    };
    expect(details.HostConfig).toMatchObject({ CpuShares: 102, CpuQuota: 20_000, CpuPeriod: 100_000 });
    await runtime.remove(id);
  });

  it('is Unavailable while the engine is away, and tells at once when it is lost and when it is back', async () => {
    const door = new SocketDoor(daemon.socket);
    await door.open();
    const behind = new DockerRuntime({ clock: new SystemClock(), socketPath: door.path, owner: 'one' });
    const heard: (string | undefined)[] = [];
    behind.onEvent((id) => heard.push(id));
    behind.connect();
    await waitFor('the connection', () => heard.length === 1);
    await behind.list();
    await door.close();
    await waitFor('the loss', () => heard.length === 2, { timeoutMs: 1000 });
    await expect(behind.list()).rejects.toMatchObject({ code: 'Unavailable' });
    await door.open();
    await waitFor('the reconnect', () => heard.length === 3, { timeoutMs: 3000 });
    expect(heard).toEqual([undefined, undefined, undefined]);
    await behind.list();
    behind.disconnect();
    await door.close();
  });
});

/** A socket in front of the engine's that can be shut: to its clients that is an engine that stops. */
class SocketDoor {
  readonly path: string;
  private readonly target: string;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(target: string) {
    this.target = target;
    this.path = `${target}.door`;
  }

  async open(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const engine = connect({ path: this.target, allowHalfOpen: true });
      for (const [from, to] of [
        [client, engine],
        [engine, client],
      ] as const) {
        this.sockets.add(from);
        from.on('error', () => to.destroy());
        from.on('close', () => this.sockets.delete(from));
        from.pipe(to);
      }
    });
    this.server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server?.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
    rmSync(this.path, { force: true });
  }
}
