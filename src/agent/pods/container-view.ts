import type { Clock, Timer } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';
import type { Logger } from '../../lib/logger.ts';
import { podUidOf } from '../names.ts';
import { type ContainerRuntime, type ObservedContainer, RuntimeError } from '../runtime.ts';
import { type ObservedPod, observePod } from './observe.ts';

/** Events tell nearly everything; this finds what they did not (one cheap call). */
const RESYNC_MS = 30_000;
/** How often a lost engine is tried. */
const RETRY_MS = 1_000;

interface Entry {
  container: ObservedContainer;
  /** The number of the look that this came from: an older look never overwrites a newer one. */
  seen: number;
}

/**
 * What the engine holds, kept up to date: everything is listed at the start, after a reconnect and now and then; an event
 * or a finished call only looks at the container it is about.
 */
export class ContainerView {
  private readonly runtime: ContainerRuntime;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly onPod: (uid: string) => void;
  private readonly onAvailable: (available: boolean) => void;
  private readonly entries = new Map<string, Entry>();
  private readonly byPod = new Map<string, Set<string>>();
  /** Removed lately: a list that was under way must not bring them back. */
  private readonly removed = new Map<string, number>();
  private readonly refreshing = new Map<string, { again: boolean }>();
  /** Containers that are being started by us; a look follows. */
  private readonly starting = new Set<string>();
  private looks = 0;
  private unsubscribe: (() => void) | undefined;
  private timer: Timer | undefined;
  private running = false;
  private resyncing: Promise<void> | undefined;
  private resyncAgain = false;
  private reachable = false;
  /** Why the engine does not answer, as last logged: it is tried every second. */
  private failure = '';

  constructor(options: {
    runtime: ContainerRuntime;
    clock: Clock;
    logger: Logger;
    /** Something of this pod has changed. */
    onPod: (uid: string) => void;
    /** The engine was lost, or is back (and was listed). */
    onAvailable: (available: boolean) => void;
  }) {
    this.runtime = options.runtime;
    this.clock = options.clock;
    this.logger = options.logger;
    this.onPod = options.onPod;
    this.onAvailable = options.onAvailable;
  }

  /** Lists once; an engine that is away is tried until it is there. */
  async start(): Promise<void> {
    this.running = true;
    this.unsubscribe = this.runtime.onEvent((id, what) => {
      if (id === undefined) void this.resync();
      else if (what !== 'start' || !this.starting.has(id)) void this.refresh(id).catch(() => {});
    });
    await this.resync();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.timer?.cancel();
    this.unsubscribe?.();
    await this.resyncing;
  }

  get available(): boolean {
    return this.reachable;
  }

  pod(uid: string): ObservedPod {
    const ids = this.byPod.get(uid) ?? new Set();
    const containers: ObservedContainer[] = [];
    for (const id of ids) {
      const entry = this.entries.get(id);
      if (entry) containers.push(entry.container);
    }
    return observePod(uid, containers);
  }

  podUids(): string[] {
    return [...this.byPod.keys()];
  }

  container(id: string): ObservedContainer | undefined {
    return this.entries.get(id)?.container;
  }

  /** What a create call has just made. */
  put(container: ObservedContainer): void {
    this.looks += 1;
    this.apply(container, this.looks);
  }

  /** What a remove call has just removed. */
  forget(id: string): void {
    this.looks += 1;
    this.drop(id, this.looks);
  }

  /** Looks at one container. Calls for the same one that come while it is looked at are answered by one more look. */
  async refresh(id: string): Promise<void> {
    const running = this.refreshing.get(id);
    if (running) {
      running.again = true;
      return;
    }
    const state = { again: false };
    this.refreshing.set(id, state);
    try {
      do {
        state.again = false;
        await this.look(id);
      } while (state.again);
    } finally {
      this.refreshing.delete(id);
    }
  }

