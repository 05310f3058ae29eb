import type { BoardMeasurements } from '../api/board.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import type { Service } from '../lib/service.ts';
import { BusDisconnected, type MessageBus } from '../wire/message-bus.ts';
import type { Heartbeat } from '../wire/messages.ts';
import { topics } from '../wire/topics.ts';

const INTERVAL_MS = 10_000;
/** Boards that lost power together come back together; they shall not beat together. */
const JITTER = 0.1;
export const MAX_HEARTBEAT_BYTES = 600;

/** Says every ten seconds that the board lives, and how it is. */
export class HeartbeatSender implements Service {
  private readonly node: string;
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly logger: Logger;
  private readonly measure: () => Promise<BoardMeasurements>;
  private readonly conditions: (measurements: BoardMeasurements) => Record<string, string>;
  private timer: Timer | undefined;
  private running = false;
  private beating = false;
  private again = false;
  private count = 0;

  constructor(options: {
    node: string;
    bus: MessageBus;
    clock: Clock;
    random: Random;
    logger: Logger;
    measure: () => Promise<BoardMeasurements>;
    /** Node conditions that are not in their good state; `Ready` among them when the node is not ready. */
    conditions: (measurements: BoardMeasurements) => Record<string, string>;
  }) {
    this.node = options.node;
    this.bus = options.bus;
    this.clock = options.clock;
    this.random = options.random;
    this.logger = options.logger;
    this.measure = options.measure;
    this.conditions = options.conditions;
  }

  async start(): Promise<void> {
    this.running = true;
    this.schedule();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.timer?.cancel();
    this.timer = undefined;
  }

  /** At once: after a connect, and when a condition of the node changes; while one is under way, once more after it. */
  async now(): Promise<void> {
    if (!this.bus.connected) return;
    if (this.beating) {
      this.again = true;
      return;
    }
    this.beating = true;
    this.again = false;
    try {
      const measurements = await this.measure();
      this.count += 1;
      const payload = encodeHeartbeat(this.count, measurements, this.conditions(measurements));
      await this.bus.publish(topics.heartbeat(this.node), payload);
    } catch (error) {
      if (!(error instanceof BusDisconnected)) this.logger.warn({ err: error }, 'no heartbeat');
    } finally {
      this.beating = false;
    }
    // What it said of the conditions may be out of date already.
    if (this.again && this.running) await this.now();
  }

  private schedule(): void {
    const delay = INTERVAL_MS * (1 - JITTER + this.random.number() * JITTER);
    this.timer = this.clock.after(delay, () => {
      void this.now();
      if (this.running) this.schedule();
    });
  }
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** JSON of at most MAX_HEARTBEAT_BYTES: digits that nobody reads are cut, long messages too. */
export function encodeHeartbeat(n: number, m: BoardMeasurements, conditions: Record<string, string>): string {
  const measurements: BoardMeasurements = {
    cpu: round(m.cpu, 3),
    load: round(m.load, 2),
    memTotal: Math.round(m.memTotal),
    memAvailable: Math.round(m.memAvailable),
    diskTotal: Math.round(m.diskTotal),
    diskAvailable: Math.round(m.diskAvailable),
    ...(m.temperature === undefined ? {} : { temperature: round(m.temperature, 1) }),
    ...(m.throttled === undefined ? {} : { throttled: m.throttled }),
  };
  const encode = (longest: number): string => {
    const c = Object.fromEntries(
      Object.entries(conditions)
        .slice(0, 8)
        .map(([type, message]) => [type, message.slice(0, longest)]),
    );
    const heartbeat: Heartbeat = { v: 1, n, m: measurements, ...(Object.keys(c).length === 0 ? {} : { c }) };
    return JSON.stringify(heartbeat);
  };
  for (const longest of [200, 80, 30, 10]) {
    const payload = encode(longest);
    if (Buffer.byteLength(payload) <= MAX_HEARTBEAT_BYTES) return payload;
  }
  return encode(0);
}
