import { isNotFound } from '../api/errors.ts';
import { EVENTS } from '../api/kinds.ts';
import type { KubeObject } from '../api/object.ts';
import type { Event, ObjectReference } from '../api/types/core-v1.ts';
import { type Clock, timestamp } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Service } from '../lib/service.ts';
import type { Client } from './port.ts';

export type EventType = 'Normal' | 'Warning';

/** Records what happened to an object, for `kubectl describe` and `kubectl get events`. Never fails, never waits. */
export interface EventRecorder {
  record(regarding: KubeObject | ObjectReference, type: EventType, reason: string, message: string): void;
}

// client-go's correlator (tools/record/events_cache.go): the numbers are its defaults.
const SIMILAR_LIMIT = 10;
const SIMILAR_WINDOW_MS = 600_000;
const BURST = 25;
const REFILL_PER_MS = 1 / 300_000;
/** Remembered events; client-go keeps 4096, a board has less to tell. */
const REMEMBERED = 1024;
/** Events that wait for being written; more are dropped. */
const WAITING = 1000;

interface Seen {
  name: string;
  count: number;
  /** When it was first seen. */
  first: string;
}
interface Similar {
  messages: Set<string>;
  last: number;
}
interface Bucket {
  tokens: number;
  filled: number;
}
interface Job {
  key: string;
  namespace: string;
  regarding: ObjectReference;
  component: string;
  /** The node that it happened on, for what agents tell. */
  host: string | undefined;
  type: EventType;
  reason: string;
  message: string;
  time: number;
}

/**
 * Writes events as client-go does: a repeated event raises the count of the first one, more than ten that differ only in
 * their message within ten minutes are combined, and an object that floods is cut off. Everything is bounded.
 */
export class EventWriter implements Service {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly seen = new Map<string, Seen>();
  private readonly similar = new Map<string, Similar>();
  private readonly buckets = new Map<string, Bucket>();
  private readonly waiting: Job[] = [];
  private draining: Promise<void> | undefined;
  private stopped = false;
  private sequence = 0;
  private dropped = 0;

  constructor(options: { client: Client; clock: Clock; logger: Logger }) {
    this.client = options.client;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  async start(): Promise<void> {
    this.stopped = false;
  }

  /** Writes what waits and takes nothing more. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.draining;
  }

  /** A recorder whose events come "From" this component, on this node; `happened` tells when, if not now. */
  of(component: string, host?: string, happened?: number): EventRecorder {
    return {
      record: (regarding, type, reason, message) =>
        this.record(
          { component, host, time: happened ?? this.clock.now() },
          referenceTo(regarding),
          type,
          reason,
          message,
        ),
    };
  }

  private record(
    origin: { component: string; host: string | undefined; time: number },
    regarding: ObjectReference,
    type: EventType,
    reason: string,
    message: string,
  ): void {
    if (this.stopped) return;
    const { component, host } = origin;
    const time = this.clock.now();
    const object = [component, host, regarding.kind, regarding.namespace, regarding.name, regarding.uid].join(
      '/',
    );
    if (!this.allowed(object, time)) return;
    const group = `${object}/${regarding.fieldPath ?? ''}/${type}/${reason}`;
    const combined = this.combine(group, message, time);
    const job: Job = {
      key: combined ? group : `${group}/${message}`,
      namespace: regarding.namespace ?? 'default',
      regarding,
      component,
      host,
      type,
      reason,
      message: combined ? `(combined from similar events): ${message}` : message,
      time: origin.time,
    };
    if (this.waiting.length >= WAITING) {
      this.dropped += 1;
      return;
    }
    this.waiting.push(job);
    this.draining ??= this.drain().finally(() => {
      this.draining = undefined;
    });
  }

  private allowed(object: string, time: number): boolean {
    const bucket = this.buckets.get(object) ?? { tokens: BURST, filled: time };
    bucket.tokens = Math.min(BURST, bucket.tokens + Math.max(0, time - bucket.filled) * REFILL_PER_MS);
    bucket.filled = time;
    remember(this.buckets, object, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  private combine(group: string, message: string, time: number): boolean {
    let similar = this.similar.get(group);
    if (!similar || time - similar.last > SIMILAR_WINDOW_MS) similar = { messages: new Set(), last: time };
    similar.last = time;
    if (similar.messages.size < SIMILAR_LIMIT) similar.messages.add(message);
    remember(this.similar, group, similar);
    return similar.messages.size >= SIMILAR_LIMIT;
  }

  private async drain(): Promise<void> {
    for (let job = this.waiting.shift(); job; job = this.waiting.shift()) {
      try {
        await this.write(job);
      } catch (error) {
        // A namespace that goes away refuses new events; nothing is lost that anyone could read.
        this.logger.debug({ err: error, reason: job.reason }, 'event not recorded');
      }
    }
    if (this.dropped > 0) {
      this.logger.warn({ dropped: this.dropped }, 'events dropped: more came than could be written');
      this.dropped = 0;
    }
  }

  private async write(job: Job): Promise<void> {
    const seen = this.seen.get(job.key);
    if (seen) {
      try {
        await this.client.patch(EVENTS, job.namespace, seen.name, {
          type: 'merge',
          body: { count: seen.count + 1, lastTimestamp: timestamp(job.time), message: job.message },
        });
        seen.count += 1;
        remember(this.seen, job.key, seen);
        return;
      } catch (error) {
        // Events expire: it is written anew, as the one that it was, and goes on counting.
        if (!isNotFound(error)) throw error;
      }
    }
    const name = seen?.name ?? this.nameFor(job);
    const first = seen?.first ?? timestamp(job.time);
    const count = (seen?.count ?? 0) + 1;
    const event: Omit<Event, 'apiVersion' | 'kind'> = {
      metadata: { name, namespace: job.namespace },
      involvedObject: job.regarding,
      reason: job.reason,
      message: job.message,
      type: job.type,
      source: { component: job.component, ...(job.host === undefined ? {} : { host: job.host }) },
      reportingComponent: job.component,
      reportingInstance: job.host ?? '',
      firstTimestamp: first,
      lastTimestamp: timestamp(job.time),
      count,
    };
    await this.client.create(EVENTS, job.namespace, event);
    remember(this.seen, job.key, { name, count, first });
  }

  /** `<object>.<nanoseconds, hexadecimal>` as in client-go; the sequence makes up for a clock in milliseconds. */
  private nameFor(job: Job): string {
    this.sequence = (this.sequence + 1) % 1_000_000;
    const nanoseconds = BigInt(Math.floor(job.time)) * 1_000_000n + BigInt(this.sequence);
    return `${job.regarding.name}.${nanoseconds.toString(16)}`;
  }
}

/** Most recently used last; the oldest goes. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > REMEMBERED) {
    const oldest = map.keys().next();
    if (!oldest.done) map.delete(oldest.value);
  }
}

/** What an event, an endpoint or a status says of an object. */
export function referenceTo(object: KubeObject | ObjectReference): ObjectReference {
  if (!('metadata' in object)) return object as ObjectReference;
  const { apiVersion, kind, metadata } = object as KubeObject;
  return {
    apiVersion,
    kind,
    ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    name: metadata.name ?? '',
    ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
    ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
  };
}
