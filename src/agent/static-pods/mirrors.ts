import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { CONFIG_MIRROR, mirrorOf } from './manifest.ts';

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
const HEARD_WITHIN_MS = 20_000;

/** What the agent asks of the API for its static pods' copies; with the node's own rights. */
export interface MirrorApi {
  /** The uid of the own Node object. Throws MirrorRefused where the server says no, else what hinders. */
  nodeUid(): Promise<string>;
  create(pod: Pod): Promise<void>;
  /** At once, and only that very one. A missing one is no error. */
  delete(namespace: string, name: string, uid: string): Promise<void>;
}

export type MirrorStep =
  | { kind: 'create'; pod: Pod }
  | { kind: 'delete'; namespace: string; name: string; uid: string };

/**
 * What has to be done so that the API has one copy of each static pod and no other. A copy that somebody deletes goes at
 * once and is made again: only the manifest ends a static pod. Pure.
 */
export function planMirrors(
  statics: readonly Pod[],
  mirrors: readonly Pod[],
  runs: (uid: string) => boolean,
): MirrorStep[] {
  const steps: MirrorStep[] = [];
  const standing = new Set<string>();
  const held = new Set<string>();
  for (const { metadata } of mirrors) {
    const { namespace = '', name = '', uid = '' } = metadata;
    const of = metadata.annotations?.[CONFIG_MIRROR] ?? '';
    const wanted = statics.some((pod) => pod.metadata.uid === of);
    if (wanted && metadata.deletionTimestamp === undefined) {
      standing.add(of);
      continue;
    }
    // What still runs without its manifest is shown until it has ended.
    if (!wanted && metadata.deletionTimestamp === undefined && runs(of)) {
      held.add(`${namespace}/${name}`);
      continue;
    }
    steps.push({ kind: 'delete', namespace, name, uid });
    held.add(`${namespace}/${name}`);
  }
  for (const pod of statics) {
    const { namespace, name, uid = '' } = pod.metadata;
    // First the old copy goes; that it is gone is heard, and the new one made then.
    if (!standing.has(uid) && !held.has(`${namespace}/${name}`)) steps.push({ kind: 'create', pod });
  }
  return steps;
}

/** Keeps the copies; while the server is away nothing is done, and nothing is lost by that. */
export class MirrorPods {
  private readonly api: MirrorApi;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly plan: () => MirrorStep[];
  /** The server has said what it has, to this process. */
  private readonly known: () => boolean;
  private nodeUid: string | undefined;
  private failures = 0;
  private timer: Timer | undefined;
  private working = false;
  private again = false;
  private stopped = false;
  /** Made and not heard of yet, by uid: when. */
  private readonly made = new Map<string, number>();

  constructor(options: {
    api: MirrorApi;
    clock: Clock;
    logger: Logger;
    plan: () => MirrorStep[];
    known: () => boolean;
  }) {
    this.api = options.api;
    this.clock = options.clock;
    this.logger = options.logger;
    this.plan = options.plan;
    this.known = options.known;
  }

  /** Something has changed: look again, soon. */
  wake(): void {
    if (this.stopped) return;
    this.timer?.cancel();
    this.timer = this.clock.after(this.delay(), () => void this.work());
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private delay(): number {
    return this.failures === 0 ? 50 : Math.min(FIRST_RETRY_MS * 2 ** this.failures, LONGEST_RETRY_MS);
  }

  private async work(): Promise<void> {
    if (this.working) {
      this.again = true;
      return;
    }
    this.working = true;
    try {
      if (this.known()) await this.pass();
      this.failures = 0;
    } catch (error) {
      if (this.failures === 0) {
        this.logger.warn(
          { error: (error as Error).message },
          'the copies of static pods at the server are not up to date',
        );
      }
      this.failures += 1;
      // The Node object may be another by now.
      this.nodeUid = undefined;
      this.again = true;
    } finally {
      this.working = false;
    }
    if (!this.again) return;
    this.again = false;
    this.wake();
  }

  private async pass(): Promise<void> {
    const steps = this.plan();
    const wanted = new Set(steps.flatMap((step) => (step.kind === 'create' ? [step.pod.metadata.uid] : [])));
    const now = this.clock.monotonic();
    for (const [uid, at] of this.made) {
      if (!wanted.has(uid) || now - at >= HEARD_WITHIN_MS) this.made.delete(uid);
    }
    for (const step of steps) {
      if (this.stopped) return;
      if (step.kind === 'delete') {
        await this.api.delete(step.namespace, step.name, step.uid);
        continue;
      }
      const uid = step.pod.metadata.uid ?? '';
      if (this.made.has(uid)) continue;
      this.nodeUid ??= await this.api.nodeUid();
      await this.api.create(mirrorOf(step.pod, this.nodeUid));
      this.made.set(uid, now);
    }
    // Heard of by then, or deleted in between.
    if (this.made.size > 0) this.timer = this.clock.after(HEARD_WITHIN_MS, () => void this.work());
  }
}
