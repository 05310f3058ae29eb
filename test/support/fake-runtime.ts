import {
  type ContainerRuntime,
  type ContainerSpec,
  type ExecOptions,
  type ExecSession,
  type LogOptions,
  type ObservedContainer,
  type ObservedImage,
  type OutputSink,
  type PullOptions,
  type ResourceLimits,
  RuntimeError,
} from '../../src/agent/runtime.ts';
import { type Clock, sleep } from '../../src/lib/clock.ts';

/** What containers of an image do. Everything is optional: an image without a script runs until it is stopped. */
export interface ImageScript {
  /** Ends by itself after so long; a function sees how often a container of this name was started. */
  exitAfterMs?: number;
  exitCode?: number;
  oomKilled?: boolean;
  /** The start fails with this message. */
  startError?: string;
  /** The start never answers. */
  startHangs?: boolean;
  /** Takes SIGTERM and goes on until SIGKILL. */
  ignoresSigterm?: boolean;
  /** How long it takes to end after SIGTERM. */
  stopsAfterMs?: number;
  /** Is there without a pull; false: a pull brings it; an Error: a pull fails with it. */
  present?: boolean;
  pullError?: RuntimeError;
  pullMs?: number;
  /** arm64 unless said otherwise. */
  architecture?: string;
  /** Answers of exec by command joined with blanks: exit code, or a function that decides. */
  exec?: (command: string) => { exitCode: number; stdout?: string; afterMs?: number };
  logs?: string;
  /** What a container of it has written. */
  writableBytes?: number;
  user?: string;
}

interface Held {
  observed: ObservedContainer;
  spec: ContainerSpec;
  waiters: (() => void)[];
  generation: number;
}

/**
 * ContainerRuntime in memory. Containers do what their image's script says, on the given clock. Calls take
 * `latencyMs`; `down` makes every call fail as a stopped engine does. What is not modelled throws.
 */
export class FakeRuntime implements ContainerRuntime {
  readonly images = new Map<string, ImageScript>();
  /** Calls made, newest last: `create k8s_web_…`, `start <id>`. */
  readonly calls: string[] = [];
  latencyMs = 0;
  private readonly clock: Clock;
  private readonly owner: string;
  private readonly containers = new Map<string, Held>();
  private readonly listeners = new Set<(id: string | undefined, what?: string) => void>();
  private counter = 0;
  private pids = 1000;
  private isDown = false;

  constructor(options: { clock: Clock; owner?: string }) {
    this.clock = options.clock;
    this.owner = options.owner ?? 'node';
  }

  // --- what a test does ---

  /** Stops or starts the engine; containers live on (live-restore is not assumed by anyone). */
  set down(down: boolean) {
    this.isDown = down;
    if (!down) this.emit(undefined);
  }

  /** The engine's host rebooted: everything that ran has ended. */
  reboot(): void {
    for (const held of this.containers.values()) {
      if (held.observed.state === 'running') this.end(held, 255, false);
    }
  }

  /** `docker kill` by hand. */
  kill(id: string, exitCode = 137): void {
    const held = this.held(id);
    this.end(held, exitCode, false);
    this.emit(id);
  }

  /** `docker rm -f` by hand. */
  destroy(id: string): void {
    this.end(this.held(id), 137, false);
    this.containers.delete(id);
    this.emit(id);
  }

  /** A container that somebody else made. */
  addForeign(name: string): void {
    this.containers.set(name, {
      observed: {
        id: name,
        name,
        labels: {},
        image: 'foreign',
        imageId: 'sha256:foreign',
        state: 'running',
        createdAt: this.clock.now(),
      },
      spec: undefined as never,
      waiters: [],
      generation: 0,
    });
  }

  /** The same engine as the agent of another node sees it. */
  as(owner: string): FakeRuntime {
    const view = new FakeRuntime({ clock: this.clock, owner });
    return Object.assign(view, {
      containers: this.containers,
      images: this.images,
      listeners: this.listeners,
    });
  }

  get all(): ObservedContainer[] {
    return [...this.containers.values()].map(({ observed }) => observed);
  }

  specOf(id: string): ContainerSpec {
    return this.held(id).spec;
  }

