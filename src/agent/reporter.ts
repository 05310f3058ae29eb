import type { Pod, PodStatus } from '../api/types/core-v1.ts';
import { type Clock, type Timer, timestamp } from '../lib/clock.ts';
import { sameJson } from '../lib/equal.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { BusDisconnected, type MessageBus } from '../wire/message-bus.ts';
import type { EventReport, StatusAck } from '../wire/messages.ts';
import { topics } from '../wire/topics.ts';
import { encodeMessage } from '../wire/validate.ts';
import type { Journal } from './journal.ts';
import type { Reporter } from './ports.ts';

/** A report that the server has not acknowledged by then is sent again: it may have failed to write it. */
const RESEND_AFTER_MS = 15_000;
const RESEND_CHECK_MS = 5_000;
/** A report waits while the server has not acknowledged the one before, so long: a busy server gets the newest only. */
const HOLD_MS = 500;
/** Pods that go at the same time share one fsync. */
const GONE_DELAY_MS = 20;
const MAX_EVENTS = 256;
const MAX_PODS = 2_000;

interface Entry {
  namespace: string;
  name: string;
  uid: string;
  sequence: number;
  status: PodStatus;
  gone: boolean;
  acknowledged: boolean;
  sentAt: number | undefined;
  /** Waits for the journal to be on the disk. */
  heldBack: boolean;
  /** The report before this one, while it is on its way: this one waits for its acknowledgement. */
  behind: { sequence: number; sentAt: number } | undefined;
}

/**
 * Reporter over the bus: the newest status of each pod, sent at once, on every connect, and again until acknowledged.
 * Statuses are journalled, so that a cold-booted agent knows how its pods stood.
 */
export class StatusReporter implements Reporter {
  private readonly node: string;
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly journal: Pick<Journal, 'take' | 'put' | 'delete' | 'sync'>;
  private readonly isDesired: (uid: string) => boolean;
  private readonly entries = new Map<string, Entry>();
  private readonly journalled = new Map<string, PodStatus>();
  private readonly events: EventReport[] = [];
  private droppedEvents = 0;
  private sendingEvents = false;
  private sequence: number;
  private timer: Timer | undefined;
  private syncTimer: Timer | undefined;
  private holdTimer: Timer | undefined;

  constructor(options: {
    node: string;
    bus: MessageBus;
    clock: Clock;
    random: Random;
    logger: Logger;
    journal: Pick<Journal, 'take' | 'put' | 'delete' | 'sync'>;
    /** Does the pod still belong to this node? What is acknowledged and no longer desired is forgotten. */
    isDesired: (uid: string) => boolean;
  }) {
    this.node = options.node;
    this.bus = options.bus;
    this.clock = options.clock;
    this.logger = options.logger;
    this.journal = options.journal;
    this.isDesired = options.isDesired;
    // Begins anywhere: an acknowledgement meant for the agent process before this one must match nothing.
    this.sequence = Math.floor(options.random.number() * 2 ** 40);
  }

  /** Reads the statuses of before; the bus may be started afterwards. */
  async start(): Promise<void> {
    for (const [uid, status] of this.journal.take<PodStatus>('status')) this.journalled.set(uid, status);
    this.bus.onConnect(() => this.resendAll());
    this.timer = this.clock.every(RESEND_CHECK_MS, () => {
      const due = this.clock.monotonic() - RESEND_AFTER_MS;
      this.resend((entry) => !entry.acknowledged && (entry.sentAt ?? 0) <= due);
    });
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    this.timer = undefined;
    // The next agent process finds the pod in the journal, ended, and says so.
    this.syncTimer?.cancel();
    this.syncTimer = undefined;
    this.holdTimer?.cancel();
    this.holdTimer = undefined;
  }

  /** The last status reported for the pod, by this process or (from the journal) the one before. */
  lastStatus(uid: string): PodStatus | undefined {
    return this.entries.get(uid)?.status ?? this.journalled.get(uid);
  }

  podStatus(pod: Pod, status: PodStatus): void {
    this.note(pod, status, false);
  }

  podGone(pod: Pod, status: PodStatus): void {
    this.note(pod, status, true);
  }

  event(event: Omit<EventReport, 'v' | 'time'>): void {
    this.events.push({ v: 1, ...event, time: timestamp(this.clock.now()) });
    if (this.events.length > MAX_EVENTS) {
      this.events.shift();
      this.droppedEvents += 1;
    }
    void this.sendEvents();
  }

  acknowledged({ uid, sequence }: StatusAck): void {
    const entry = this.entries.get(uid);
    if (entry?.behind?.sequence === sequence) this.release(entry);
    if (!entry || entry.sequence !== sequence) return;
    entry.acknowledged = true;
    if (entry.gone || !this.isDesired(uid)) this.forget(uid);
  }

  /** Everything again, acknowledged or not: the server may have forgotten it. */
  resendAll(): void {
    this.resend(() => true);
  }

  /** Reports that the server has not acknowledged. */
  get unacknowledged(): number {
    let count = 0;
    for (const entry of this.entries.values()) if (!entry.acknowledged) count += 1;
    return count;
  }

