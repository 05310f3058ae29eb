import type { Clock, Timer } from '../../lib/clock.ts';

/** The engine's events tell sooner; this is for those that were lost, and for a container that ended as the exec began. */
const LOOK_MS = 10_000;
/** What the command wrote last is still on its way. */
const LAST_WORDS_MS = 1_000;

interface OpenSession {
  containerEnded(): void;
}

/**
 * The commands under way, by container. Docker 20.10 ends neither command nor connection when a container ends that shares
 * its process namespace with others (shareProcessNamespace): whoever waits for a hook, a probe or `kubectl exec` would wait
 * for ever. Here each of them ends with its container.
 */
export class OpenSessions {
  private readonly clock: Clock;
  private readonly isRunning: (containerId: string) => Promise<boolean>;
  private readonly open = new Map<string, Set<OpenSession>>();
  private timer: Timer | undefined;

  constructor(options: {
    clock: Clock;
    /** Rejects when the engine does not answer: then nothing is known. */
    isRunning: (containerId: string) => Promise<boolean>;
  }) {
    this.clock = options.clock;
    this.isRunning = options.isRunning;
  }

  /** Until `ended` settles. */
  add(containerId: string, session: OpenSession, ended: Promise<unknown>): void {
    const sessions = this.open.get(containerId) ?? new Set();
    this.open.set(containerId, sessions.add(session));
    this.timer ??= this.clock.every(LOOK_MS, () => this.look(undefined));
    const forget = (): void => this.forget(containerId, session);
    ended.then(forget, forget);
  }

  /** Something has happened to this container, or to any: those that run no more end their sessions. */
  look(containerId: string | undefined): void {
    for (const id of containerId === undefined ? this.open.keys() : [containerId]) {
      if (this.open.has(id)) void this.lookAt(id);
    }
  }

  private async lookAt(containerId: string): Promise<void> {
    const sessions = [...(this.open.get(containerId) ?? [])];
    if (await this.isRunning(containerId).catch(() => true)) return;
    this.clock.after(LAST_WORDS_MS, () => {
      for (const session of sessions) session.containerEnded();
    });
  }

  private forget(containerId: string, session: OpenSession): void {
    const sessions = this.open.get(containerId);
    sessions?.delete(session);
    if (sessions?.size === 0) this.open.delete(containerId);
    if (this.open.size > 0) return;
    this.timer?.cancel();
    this.timer = undefined;
  }
}
