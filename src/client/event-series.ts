// Events in the manner of events.k8s.io (client-go, tools/events), as kube-scheduler writes them.
import { isNotFound } from '../api/errors.ts';
import { EVENTS } from '../api/kinds.ts';
import type { KubeObject } from '../api/object.ts';
import type { Event, ObjectReference } from '../api/types/core-v1.ts';
import { type Clock, microTimestamp, type Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Service } from '../lib/service.ts';
import { type EventRecorder, type EventType, referenceTo } from './events.ts';
import type { Client } from './port.ts';

/** A series that nothing was added to for so long has ended. */
const SERIES_END_MS = 6 * 60_000;
/** How often the count of a series that goes on is written. */
const REFRESH_MS = 30 * 60_000;
const REMEMBERED = 1024;
const WAITING = 1000;
const LONGEST_NOTE = 1024;

interface Series {
  readonly name: string;
  readonly namespace: string;
  /** How often it happened: 1 as long as it is no series. */
  count: number;
  last: number;
  /** The count that the API knows, and when it was told. */
  told: number;
  toldAt: number;
}

/**
 * The first event of its kind is written at once, the second makes it a series, and from then on the API hears of the
 * count when the series ends or goes on for long: what a pod that fits nowhere is told hundreds of times costs three
 * writes. Bounded: the series that was quiet longest is closed when there are too many.
 */
export class EventSeries implements Service, EventRecorder {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly controller: string;
  private readonly actions: Readonly<Record<string, string>>;
  private readonly series = new Map<string, Series>();
  private readonly waiting: (() => Promise<unknown>)[] = [];
  private draining: Promise<void> | undefined;
  private timer: Timer | undefined;
  private sequence = 0;
  private stopped = false;

  constructor(options: {
    client: Client;
    clock: Clock;
    logger: Logger;
    /** `reportingController`. */
    controller: string;
    /** What was being done, by reason: `FailedScheduling` happens while `Scheduling`. */
    actions: Readonly<Record<string, string>>;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.logger = options.logger;
    this.controller = options.controller;
    this.actions = options.actions;
  }

  async start(): Promise<void> {
    this.stopped = false;
    this.timer = this.clock.every(SERIES_END_MS, () => this.look());
  }

  /** Counts that nobody was told of yet are told. */
  async stop(): Promise<void> {
    this.timer?.cancel();
    for (const series of this.series.values()) this.tell(series);
    this.series.clear();
    this.stopped = true;
    await this.draining;
  }

  record(object: KubeObject | ObjectReference, type: EventType, reason: string, message: string): void {
    const regarding = referenceTo(object);
    const { kind, namespace = 'default', name, uid } = regarding;
    const key = [kind, namespace, name, uid, type, reason, message].join('/');
    const now = this.clock.now();
    const known = this.series.get(key);
    if (known && now - known.last < SERIES_END_MS) {
      known.count += 1;
      known.last = now;
      if (known.count === 2) this.tell(known);
      return;
    }
    if (known) this.tell(known);
    const series: Series = {
      name: this.nameFor(regarding, now),
      namespace,
      count: 1,
      last: now,
      told: 1,
      toldAt: now,
    };
    this.remember(key, series);
    const event: Omit<Event, 'apiVersion' | 'kind'> = {
      metadata: { name: series.name, namespace },
      involvedObject: regarding,
      eventTime: microTimestamp(now),
      reason,
      action: this.actions[reason] ?? reason,
      message: message.length > LONGEST_NOTE ? `${message.slice(0, LONGEST_NOTE - 4)} ...` : message,
      type,
      source: {},
      reportingComponent: this.controller,
      reportingInstance: this.controller,
      firstTimestamp: null,
      lastTimestamp: null,
    } as unknown as Omit<Event, 'apiVersion' | 'kind'>;
    this.enqueue(() => this.client.create(EVENTS, namespace, event));
  }

  private remember(key: string, series: Series): void {
    this.series.delete(key);
    this.series.set(key, series);
    if (this.series.size <= REMEMBERED) return;
    const [oldest] = this.series;
    if (!oldest) return;
    this.series.delete(oldest[0]);
    this.tell(oldest[1]);
  }

  /** Closes series that have ended, and tells of those that go on. */
  private look(): void {
    const now = this.clock.now();
    for (const [key, series] of this.series) {
      const ended = now - series.last >= SERIES_END_MS;
      if (ended || now - series.toldAt >= REFRESH_MS) this.tell(series);
      if (ended) this.series.delete(key);
    }
  }

  private tell(series: Series): void {
    if (series.count === series.told) return;
    series.told = series.count;
    series.toldAt = this.clock.now();
    const body = { series: { count: series.count, lastObservedTime: microTimestamp(series.last) } };
    this.enqueue(() =>
      this.client.patch(EVENTS, series.namespace, series.name, { type: 'merge', body }).catch((error) => {
        // Events expire, also while their series goes on.
        if (!isNotFound(error)) throw error;
      }),
    );
  }

  private enqueue(write: () => Promise<unknown>): void {
    if (this.stopped) return;
    if (this.waiting.length >= WAITING) {
      this.logger.debug({ controller: this.controller }, 'an event dropped: more came than could be written');
      return;
    }
    this.waiting.push(write);
    this.draining ??= this.drain().finally(() => {
      this.draining = undefined;
    });
  }

  private async drain(): Promise<void> {
    for (let write = this.waiting.shift(); write; write = this.waiting.shift()) {
      try {
        await write();
      } catch (error) {
        // A namespace that goes away refuses new events; nothing is lost that anyone could read.
        this.logger.debug({ err: error }, 'event not recorded');
      }
    }
  }

  /** `<object>.<nanoseconds, hexadecimal>`; the sequence makes up for a clock in milliseconds. */
  private nameFor({ name = '' }: ObjectReference, now: number): string {
    this.sequence = (this.sequence + 1) % 1_000_000;
    const nanoseconds = BigInt(Math.floor(now)) * 1_000_000n + BigInt(this.sequence);
    return `${name}.${nanoseconds.toString(16)}`;
  }
}