  // --- ContainerRuntime ---

  async list(): Promise<ObservedContainer[]> {
    await this.call('list');
    return this.all
      .filter(({ labels }) => labels['io.copepod.node'] === this.owner)
      .map((each) => ({ ...each }));
  }

  async inspect(id: string): Promise<ObservedContainer | undefined> {
    await this.call(`inspect ${id}`);
    const held = this.containers.get(id);
    return held?.observed.labels['io.copepod.node'] === this.owner ? { ...held.observed } : undefined;
  }

  async create(spec: ContainerSpec): Promise<string> {
    await this.call(`create ${spec.name}`);
    if (this.script(spec.image).present === false) {
      throw new RuntimeError('ImageNotFound', `No such image: ${spec.image}`);
    }
    for (const { observed } of this.containers.values()) {
      if (observed.name === spec.name) {
        const message = `Conflict. The container name "/${spec.name}" is already in use by container "${observed.id}".`;
        throw new RuntimeError('NameConflict', message);
      }
    }
    this.counter += 1;
    const id = this.counter.toString(16).padStart(64, '0');
    this.containers.set(id, {
      spec,
      observed: {
        id,
        name: spec.name,
        labels: { ...spec.labels, 'io.copepod.node': this.owner },
        image: spec.image,
        imageId: `sha256:${spec.image}`,
        state: 'created',
        createdAt: this.clock.now(),
        limits: spec.resources,
      },
      waiters: [],
      generation: 0,
    });
    return id;
  }

  async start(id: string): Promise<void> {
    await this.call(`start ${id}`);
    const held = this.held(id);
    const script = this.script(held.spec.image);
    if (script.startHangs) await new Promise(() => {});
    if (script.startError) {
      held.observed.exitCode = 127;
      held.observed.error = script.startError;
      throw new RuntimeError('CommandNotFound', script.startError);
    }
    if (held.observed.state === 'running') return;
    this.pids += 1;
    Object.assign(held.observed, { state: 'running', pid: this.pids, startedAt: this.clock.now() });
    held.generation += 1;
    const { generation } = held;
    if (script.exitAfterMs !== undefined) {
      this.clock.after(script.exitAfterMs, () => {
        if (held.generation !== generation || held.observed.state !== 'running') return;
        this.end(held, script.exitCode ?? 0, script.oomKilled ?? false);
        this.emit(id);
      });
    }
    this.emit(id, 'start');
  }

  async stop(id: string, graceSeconds: number): Promise<void> {
    await this.call(`stop ${id} ${graceSeconds}`);
    const held = this.containers.get(id);
    if (held?.observed.state !== 'running') return;
    const script = this.script(held.spec.image);
    const grace = graceSeconds * 1000;
    const own = script.ignoresSigterm ? Number.POSITIVE_INFINITY : (script.stopsAfterMs ?? 0);
    const { generation } = held;
    this.clock.after(Math.min(own, grace), () => {
      if (held.generation !== generation || held.observed.state !== 'running') return;
      this.end(held, own <= grace ? (script.exitCode ?? 143) : 137, false);
      this.emit(id);
    });
    await new Promise<void>((resolve) => held.waiters.push(resolve));
  }

  async remove(id: string): Promise<void> {
    await this.call(`remove ${id}`);
    const held = this.containers.get(id);
    if (!held) return;
    if (held.observed.state === 'running') this.end(held, 137, false);
    this.containers.delete(id);
    this.emit(id);
  }

  async writableBytes(id: string): Promise<number> {
    await this.call(`size ${id}`);
    return this.script(this.held(id).spec.image).writableBytes ?? 0;
  }

  async update(id: string, resources: ResourceLimits): Promise<void> {
    await this.call(`update ${id} ${JSON.stringify(resources)}`);
    const held = this.held(id);
    held.observed = { ...held.observed, limits: { ...held.observed.limits, ...resources } };
    this.emit(id);
  }

  async imageId(reference: string): Promise<string | undefined> {
    return (await this.inspectImage(reference))?.id;
  }

