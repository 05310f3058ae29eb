import type { Clock } from '../../src/lib/clock.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SimulatedBroker } from '../support/simulated-broker.ts';
import type { Board } from './board.ts';
import type { Server } from './server.ts';
import type { Trace } from './trace.ts';

/** TCP and MQTT notice a silent peer after one and a half keepalives. */
const KEEPALIVE_MS = 15_000;
const YEARS = 365 * 86_400_000;

/** What can go wrong, and how often in relation to each other. Each ends by itself, or at `heal` at the latest. */
type Fault = readonly [weight: number, name: string, act: () => void];

/** Breaks things at random moments; everything it does follows from its random numbers. */
export class Faults {
  private readonly clock: Clock;
  private readonly random: SeededRandom;
  private readonly server: Server;
  private readonly boards: readonly Board[];
  private readonly trace: Trace;
  private readonly broker: SimulatedBroker | undefined;
  private active = false;
  private readonly down = new Set<string>();
  private readonly faults: readonly Fault[];

  constructor(options: {
    clock: Clock;
    random: SeededRandom;
    server: Server;
    boards: readonly Board[];
    trace: Trace;
    /** When it is a process of its own. */
    broker: SimulatedBroker | undefined;
    /** Names of the faults that are allowed; all when absent. */
    only?: readonly string[];
  }) {
    this.clock = options.clock;
    this.random = options.random;
    this.server = options.server;
    this.boards = options.boards;
    this.trace = options.trace;
    this.broker = options.broker;
    const all: readonly Fault[] = [
      [14, 'server-crash', () => this.serverCrash()],
      [6, 'server-crash-at-sync', () => this.serverCrashAtSync()],
      [14, 'agent-crash', () => this.agentCrash()],
      [6, 'agent-crash-early', () => this.agentCrashEarly()],
      [3, 'agent-stop', () => this.agentStop()],
      [7, 'power-cut', () => this.powerCut()],
      [10, 'link-cut', () => this.linkCut()],
      [6, 'link-hang', () => this.linkHang()],
      [8, 'lossy-link', () => this.lossyLink()],
      [6, 'slow-disk', () => this.slowDisk()],
      [4, 'failing-disk', () => this.failingDisk()],
      [5, 'board-clock', () => this.boardClock()],
      [3, 'server-clock', () => this.serverClock()],
      [16, 'container-crash', () => this.containerCrash()],
      [6, 'engine-down', () => this.engineDown()],
      [5, 'lost-events', () => this.lostEvents()],
      [4, 'failing-probes', () => this.failingProbes()],
      [2, 'broker-crash', () => this.brokerCrash()],
    ];
    const { only } = options;
    this.faults = only ? all.filter(([, name]) => only.includes(name)) : all;
  }

  start(meanMs: number): void {
    this.active = true;
    const total = this.faults.reduce((sum, [weight]) => sum + weight, 0);
    const next = (): void => {
      if (!this.active) return;
      let left = this.random.number() * total;
      for (const [weight, , act] of this.faults) {
        left -= weight;
        if (left > 0) continue;
        act();
        break;
      }
      this.clock.after(
        this.random.chance(0.2) ? this.random.integer(200) : this.random.number() * 2 * meanMs,
        next,
      );
    };
    if (total > 0) this.clock.after(this.random.number() * meanMs, next);
  }

  /** Everything works again. */
  async heal(): Promise<void> {
    this.active = false;
    this.trace.add('faults', 'end');
    this.server.disk.latencyMs = () => 0;
    this.server.disk.resume();
    this.server.crashAtSync = false;
    this.server.jumpClock(0);
    this.broker?.restart();
    if (!this.server.up) void this.server.start();
    for (const board of this.boards) {
      board.machine.eventLoss = 0;
      board.machine.probesFail = false;
      // What autoscalers aim at: they come to rest.
      board.machine.load = 0.01;
      board.onNewPod = () => {};
      board.machine.engine.down = false;
      board.setLink(true);
      board.bus?.thaw();
      board.jumpClock(0);
      if (!board.powered) await board.powerOn(0);
      else await board.startAgent();
      if (board.bus) board.bus.faults = { drop: 0, repeat: 0, delayMs: [0, 5] };
    }
  }

