import { LABEL } from '../../src/agent/names.ts';
import type { PodNetwork } from '../../src/agent/ports.ts';
import { type ContainerRuntime, type ObservedContainer, RuntimeError } from '../../src/agent/runtime.ts';
import type { UsageMeter } from '../../src/agent/usage.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import type { PodUses } from '../../src/health/pod-usage.ts';
import { type Clock, sleep, withTimeout } from '../../src/lib/clock.ts';
import type { ClusterInfo, SharedNode } from '../../src/wire/messages.ts';
import { FakeRuntime } from '../support/fake-runtime.ts';
import type { SeededRandom } from '../support/seeded-random.ts';

/** What the containers of the workload do, by image. */
export const IMAGES = {
  serve: ['sim/serve:1', 'sim/serve:2', 'sim/serve:3'],
  slowStop: 'sim/slow-stop:1',
  work: 'sim/work:1',
  fail: 'sim/fail:1',
  missing: 'sim/missing:1',
  init: 'sim/init:1',
  sidecar: 'sim/sidecar:1',
} as const;

/**
 * A board's container engine: FakeRuntime with slow calls and lost events. Watches over the one rule that no agent may
 * break for a moment: no container of a pod runs twice.
 */
export class Machine {
  readonly engine: FakeRuntime;
  /** Probes in its containers fail. */
  probesFail = false;
  /** How often events get lost. */
  eventLoss = 0;
  /** What a busy container uses of the CPU, in cores; undefined: something between nothing and 30m. */
  load: number | undefined;
  latencyMs: readonly [number, number] = [1, 40];
  private readonly clock: Clock;
  private readonly random: SeededRandom;
  private readonly violation: (what: string) => void;
  private readonly onStart: (container: ObservedContainer) => void;
  private readonly onStop: (container: ObservedContainer) => void;

  constructor(options: {
    name: string;
    clock: Clock;
    random: SeededRandom;
    violation: (what: string) => void;
    onStart: (container: ObservedContainer) => void;
    onStop: (container: ObservedContainer) => void;
  }) {
    const { name, clock, random } = options;
    this.clock = clock;
    this.random = random;
    this.violation = options.violation;
    this.onStart = options.onStart;
    this.onStop = options.onStop;
    this.engine = new FakeRuntime({ clock, owner: name });
    const { images } = this.engine;
    images.set('sim/pause:1', { present: true });
    for (const image of IMAGES.serve)
      images.set(image, {
        present: false,
        pullMs: 800,
        stopsAfterMs: 300,
        exitCode: 0,
        exec: () => ({ exitCode: this.probesFail ? 1 : 0, afterMs: 20 }),
      });
    images.set(IMAGES.init, { present: true, exitAfterMs: 700, exitCode: 0 });
    images.set(IMAGES.sidecar, { present: true, stopsAfterMs: 100, exitCode: 0 });
    images.set(IMAGES.slowStop, { present: true, ignoresSigterm: true });
    images.set(IMAGES.work, { present: true, exitAfterMs: 6000, exitCode: 0, stopsAfterMs: 200 });
    images.set(IMAGES.fail, { present: true, exitAfterMs: 3000, exitCode: 3, stopsAfterMs: 200 });
  }

  get running(): ObservedContainer[] {
    return this.engine.all.filter(({ state }) => state === 'running');
  }

  /** The engine as one agent process sees it. */
  runtime(): ContainerRuntime {
    const { engine } = this;
    const call = async <T>(work: () => Promise<T>): Promise<T> => {
      await this.wait();
      const result = await work();
      await this.wait();
      return result;
    };
    return {
      list: () => call(() => engine.list()),
      inspect: (id) => call(() => engine.inspect(id)),
      create: (spec) => call(() => engine.create(spec)),
      start: (id) => call(() => this.start(id)),
      stop: (id, grace) =>
        call(() => {
          this.ended(id);
          return engine.stop(id, grace);
        }),
      remove: (id) =>
        call(() => {
          this.ended(id);
          return engine.remove(id);
        }),
      writableBytes: (id) => call(() => engine.writableBytes(id)),
      update: (id, resources) => call(() => engine.update(id, resources)),
      imageId: (reference) => call(() => engine.imageId(reference)),
      inspectImage: (reference) => call(() => engine.inspectImage(reference)),
      pull: (reference, options) => call(() => engine.pull(reference, options)),
      importImage: (tar, reference) => call(() => engine.importImage(tar, reference)),
      onEvent: (listener) =>
        engine.onEvent((id) => {
          if (this.random.chance(this.eventLoss)) return;
          this.clock.after(this.random.integer(30), () => listener(id));
        }),
      logs: (id, options, sink) => engine.logs(id, options, sink),
      exec: (id, options) => call(() => engine.exec(id, options)),
      attach: () => engine.attach(),
      version: () => call(() => engine.version()),
    };
  }