  async inspectImage(reference: string): Promise<ObservedImage | undefined> {
    await this.call(`image ${reference}`);
    const script = this.script(reference);
    if (script.present === false) return undefined;
    return {
      id: `sha256:${reference}`,
      repoDigests: [],
      sizeBytes: 1234,
      architecture: script.architecture ?? 'arm64',
      user: script.user ?? '',
    };
  }

  async pull(reference: string, { auth, signal }: PullOptions = {}): Promise<void> {
    await this.call(`pull ${reference}${auth ? ` as ${auth.username}` : ''}`);
    const script = this.script(reference);
    if (script.pullMs) await sleep(this.clock, script.pullMs, signal);
    if (script.pullError) throw script.pullError;
    script.present = true;
  }

  async importImage(_tar: Buffer, reference: string): Promise<void> {
    await this.call(`import ${reference}`);
    this.images.set(reference, { present: true });
  }

  onEvent(listener: (containerId: string | undefined, what?: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async logs(id: string, options: LogOptions, sink: OutputSink): Promise<void> {
    await this.call(`logs ${id}`);
    if (options.follow) throw new Error('FakeRuntime does not model following logs');
    sink.stdout(Buffer.from(this.script(this.held(id).spec.image).logs ?? ''));
  }

  async exec(id: string, options: ExecOptions): Promise<ExecSession> {
    await this.call(`exec ${options.command.join(' ')}`);
    const held = this.held(id);
    if (held.observed.state !== 'running') throw new RuntimeError('Other', `container ${id} is not running`);
    const script = this.script(held.spec.image);
    if (!script.exec) throw new Error(`FakeRuntime: image ${held.spec.image} has no exec script`);
    const { exitCode, stdout, afterMs } = script.exec(options.command.join(' '));
    let sink: OutputSink | undefined;
    let finish: (code: number) => void = () => {};
    const exit = new Promise<number>((resolve) => {
      finish = resolve;
    });
    this.clock.after(afterMs ?? 0, () => {
      if (stdout) sink?.stdout(Buffer.from(stdout));
      finish(exitCode);
    });
    const unmodelled = (name: string) => (): never => {
      throw new Error(`FakeRuntime does not model ${name}`);
    };
    return {
      onOutput: (given) => {
        sink = given;
      },
      write: unmodelled('write'),
      onDrain: unmodelled('onDrain'),
      closeStdin: unmodelled('closeStdin'),
      resize: unmodelled('resize'),
      exit,
      close: () => finish(137),
      kill: async () => finish(137),
    };
  }

  async attach(): Promise<ExecSession> {
    throw new Error('FakeRuntime does not model attach');
  }

  async version(): Promise<{ name: string; version: string; apiVersion: string; dataDirectory: string }> {
    await this.call('version');
    return { name: 'fake', version: '0', apiVersion: '1.41', dataDirectory: '/fake' };
  }

  private async call(text: string): Promise<void> {
    this.calls.push(text);
    if (this.latencyMs > 0) await new Promise<void>((resolve) => this.clock.after(this.latencyMs, resolve));
    if (this.isDown)
      throw new RuntimeError('Unavailable', 'Cannot connect to the Docker daemon: connect ECONNREFUSED');
  }

  private script(image: string): ImageScript {
    let script = this.images.get(image) ?? this.images.get(image.replace(/:latest$/, ''));
    if (!script) {
      script = { present: false, pullError: new RuntimeError('ImagePull', `no such host: ${image}`) };
      this.images.set(image, script);
    }
    return script;
  }

  private held(id: string): Held {
    const held = this.containers.get(id);
    if (!held) throw new RuntimeError('NotFound', `No such container: ${id}`);
    return held;
  }

  private end(held: Held, exitCode: number, oomKilled: boolean): void {
    if (held.observed.state !== 'running') return;
    const { pid: _, ...rest } = held.observed;
    held.observed = {
      ...rest,
      state: 'exited',
      exitCode,
      finishedAt: this.clock.now(),
      ...(oomKilled ? { oomKilled } : {}),
    };
    held.generation += 1;
    for (const resolve of held.waiters.splice(0)) resolve();
  }

  private emit(id: string | undefined, what?: string): void {
    if (this.isDown) return;
    for (const listener of this.listeners) listener(id, what);
  }
}
