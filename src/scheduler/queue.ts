import type { Pod } from '../api/types/core-v1.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { sameJson } from '../lib/equal.ts';
import { Heap } from '../lib/heap.ts';
import type { ClusterEvent } from './plugins/plugin.ts';
import { type PodInfo, podInfo } from './pod-info.ts';

const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 10_000;

interface Entry {
  info: PodInfo;
  /** When the pod was first queued, in monotonic ms, and a number that keeps the order of equals. */
  since: number;
  order: number;
  attempts: number;
  /** Not before this monotonic time. */
  notBefore: number;
  state: 'active' | 'backoff' | 'waiting' | 'gated' | 'working';
  /** While waiting: the events that may help; undefined means any. */
  helpedBy: ReadonlySet<ClusterEvent> | undefined;
}

/**
 * Pods that want a node. Active ones come out by priority, then by age. A pod that fits nowhere waits, not for a timer,
 * but for an event that could help against what refused it, and then for its back-off (1 s doubling to 10 s). Gated pods
 * wait for their gates to go. The bound is the number of pods without a node.
 */
export class SchedulingQueue {
  private readonly clock: Clock;
  private readonly onActive: () => void;
  private readonly entries = new Map<string, Entry>();
  private readonly active: Heap<Entry>;
  private readonly backoff: Heap<Entry>;
  /** Waiting pods by the events that may help them; `any` for those that every event may. */
  private readonly waitingFor = new Map<ClusterEvent | 'any', Set<Entry>>();
  private timer: { due: number; timer: Timer } | undefined;
  private orders = 0;

  constructor(options: { clock: Clock; onActive: () => void }) {
    this.clock = options.clock;
    this.onActive = options.onActive;
    this.active = new Heap(
      (a, b) => b.info.priority - a.info.priority || a.since - b.since || a.order - b.order,
    );
    this.backoff = new Heap((a, b) => a.notBefore - b.notBefore || a.order - b.order);
  }

  stop(): void {
    this.timer?.timer.cancel();
    this.timer = undefined;
    this.entries.clear();
    this.active.clear();
    this.backoff.clear();
    this.waitingFor.clear();
  }

  /** Whether an event could help anyone: asked before work is done to find out if it happened. */
  awaits(event: ClusterEvent): boolean {
    return (this.waitingFor.get(event)?.size ?? 0) > 0 || (this.waitingFor.get('any')?.size ?? 0) > 0;
  }

  /** `waiting` includes those that are `gated`. */
  get size(): { active: number; backoff: number; waiting: number; gated: number } {
    let waiting = 0;
    let gated = 0;
    for (const { state } of this.entries.values()) {
      if (state === 'gated') gated += 1;
      if (state === 'waiting' || state === 'gated') waiting += 1;
    }
    return { active: this.active.size, backoff: this.backoff.size, waiting, gated };
  }

  /** A pod without a node, new or changed. Only a change that matters to scheduling makes a waiting pod try again. */
  set(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    const known = this.entries.get(uid);
    const gated = (pod.spec?.schedulingGates ?? []).length > 0;
    if (!known) {
      this.orders += 1;
      const entry: Entry = {
        info: podInfo(pod),
        since: this.clock.monotonic(),
        order: this.orders,
        attempts: 0,
        notBefore: 0,
        state: 'gated',
        helpedBy: undefined,
      };
      this.entries.set(uid, entry);
      if (!gated) this.activate(entry);
      return;
    }
    const changed =
      known.info.pod.spec !== pod.spec || known.info.pod.metadata.labels !== pod.metadata.labels;
    if (!changed) return;
    const before = known.info.pod;
    known.info = podInfo(pod);
    const matters =
      !sameJson(before.spec, pod.spec) || !sameJson(before.metadata.labels, pod.metadata.labels);
    if (known.state === 'waiting' && !matters && !gated) return;
    this.take(known);
    if (gated) known.state = 'gated';
    else if (known.state === 'gated' || known.state === 'active') this.activate(known);
    else if (known.state !== 'working') this.delay(known);
  }

  get(uid: string): PodInfo | undefined {
    return this.entries.get(uid)?.info;
  }

  /** The pod has a node, or is gone. */
  delete(uid: string): void {
    const entry = this.entries.get(uid);
    if (!entry) return;
    this.take(entry);
    this.entries.delete(uid);
  }

  /** The next pod to decide on; it stays known to the queue until it is put back or deleted. */
  pop(): PodInfo | undefined {
    const entry = this.active.pop();
    if (!entry) return undefined;
    entry.state = 'working';
    entry.attempts += 1;
    return entry.info;
  }

  /** The pod fits nowhere: it waits for one of these events. */
  wait(uid: string, helpedBy: ReadonlySet<ClusterEvent>): void {
    const entry = this.entries.get(uid);
    if (entry?.state !== 'working') return;
    entry.notBefore = this.clock.monotonic() + backoffOf(entry.attempts);
    entry.state = 'waiting';
    entry.helpedBy = helpedBy;
    for (const event of eventsOf(entry)) {
      const bucket = this.waitingFor.get(event);
      if (bucket) bucket.add(entry);
      else this.waitingFor.set(event, new Set([entry]));
    }
  }

  /** Binding failed, or a nomination was lost: tried again after the back-off, whatever happens. */
  retry(uid: string): void {
    const entry = this.entries.get(uid);
    if (entry?.state === 'waiting') this.stopWaiting(entry);
    else if (entry?.state !== 'working') return;
    entry.notBefore = this.clock.monotonic() + backoffOf(entry.attempts);
    this.delay(entry);
  }

  /** Something happened that may help waiting pods. */
  happened(event: ClusterEvent): void {
    for (const bucket of [this.waitingFor.get(event), this.waitingFor.get('any')]) {
      for (const entry of [...(bucket ?? [])]) {
        this.stopWaiting(entry);
        this.delay(entry);
      }
    }
  }

  private activate(entry: Entry): void {
    entry.state = 'active';
    this.active.push(entry);
    this.onActive();
  }

  private delay(entry: Entry): void {
    if (entry.notBefore <= this.clock.monotonic()) {
      this.activate(entry);
      return;
    }
    entry.state = 'backoff';
    this.backoff.push(entry);
    this.arm();
  }

  private stopWaiting(entry: Entry): void {
    for (const event of eventsOf(entry)) this.waitingFor.get(event)?.delete(entry);
  }

  private take(entry: Entry): void {
    if (entry.state === 'waiting') this.stopWaiting(entry);
    if (entry.state === 'active') this.active.remove(entry);
    if (entry.state === 'backoff') this.backoff.remove(entry);
  }

  private arm(): void {
    const next = this.backoff.peek();
    if (!next) return;
    if (this.timer && this.timer.due <= next.notBefore) return;
    this.timer?.timer.cancel();
    const timer = this.clock.after(Math.max(0, next.notBefore - this.clock.monotonic()), () => {
      this.timer = undefined;
      const now = this.clock.monotonic();
      for (let due = this.backoff.peek(); due && due.notBefore <= now; due = this.backoff.peek()) {
        this.backoff.pop();
        this.activate(due);
      }
      this.arm();
    });
    this.timer = { due: next.notBefore, timer };
  }
}

function eventsOf({ helpedBy }: Entry): Iterable<ClusterEvent | 'any'> {
  return helpedBy && helpedBy.size > 0 ? helpedBy : ['any'];
}

function backoffOf(attempts: number): number {
  return Math.min(FIRST_BACKOFF_MS * 2 ** Math.max(0, Math.min(attempts - 1, 10)), LONGEST_BACKOFF_MS);
}
