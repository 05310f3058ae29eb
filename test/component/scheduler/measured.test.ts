import { afterEach, describe, expect, it } from 'vitest';
import type { BoardMeasurements } from '../../../src/api/board.ts';
import { NODES, PODS } from '../../../src/api/kinds.ts';
import type { BoardReadings } from '../../../src/client/boards.ts';
import { Scheduler } from '../../../src/scheduler/scheduler.ts';
import { ControlPlane } from '../../support/control-plane.ts';

const MIB = 2 ** 20;
/** What a pod of the test really uses; it asks for much less. */
const REAL_USE = 60 * MIB;
const BEAT_MS = 10_000;

/** Boards of 1 GiB that other work fills unequally, and that measure themselves every ten seconds. */
class Boards implements BoardReadings {
  readonly readings = new Map<string, BoardMeasurements & { at: number }>();
  /** Boards that kubelet's thresholds called short of memory at any time. */
  readonly pressed = new Set<string>();
  private readonly plane: ControlPlane;
  private readonly others = new Map<string, number>();
  private readonly listeners = new Set<(node: string) => void>();

  constructor(plane: ControlPlane) {
    this.plane = plane;
  }

  of(node: string) {
    return this.readings.get(node);
  }

  onReading(listener: (node: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async add(name: string, others: number): Promise<void> {
    this.others.set(name, others * MIB);
    this.measure(name);
    await this.plane.node(name);
  }

  set(name: string, measured: Partial<BoardMeasurements>): void {
    const before = this.readings.get(name);
    if (!before) throw new Error(`no board ${name}`);
    this.readings.set(name, { ...before, ...measured, at: this.plane.clock.monotonic() });
    for (const listener of this.listeners) listener(name);
  }

  load(name: string, others: number): void {
    this.others.set(name, others * MIB);
  }

  podsOn(name: string): number {
    return this.plane.client.all(PODS).filter(({ spec }) => spec?.nodeName === name).length;
  }

  /** Time passes in heartbeats. */
  async beats(count: number): Promise<void> {
    for (let beat = 0; beat < count; beat += 1) {
      for (const name of this.others.keys()) this.measure(name);
      await this.plane.clock.advance(BEAT_MS);
    }
  }

  private measure(name: string): void {
    const memTotal = 1024 * MIB;
    const used = (this.others.get(name) ?? 0) + this.podsOn(name) * REAL_USE;
    const reading = {
      cpu: 0.1,
      load: 0,
      memTotal,
      memAvailable: Math.max(0, memTotal - used),
      diskTotal: 0,
      diskAvailable: 0,
      at: this.plane.clock.monotonic(),
    };
    // The default of --eviction-hard.
    if (reading.memAvailable < 100 * MIB) this.pressed.add(name);
    this.readings.set(name, reading);
    for (const listener of this.listeners) listener(name);
  }
}

describe('boards with equal requests and unequal load', () => {
  let plane: ControlPlane;
  let boards: Boards;
  let created = 0;

  async function open(measured: 'off' | 'scores' | 'full'): Promise<void> {
    plane = await ControlPlane.open('fake');
    plane.kubelet.binding = false;
    boards = new Boards(plane);
    await plane.start((context) => new Scheduler({ ...context, readings: boards, measured }));
  }
  afterEach(() => plane.stop());

  async function pods(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      created += 1;
      await plane.client.create(PODS, 'default', {
        metadata: { name: `p${created}` },
        spec: {
          containers: [
            { name: 'main', image: 'main', resources: { requests: { cpu: '50m', memory: '32Mi' } } },
          ],
        },
      });
    }
  }
  const BUSY = { a: 100, b: 300, c: 500, d: 700 };
  async function mixed(): Promise<void> {
    for (const [name, others] of Object.entries(BUSY)) await boards.add(name, others);
    // Some at once, some while the load of the others comes to show.
    await pods(8);
    await boards.beats(2);
    for (let round = 0; round < 8; round += 1) {
      await pods(2);
      await boards.beats(1);
    }
    await boards.beats(12);
  }

  it('receive pods in proportion to what is really free, and none is pushed into memory pressure', async () => {
    await open('full');
    await mixed();
    expect([...boards.pressed]).toEqual([]);
    const floor = 128 + 0.025 * 1024;
    const free = Object.values(BUSY).map((others) => 1024 - others - floor);
    const all = free.reduce((sum, one) => sum + one, 0);
    Object.keys(BUSY).forEach((name, index) => {
      const share = (24 * (free[index] ?? 0)) / all;
      expect(
        Math.abs(boards.podsOn(name) - share),
        `${name}: ${boards.podsOn(name)}, not ${share}`,
      ).toBeLessThan(1.6);
    });
  });

  it('by requests alone receive the same number, which pushes one into memory pressure', async () => {
    await open('off');
    await mixed();
    expect(Object.keys(BUSY).map((name) => boards.podsOn(name))).toEqual([6, 6, 6, 6]);
    expect([...boards.pressed]).toEqual(['d']);
  });

  /** Twelve pods, one after the other, for one board with 624 MiB free: room for 470 MiB above what stays free. */
  async function crowd(): Promise<void> {
    await boards.add('a', 400);
    for (let round = 0; round < 12; round += 1) {
      await pods(1);
      await boards.beats(1);
    }
    await boards.beats(20);
  }

  it('by scores alone take what the requests allow, into memory pressure', async () => {
    await open('scores');
    await crowd();
    expect(boards.podsOn('a')).toBe(12);
    expect([...boards.pressed]).toEqual(['a']);
  });

  it('at the edge refuse more pods, until the board says that it has room again', async () => {
    await open('full');
    await crowd();
    // Seven by what they use, and one for which what it asks for was left: that is what the floor is for.
    expect(boards.podsOn('a')).toBe(8);
    expect([...boards.pressed]).toEqual([]);
    const waiting = plane.client.all(PODS).find(({ spec }) => !spec?.nodeName);
    expect(waiting?.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message).toContain(
      '0/1 nodes are available: 1 node(s) measured too little available memory.',
    );
    // Other work ends; what comes then is counted before it shows.
    boards.load('a', 100);
    await boards.beats(20);
    expect(boards.podsOn('a')).toBe(12);
    expect([...boards.pressed]).toEqual([]);
  });

  it('count pods that do not run yet, however long their images take', async () => {
    await open('full');
    plane.kubelet.reachable = () => false;
    await boards.add('a', 600);
    // 270 MiB above what stays free, as long as nothing runs: eight times 32 MiB.
    await pods(12);
    const unchanged = { memAvailable: 424 * MIB };
    for (let beat = 0; beat < 60; beat += 1) {
      boards.set('a', unchanged);
      await plane.clock.advance(BEAT_MS);
    }
    expect(boards.podsOn('a')).toBe(8);
  });

  it('say in the event when the measurement decided', async () => {
    await open('full');
    await boards.add('a', 600);
    await boards.add('b', 100);
    // By requests alone a would be better.
    await plane.client.patch(NODES, undefined, 'b', {
      type: 'merge',
      body: { metadata: { labels: { k: 'v' } } },
    });
    const holder = await plane.client.create(PODS, 'default', {
      metadata: { name: 'holder' },
      spec: {
        nodeName: 'b',
        containers: [
          { name: 'main', image: 'main', resources: { requests: { cpu: '500m', memory: '128Mi' } } },
        ],
      },
    });
    expect(holder.spec?.nodeName).toBe('b');
    await boards.beats(10);
    await pods(1);
    await plane.settle();
    expect(plane.events().filter((text) => text.startsWith('Scheduled'))).toEqual([
      `Scheduled: Successfully assigned default/p${created} to b, by what the boards measure: b (cpu 10 %, 864 MiB free), a (cpu 10 %, 424 MiB free)`,
    ]);
  });

  it('that are too hot, or whose disk is full, take nothing, until they are better', async () => {
    await open('full');
    await boards.add('a', 100);
    boards.set('a', { temperature: 86 });
    await pods(1);
    await plane.settle();
    const message = (): string =>
      plane.client
        .all(PODS)
        .at(-1)
        ?.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message ?? '';
    expect(message()).toContain('1 node(s) measured too high a temperature');
    boards.set('a', { temperature: 70, diskTotal: 32e9, diskAvailable: 3e9 });
    await plane.clock.advance(20_000);
    expect(message()).toContain('1 node(s) measured too little available disk space');
    boards.set('a', { diskAvailable: 10e9 });
    await plane.clock.advance(20_000);
    expect(boards.podsOn('a')).toBe(1);
  });

  it('are tuned by annotations of their Node', async () => {
    await open('full');
    await boards.add('a', 100);
    boards.set('a', { temperature: 86, memAvailable: 150 * MIB });
    await plane.client.patch(NODES, undefined, 'a', {
      type: 'merge',
      body: { metadata: { annotations: { 'copepod.io/memory-floor': '64Mi', 'copepod.io/too-hot': '90' } } },
    });
    await pods(1);
    await plane.settle();
    expect(boards.podsOn('a')).toBe(1);
  });

  it('run a daemon’s pod whatever their memory', async () => {
    await open('full');
    await boards.add('a', 1000);
    await plane.client.create(PODS, 'default', {
      metadata: { name: 'daemon' },
      spec: {
        tolerations: [
          { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
        ],
        containers: [{ name: 'main', image: 'main' }],
      },
    });
    await plane.settle();
    expect(boards.podsOn('a')).toBe(1);
  });

  it('free memory for a more important pod, once, and wait for the next measurement', async () => {
    await open('full');
    await boards.add('a', 700);
    await pods(2);
    await boards.beats(10);
    expect(boards.podsOn('a')).toBe(2);
    boards.load('a', 740);
    await boards.beats(1);
    await plane.client.create(PODS, 'default', {
      metadata: { name: 'boss' },
      spec: {
        priority: 100,
        containers: [{ name: 'main', image: 'main', resources: { requests: { memory: '32Mi' } } }],
      },
    });
    await plane.clock.advance(5000);
    expect(plane.client.peek(PODS, 'default', 'boss')?.spec?.nodeName).toBe('a');
    expect(boards.podsOn('a')).toBe(2);
  });
});
