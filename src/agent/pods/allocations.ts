import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import {
  type Allocation,
  allocationOf,
  differs,
  judgeResize,
  type ResizeVerdict,
  requestsOf,
  withAllocation,
} from './allocation.ts';

interface Held {
  pod: Pod;
  allocation: Allocation;
  /** A resize of it waits for room. */
  deferred: boolean;
}

/** What the node's pods have been given: the ground on which a resize is taken up or has to wait. */
export class PodAllocations {
  private readonly allocatable: () => Readonly<Record<string, string>>;
  private readonly held = new Map<string, Held>();
  private readonly listeners: ((uid: string) => void)[] = [];

  constructor(options: { allocatable: () => Readonly<Record<string, string>> }) {
    this.allocatable = options.allocatable;
  }

  /** There is more room than before: called for each pod whose resize waits for it, in the order of their turns. */
  onRoom(listener: (uid: string) => void): void {
    this.listeners.push(listener);
  }

  /** The pod as it is to run. On first sight it has what its last status says, or what it asks for. */
  allocated(pod: Pod, previous: PodStatus | undefined): Pod {
    const uid = pod.metadata.uid ?? '';
    const held = this.held.get(uid);
    const allocation = held?.allocation ?? allocationOf(pod, previous);
    this.held.set(uid, { pod, allocation, deferred: held?.deferred ?? false });
    return withAllocation(pod, allocation);
  }

  /** The pod as it is to run now. */
  current(uid: string): Pod | undefined {
    const held = this.held.get(uid);
    return held && withAllocation(held.pod, held.allocation);
  }

  /** Undefined: the pod has what it asks for. When it fits, it has been given it. */
  resize(uid: string): ResizeVerdict | undefined {
    const held = this.held.get(uid);
    if (!held || !differs(held.pod, held.allocation)) {
      if (held) held.deferred = false;
      return undefined;
    }
    const others = [...this.held].filter(([other]) => other !== uid);
    const verdict = judgeResize(
      held.pod,
      others.map(([, other]) => withAllocation(other.pod, other.allocation)),
      this.allocatable(),
    );
    held.deferred = !verdict.fits && verdict.reason === 'Deferred';
    if (verdict.fits) {
      const before = requestsOf(withAllocation(held.pod, held.allocation));
      held.allocation = allocationOf(held.pod, undefined);
      const after = requestsOf(held.pod);
      if (after.cpu < before.cpu || after.memory < before.memory) this.tellRoom();
    }
    return verdict;
  }

  /** Ended or gone: what it had is free. */
  release(uid: string): void {
    if (this.held.delete(uid)) this.tellRoom();
  }

  private tellRoom(): void {
    const waiting = [...this.held].filter(([, { deferred }]) => deferred);
    waiting.sort(([, left], [, right]) => turn(right.pod) - turn(left.pod));
    for (const [uid] of waiting) for (const listener of this.listeners) listener(uid);
  }
}

/** Higher priority first, then Guaranteed pods. */
function turn({ spec, status }: Pod): number {
  return (spec?.priority ?? 0) * 2 + (status?.qosClass === 'Guaranteed' ? 1 : 0);
}