  private note(pod: Pod, status: PodStatus, gone: boolean): void {
    const uid = pod.metadata.uid ?? '';
    const held = this.entries.get(uid);
    if (held && held.gone === gone && sameJson(held.status, status)) return;
    this.sequence += 1;
    const entry: Entry = {
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name ?? '',
      uid,
      sequence: this.sequence,
      status,
      gone,
      acknowledged: false,
      sentAt: undefined,
      heldBack: gone,
      behind: gone || isUrgent(held?.status, status) ? undefined : onItsWay(held),
    };
    this.entries.delete(uid);
    this.entries.set(uid, entry);
    if (!sameJson(this.journalled.get(uid), status)) {
      this.journalled.set(uid, status);
      this.journal.put('status', uid, status);
    }
    this.bound();
    if (gone) this.syncTimer ??= this.clock.after(GONE_DELAY_MS, () => this.sendGone());
    else if (!entry.behind) this.send(entry);
    else this.holdTimer ??= this.clock.after(HOLD_MS, () => this.sendHeld());
  }

  private release(entry: Entry): void {
    entry.behind = undefined;
    this.send(entry);
  }

  /** What has waited long enough: the acknowledgement may have been lost. */
  private sendHeld(): void {
    this.holdTimer = undefined;
    const due = this.clock.monotonic() - HOLD_MS;
    let next: number | undefined;
    for (const entry of [...this.entries.values()]) {
      if (!entry.behind) continue;
      if (entry.behind.sentAt <= due) this.release(entry);
      else next = Math.min(next ?? entry.behind.sentAt, entry.behind.sentAt);
    }
    if (next !== undefined) this.holdTimer = this.clock.after(next - due, () => this.sendHeld());
  }

  /**
   * The server gives the name of a pod to another as soon as it hears that this one is gone. A board that loses its
   * power must not bring it back from an old journal: that it ended has to be on the disk first.
   */
  private sendGone(): void {
    this.syncTimer = undefined;
    this.journal.sync();
    for (const entry of [...this.entries.values()]) {
      if (!entry.heldBack) continue;
      entry.heldBack = false;
      this.send(entry);
    }
  }

  private bound(): void {
    if (this.entries.size <= MAX_PODS) return;
    for (const [uid, entry] of this.entries) {
      if (!entry.acknowledged) continue;
      this.forget(uid);
      return;
    }
    const oldest = this.entries.keys().next();
    if (!oldest.done) this.forget(oldest.value);
  }

  private forget(uid: string): void {
    this.entries.delete(uid);
    if (this.journalled.delete(uid)) this.journal.delete('status', uid);
  }

  private resend(which: (entry: Entry) => boolean): void {
    if (!this.bus.connected) return;
    for (const [uid, entry] of [...this.entries]) {
      if (entry.acknowledged && !this.isDesired(uid)) this.forget(uid);
      else if (which(entry)) this.send(entry);
    }
    // Of pods that went while the agent was down.
    for (const uid of [...this.journalled.keys()]) {
      if (!this.entries.has(uid) && !this.isDesired(uid)) this.forget(uid);
    }
    void this.sendEvents();
  }

  private send(entry: Entry): void {
    if (!this.bus.connected || entry.heldBack) return;
    const { namespace, name, uid, sequence, status, gone } = entry;
    const payload = encodeMessage('PodStatusReport', {
      v: 1,
      namespace,
      name,
      uid,
      sequence,
      status,
      ...(gone ? { gone } : {}),
    });
    if (payload === undefined) {
      this.logger.error({ namespace, pod: name }, 'a pod status is too large to be reported');
      entry.acknowledged = true;
      return;
    }
    entry.sentAt = this.clock.monotonic();
    entry.behind = undefined;
    this.bus.publish(topics.podStatus(this.node, uid), payload, { qos: 1 }).catch((error: unknown) => {
      // Sent again on connect, or when the acknowledgement stays away.
      if (!(error instanceof BusDisconnected))
        this.logger.warn({ err: error, pod: name }, 'pod status not sent');
    });
  }

  private async sendEvents(): Promise<void> {
    if (this.sendingEvents) return;
    this.sendingEvents = true;
    try {
      while (this.bus.connected && this.events.length > 0) {
        const event = this.events[0] as EventReport;
        const payload = encodeMessage('EventReport', shortened(event));
        if (payload !== undefined) await this.bus.publish(topics.events(this.node), payload, { qos: 1 });
        // More may have come and pushed this one out meanwhile.
        if (this.events[0] === event) this.events.shift();
      }
      if (this.droppedEvents > 0 && this.events.length === 0) {
        this.logger.warn(
          { dropped: this.droppedEvents },
          'events were dropped: more came than could be kept',
        );
        this.droppedEvents = 0;
      }
    } catch (error) {
      if (!(error instanceof BusDisconnected)) this.logger.warn({ err: error }, 'event not sent');
    } finally {
      this.sendingEvents = false;
    }
  }
}

/** Others wait for such news: the phase, and whether the pod is ready. */
function isUrgent(before: PodStatus | undefined, after: PodStatus): boolean {
  const ready = (status: PodStatus | undefined): string | undefined =>
    status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  return before?.phase !== after.phase || ready(before) !== ready(after);
}

/** The report that the server has yet to acknowledge: this one, or the one that this one waits for. */
function onItsWay(entry: Entry | undefined): Entry['behind'] {
  if (!entry || entry.acknowledged) return undefined;
  return entry.sentAt === undefined ? entry.behind : { sequence: entry.sequence, sentAt: entry.sentAt };
}

/** Kubernetes keeps 1024 bytes of an event's message. */
function shortened(event: EventReport): EventReport {
  return event.message.length <= 1024 ? event : { ...event, message: `${event.message.slice(0, 1021)}...` };
}