  /** Starts a container and looks at it, whatever came of it: the news of that start need no look of their own. */
  async lookAfter(id: string, start: () => Promise<void>): Promise<void> {
    this.starting.add(id);
    try {
      await start();
      await this.look(id);
    } catch (error) {
      await this.look(id).catch(() => {});
      throw error;
    } finally {
      this.starting.delete(id);
    }
  }

  /** Looks at one container now, whoever else does. */
  async look(id: string): Promise<void> {
    this.looks += 1;
    const seen = this.looks;
    try {
      const container = await this.runtime.inspect(id);
      if (container) this.apply(container, seen);
      else this.drop(id, seen);
    } catch (error) {
      this.noteFailure(error);
      throw error;
    }
  }

  /** Lists everything; a call while one runs makes it run once more afterwards. */
  resync(): Promise<void> {
    if (this.resyncing) {
      this.resyncAgain = true;
      return this.resyncing;
    }
    this.timer?.cancel();
    this.resyncing = this.resyncOnce().finally(() => {
      this.resyncing = undefined;
      if (!this.running) return;
      this.timer = this.clock.after(this.reachable ? RESYNC_MS : RETRY_MS, () => void this.resync());
    });
    return this.resyncing;
  }

  private async resyncOnce(): Promise<void> {
    do {
      this.resyncAgain = false;
      this.looks += 1;
      const seen = this.looks;
      try {
        const containers = await this.runtime.list();
        const present = new Set(containers.map(({ id }) => id));
        for (const container of containers) this.apply(container, seen);
        for (const [id, entry] of this.entries)
          if (!present.has(id) && entry.seen < seen) this.drop(id, seen);
        for (const [id, at] of this.removed) if (at < seen) this.removed.delete(id);
        this.failure = '';
        this.setReachable(true);
      } catch (error) {
        this.noteFailure(error, true);
      }
    } while (this.resyncAgain && this.running && this.reachable);
  }

  private noteFailure(error: unknown, always = false): void {
    const lost = error instanceof RuntimeError && error.code === 'Unavailable';
    if (!lost && !always) return;
    const { message } = error as Error;
    if (message !== this.failure)
      this.logger.warn({ error: message }, 'the container engine does not answer');
    this.failure = message;
    this.setReachable(false);
  }

  private setReachable(reachable: boolean): void {
    if (this.reachable === reachable) return;
    this.reachable = reachable;
    if (!reachable && !this.resyncing && this.running) {
      this.timer?.cancel();
      this.timer = this.clock.after(RETRY_MS, () => void this.resync());
    }
    this.onAvailable(reachable);
  }

  private apply(container: ObservedContainer, seen: number): void {
    const uid = podUidOf(container);
    const known = this.entries.get(container.id);
    if (uid === undefined || (known && known.seen > seen)) return;
    if ((this.removed.get(container.id) ?? -1) > seen) return;
    this.entries.set(container.id, { container, seen });
    const ids = this.byPod.get(uid);
    if (ids) ids.add(container.id);
    else this.byPod.set(uid, new Set([container.id]));
    if (!known || differs(known.container, container)) this.onPod(uid);
  }

  private drop(id: string, seen: number): void {
    const known = this.entries.get(id);
    this.removed.set(id, seen);
    if (!known || known.seen > seen) return;
    this.entries.delete(id);
    const uid = podUidOf(known.container);
    if (uid === undefined) return;
    const ids = this.byPod.get(uid);
    ids?.delete(id);
    if (ids?.size === 0) this.byPod.delete(uid);
    this.onPod(uid);
  }
}

function differs(left: ObservedContainer, right: ObservedContainer): boolean {
  return (
    left.state !== right.state ||
    left.pid !== right.pid ||
    left.startedAt !== right.startedAt ||
    left.finishedAt !== right.finishedAt ||
    left.exitCode !== right.exitCode ||
    left.oomKilled !== right.oomKilled ||
    left.error !== right.error ||
    !sameJson(left.limits, right.limits)
  );
}
