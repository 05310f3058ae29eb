import type { BoardMeasurements } from '../api/board.ts';
import { diskFull, hottestAllowed, memoryFloor, tooHot } from '../api/board-limits.ts';
import { NODES } from '../api/kinds.ts';
import type { Node, NodeCondition } from '../api/types/core-v1.ts';
import type { BoardReadings } from '../client/boards.ts';
import type { EventRecorder, EventWriter } from '../client/events.ts';
import type { Informer, InformerSet } from '../client/informer.ts';
import type { Client } from '../client/port.ts';
import { Controller } from '../client/reconcile.ts';
import { type Clock, timestamp } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Service } from '../lib/service.ts';

const MIB = 1024 * 1024;
/** A danger that is over is believed only after this, so that a board at a threshold does not write for ever. */
const HOLD_MS = 300_000;

type Annotations = Readonly<Record<string, string>>;

interface Danger {
  type: string;
  reason: string;
  over: string;
  present(m: BoardMeasurements, annotations: Annotations): boolean;
  /** What was measured when it began. */
  describe(m: BoardMeasurements, annotations: Annotations): string;
}

const DANGERS: readonly Danger[] = [
  {
    type: 'BoardTooHot',
    reason: 'TemperatureTooHigh',
    over: 'TemperatureNormal',
    present: tooHot,
    describe: (m, annotations) =>
      `measured ${Math.round(m.temperature ?? 0)} °C; no pods are placed here from ${hottestAllowed(annotations)} °C on`,
  },
  {
    type: 'BoardThrottled',
    reason: 'Throttled',
    over: 'NotThrottled',
    present: ({ throttled }) => throttled === true,
    describe: ({ temperature }) =>
      `the board slows down because of heat or under-voltage${temperature === undefined ? '' : ` (${Math.round(temperature)} °C)`}; a quarter of its CPU is counted`,
  },
  {
    type: 'BoardMemoryTight',
    reason: 'LittleMemoryAvailable',
    over: 'EnoughMemoryAvailable',
    present: (m, annotations) => m.memTotal > 0 && m.memAvailable < memoryFloor(m, annotations),
    describe: (m, annotations) =>
      `measured ${Math.round(m.memAvailable / MIB)} MiB available; ${Math.round(memoryFloor(m, annotations) / MIB)} MiB stay free of pods`,
  },
  {
    type: 'BoardDiskTight',
    reason: 'LittleDiskAvailable',
    over: 'EnoughDiskAvailable',
    present: (m) => diskFull(m),
    describe: (m) =>
      `measured ${Math.round(m.diskAvailable / MIB)} MiB of ${Math.round(m.diskTotal / MIB)} MiB available; no pods are placed here`,
  },
];

/** When each danger was last observed, on the monotonic clock. */
export type DangerState = Readonly<Record<string, number>>;

/** Pure: the dangers that count at `now`, and the state for the next call. */
export function dangersOf(
  measurements: BoardMeasurements,
  annotations: Annotations,
  state: DangerState,
  now: number,
): Record<string, number> {
  const next: Record<string, number> = {};
  for (const { type, present } of DANGERS) {
    const observed = present(measurements, annotations) ? now : state[type];
    if (observed !== undefined && now - observed < HOLD_MS) next[type] = observed;
  }
  return next;
}

/** The node's conditions with these dangers, or undefined when they say so already. Boards never in danger carry none. */
export function withDangers(
  node: Node,
  dangers: DangerState,
  measurements: BoardMeasurements,
  time: string,
): NodeCondition[] | undefined {
  const conditions = [...(node.status?.conditions ?? [])];
  let changed = false;
  for (const danger of DANGERS) {
    const index = conditions.findIndex(({ type }) => type === danger.type);
    const present = dangers[danger.type] !== undefined;
    if (index === -1 ? !present : (conditions[index]?.status === 'True') === present) continue;
    changed = true;
    const condition: NodeCondition = {
      type: danger.type,
      status: present ? 'True' : 'False',
      reason: present ? danger.reason : danger.over,
      message: present
        ? danger.describe(measurements, node.metadata.annotations ?? {})
        : 'not measured for five minutes',
      lastHeartbeatTime: time,
      lastTransitionTime: time,
    };
    if (index === -1) conditions.push(condition);
    else conditions[index] = condition;
  }
  return changed ? conditions : undefined;
}

/**
 * Shows in `kubectl describe node` what boards measure and the scheduler heeds: conditions that are written when a danger
 * begins and five minutes after it was last seen, never with the heartbeats between.
 */
export class BoardConditions implements Service {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly recorder: EventRecorder;
  private readonly readings: BoardReadings;
  private readonly nodes: Informer<Node>;
  private readonly controller: Controller;
  private readonly states = new Map<string, DangerState>();
  private detach: (() => void)[] = [];

  constructor(options: {
    client: Client;
    informers: InformerSet;
    clock: Clock;
    logger: Logger;
    events: EventWriter;
    readings: BoardReadings;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.recorder = options.events.of('board-monitor');
    this.readings = options.readings;
    this.nodes = options.informers.of(NODES);
    this.controller = new Controller({
      name: 'board-conditions',
      clock: options.clock,
      logger: options.logger,
      watches: [],
      reconcile: (name) => this.write(name),
    });
  }

  async start(): Promise<void> {
    await this.nodes.synced;
    await this.controller.start();
    this.detach = [
      this.readings.onReading?.((name) => this.look(name)) ?? (() => {}),
      this.nodes.handle({ onDelete: ({ metadata }) => this.states.delete(metadata.name ?? '') }),
    ];
  }

  async stop(): Promise<void> {
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.controller.stop();
  }

  private look(name: string): void {
    const node = this.nodes.get(undefined, name);
    const reading = this.readings.of(name);
    if (!node || !reading) return;
    const dangers = dangersOf(
      reading,
      node.metadata.annotations ?? {},
      this.states.get(name) ?? this.rememberedBy(node),
      this.clock.monotonic(),
    );
    this.states.set(name, dangers);
    if (withDangers(node, dangers, reading, '')) this.controller.enqueue(name);
  }

  /** After a restart of the server: what the node says has just been seen. */
  private rememberedBy(node: Node): DangerState {
    const now = this.clock.monotonic();
    const types = (node.status?.conditions ?? []).filter(
      ({ type, status }) => status === 'True' && DANGERS.some((danger) => danger.type === type),
    );
    return Object.fromEntries(types.map(({ type }) => [type, now]));
  }

  private async write(name: string): Promise<undefined> {
    const node = this.nodes.get(undefined, name);
    const reading = this.readings.of(name);
    const dangers = this.states.get(name);
    if (!node || !reading || !dangers) return undefined;
    const conditions = withDangers(node, dangers, reading, timestamp(this.clock.now()));
    if (!conditions) return undefined;
    await this.client.updateStatus(NODES, { ...node, status: { ...node.status, conditions } });
    for (const condition of conditions) {
      const before = node.status?.conditions?.find(({ type }) => type === condition.type);
      if (before?.status === condition.status) continue;
      const begins = condition.status === 'True';
      this.recorder.record(
        node,
        begins ? 'Warning' : 'Normal',
        condition.reason ?? condition.type,
        begins ? `${name}: ${condition.message}` : `${name}: ${condition.type} is over`,
      );
    }
    return undefined;
  }
}