  private serverCrash(): void {
    if (!this.server.up) return;
    this.note('server', 'crashes');
    this.server.kill();
    this.later(this.duration(500, 90_000), () => void this.server.start());
  }

  /** Dies between the fsync and telling anyone. */
  private serverCrashAtSync(): void {
    if (!this.server.up) return;
    this.server.crashAtSync = true;
    this.note('server', 'will crash at its next fsync');
    this.server.onCrash = () => this.later(this.duration(500, 30_000), () => void this.server.start());
  }

  private agentCrash(): void {
    const board = this.random.pick(this.boards);
    if (!board.agent) return;
    this.note(board.name, 'agent crashes');
    board.killAgent();
    this.later(this.duration(200, 60_000), () => void board.startAgent());
  }

  /** Dies when a pod has just come, and is slow to hear of it again: its journal does not have the pod. */
  private agentCrashEarly(): void {
    const board = this.random.pick(this.boards);
    if (!board.agent) return;
    this.note(board.name, 'agent will crash with the next pod that comes');
    const wait = this.random.integer(250);
    const away = this.duration(200, 5000);
    const slow = this.duration(1000, 20_000);
    board.onNewPod = () => {
      board.onNewPod = () => {};
      this.later(wait, () => {
        this.note(board.name, 'agent crashes');
        board.killAgent();
        this.later(away, () => {
          void board.startAgent();
          const { bus } = board;
          bus?.freeze();
          this.later(slow, () => bus?.thaw());
        });
      });
    };
  }

  private agentStop(): void {
    const board = this.random.pick(this.boards);
    if (!board.agent) return;
    this.note(board.name, 'agent stops orderly');
    void board.stopAgent();
    this.later(this.duration(2000, 20_000), () => void board.startAgent());
  }

  private powerCut(): void {
    const board = this.random.pick(this.boards);
    if (!board.powered) return;
    const engineLost = this.random.chance(0.3);
    this.note(board.name, `loses power${engineLost ? ', and its engine forgets its containers' : ''}`);
    board.powerCut({ engineLost });
    const off = this.random.chance(0.2) ? this.duration(200_000, 500_000) : this.duration(3000, 90_000);
    this.later(off, () => {
      if (board.powered) return;
      // No battery: it wakes up in 1970, or where its clock stood when it was last written down.
      const offset = this.random.chance(0.5) ? this.since1970() : 0;
      this.note(board.name, `has power again${offset ? ', in 1970' : ''}`);
      void board.powerOn(offset);
      if (offset) this.later(this.duration(1000, 120_000), () => board.jumpClock(0));
    });
  }

  private linkCut(): void {
    const board = this.random.pick(this.boards);
    if (!board.linkUp) return;
    const long = this.random.chance(0.15);
    const lasts = long ? this.duration(250_000, 600_000) : this.duration(500, 100_000);
    this.note(board.name, `link is cut for ${Math.round(lasts / 1000)} s`);
    this.hang(board, lasts);
    this.later(lasts, () => {
      board.bus?.thaw();
      board.setLink(true);
    });
  }

  /** Nothing gets through, and nobody notices: everything arrives late. */
  private linkHang(): void {
    const board = this.random.pick(this.boards);
    const { bus } = board;
    if (!bus) return;
    const lasts = this.duration(1000, KEEPALIVE_MS * 1.5);
    this.note(board.name, `link hangs for ${Math.round(lasts / 1000)} s`);
    bus.freeze();
    this.later(lasts, () => bus.thaw());
  }

  private hang(board: Board, lasts: number): void {
    const { bus } = board;
    bus?.freeze();
    const noticed = KEEPALIVE_MS * (1 + this.random.number() / 2);
    if (lasts > noticed) this.later(noticed, () => board.setLink(false));
  }