  /** What its containers use, for autoscalers. */
  usageMeter(): UsageMeter {
    return {
      measure: async (containers) => {
        const pods: PodUses['pods'] = {};
        for (const { podUid, name } of containers) {
          pods[podUid] = { ...pods[podUid], [name]: [this.load ?? this.random.number() * 0.03, 20_000_000] };
        }
        return { windowMs: 15_000, pods };
      },
      forget: () => {},
    };
  }

  /** A container dies by itself (the OOM killer, a bug in it). */
  crashOne(
    pick: (candidates: readonly ObservedContainer[]) => ObservedContainer,
    sandboxes: boolean,
  ): string | undefined {
    const candidates = this.running.filter(({ labels }) => sandboxes || labels[LABEL.type] !== 'podsandbox');
    if (candidates.length === 0) return undefined;
    const victim = pick(candidates);
    this.engine.kill(victim.id);
    return victim.name;
  }

  /** The power goes: whatever ran has ended. `lost`: the engine's memory of it too (its data lay in RAM). */
  powerCut(lost: boolean): void {
    this.engine.reboot();
    if (lost) for (const { id } of this.engine.all) this.engine.destroy(id);
  }

  private ended(id: string): void {
    const container = this.running.find((one) => one.id === id);
    if (container && !this.engine.down) this.onStop(container);
  }

  private async start(id: string): Promise<void> {
    await this.engine.start(id);
    const started = this.engine.all.find((container) => container.id === id);
    if (started?.state !== 'running') return;
    this.onStart(started);
    const same = this.running.filter(
      ({ labels }) =>
        labels[LABEL.podUid] === started.labels[LABEL.podUid] &&
        labels[LABEL.type] === started.labels[LABEL.type] &&
        labels[LABEL.containerName] === started.labels[LABEL.containerName],
    );
    if (same.length > 1) this.violation(`runs twice: ${same.map(({ name }) => name).join(' and ')}`);
  }

  private async wait(): Promise<void> {
    const [least, most] = this.latencyMs;
    await sleep(this.clock, least + this.random.integer(most - least + 1));
  }
}

/** The pod network of a board: addresses from the node's range, which the server has to give first. */
export class SimulatedNetwork implements PodNetwork {
  readonly attached = new Map<string, string>();
  private readonly clock: Clock;
  private readonly node: string;
  private cidr: string | undefined;
  private waiters: (() => void)[] = [];

  /** `attached` lives in the kernel: it outlives the agent. */
  constructor(options: { clock: Clock; node: string; attached: Map<string, string> }) {
    this.clock = options.clock;
    this.node = options.node;
    this.attached = options.attached;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async attach(pod: Pod, _pid: number): Promise<{ ips: string[] }> {
    const uid = pod.metadata.uid ?? '';
    if (this.cidr === undefined) {
      await withTimeout(
        this.clock,
        30_000,
        new Promise<void>((resolve) => this.waiters.push(resolve)),
        () => new RuntimeError('Timeout', 'the node has no pod CIDR yet'),
      );
    }
    const known = this.attached.get(uid);
    if (known) return { ips: [known] };
    const used = new Set(this.attached.values());
    const prefix = (this.cidr ?? '').split('.').slice(0, 3).join('.');
    for (let host = 2; host < 255; host += 1) {
      const ip = `${prefix}.${host}`;
      if (used.has(ip)) continue;
      this.attached.set(uid, ip);
      return { ips: [ip] };
    }
    throw new RuntimeError('Other', 'no address is free');
  }

  async detach(podUid: string): Promise<void> {
    this.attached.delete(podUid);
  }

  async adopt(pods: readonly { uid: string; ips: string[] }[]): Promise<void> {
    this.attached.clear();
    for (const { uid, ips } of pods) if (ips[0]) this.attached.set(uid, ips[0]);
  }

  update(nodes: readonly SharedNode[], _cluster: ClusterInfo | undefined): void {
    this.cidr = nodes.find(({ name }) => name === this.node)?.podCIDR;
    if (this.cidr === undefined) return;
    for (const resolve of this.waiters.splice(0)) resolve();
  }
}