  private lossyLink(): void {
    const board = this.random.pick(this.boards);
    const { bus } = board;
    if (!bus) return;
    this.note(board.name, 'link loses, repeats and delays');
    const most = this.duration(10, 4000);
    bus.faults = { drop: this.random.number(), repeat: this.random.number() * 0.5, delayMs: [0, most] };
    this.later(this.duration(5000, 90_000), () => {
      bus.faults = { drop: 0, repeat: 0, delayMs: [0, 5] };
    });
  }

  private slowDisk(): void {
    const most = this.duration(10, 3000);
    this.note('server', `disk takes up to ${Math.round(most)} ms`);
    const { disk } = this.server;
    const random = this.random.fork(`disk-${this.clock.monotonic()}`);
    disk.latencyMs = (sync) => (sync ? random.integer(most) + 1 : 1);
    this.later(this.duration(1000, 60_000), () => {
      disk.latencyMs = () => 0;
    });
  }

  private failingDisk(): void {
    const times = 1 + this.random.integer(30);
    this.note('server', `disk fails ${times} times`);
    this.server.disk.failNext(times);
  }

  private boardClock(): void {
    const board = this.random.pick(this.boards);
    const offset = this.random.pick([this.since1970(), -3_600_000, 7_200_000, 1.5 * YEARS, 400]);
    this.note(board.name, `clock jumps to ${Math.round(offset / 1000)} s`);
    board.jumpClock(offset);
    this.later(this.duration(1000, 90_000), () => board.jumpClock(0));
  }

  private serverClock(): void {
    const offset = this.random.pick([-120_000, -30_000, 45_000, 90_000, this.since1970()]);
    this.note('server', `clock jumps to ${offset / 1000} s`);
    this.server.jumpClock(offset);
    this.later(this.duration(1000, 120_000), () => this.server.jumpClock(0));
  }

  private containerCrash(): void {
    const board = this.random.pick(this.boards);
    if (!board.powered) return;
    const name = board.machine.crashOne((running) => this.random.pick(running), this.random.chance(0.25));
    if (name) this.note(board.name, `container ${name} dies`);
  }

  private engineDown(): void {
    const board = this.random.pick(this.boards);
    if (!board.powered || this.down.has(board.name)) return;
    this.down.add(board.name);
    const { engine } = board.machine;
    const kills = this.random.chance(0.5);
    this.note(board.name, `container engine goes away${kills ? ' with its containers' : ''}`);
    engine.down = true;
    if (kills) engine.reboot();
    this.later(this.duration(500, 60_000), () => {
      this.down.delete(board.name);
      engine.down = false;
      this.note(board.name, 'container engine is back');
    });
  }

  private lostEvents(): void {
    const { machine } = this.random.pick(this.boards);
    machine.eventLoss = this.random.number();
    this.later(this.duration(5000, 60_000), () => {
      machine.eventLoss = 0;
    });
  }

  private failingProbes(): void {
    const { machine, name } = this.random.pick(this.boards);
    this.note(name, 'probes fail');
    machine.probesFail = true;
    this.later(this.duration(2000, 60_000), () => {
      machine.probesFail = false;
    });
  }

  /** Only a broker of its own can die alone. */
  private brokerCrash(): void {
    if (!this.broker) return;
    const { broker } = this;
    this.note('broker', 'crashes and forgets everything');
    broker.crash();
    this.later(this.duration(100, 30_000), () => broker.restart());
  }

  private since1970(): number {
    return 5000 - this.clock.now();
  }

  private duration(least: number, most: number): number {
    // Short ones are more frequent.
    return least + this.random.number() ** 2 * (most - least);
  }

  private later(milliseconds: number, action: () => void): void {
    this.clock.after(milliseconds, () => {
      if (this.active) action();
    });
  }

  private note(who: string, what: string): void {
    this.trace.add(who, `! ${what}`);
  }
}
