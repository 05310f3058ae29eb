import type { PodInfo } from './pod-info.ts';

/** For so long after a pod runs its load grows into the measurements, which are smoothed over a minute. */
const SETTLING_MS = 60_000;

interface Started {
  info: PodInfo;
  at: number;
}

interface Departure {
  at: number;
  cpu: number;
  memory: number;
}

/**
 * CPU (thousandths) and memory (bytes) that pods of a node will take but that its measurements do not show yet, and what
 * pods gave back since the last of them. A pod counts wholly until it runs, however long its image takes to arrive, and
 * then less and less. Kept as sums, so that asking costs nothing on a quiet node.
 */
export class Settling {
  private readonly waiting = new Map<string, PodInfo>();
  private waitingCpu = 0;
  private waitingMemory = 0;
  private started: Started[] = [];
  private departed: Departure[] = [];
  private supposedCpu = 0;
  private supposedMemory = 0;

  came(info: PodInfo, now: number): void {
    if (isRunning(info)) {
      // A pod seen running for the first time: after a restart of the server, or placed by someone else.
      return;
    }
    this.waiting.set(info.uid, info);
    this.wait(info, 1);
    this.prune(now);
  }

  changed(info: PodInfo, now: number): void {
    const before = this.waiting.get(info.uid);
    if (!before || !isRunning(info)) return;
    this.waiting.delete(info.uid);
    this.wait(before, -1);
    this.started.push({ info: before, at: now });
    this.prune(now);
  }

  went(info: PodInfo, now: number): void {
    const before = this.waiting.get(info.uid);
    if (before) {
      this.waiting.delete(info.uid);
      this.wait(before, -1);
      return;
    }
    this.started = this.started.filter((one) => one.info.uid !== info.uid);
    this.prune(now);
    this.departed.push({ at: now, cpu: info.nonZeroCpu, memory: info.expectedMemory });
  }

  /** For a question only: as if the pod had come (1) or gone (-1). */
  supposed(info: PodInfo, sign: 1 | -1): void {
    this.supposedCpu += sign * info.nonZeroCpu;
    this.supposedMemory += sign * info.expectedMemory;
  }

  /** `measuredAt`: when the measurement was taken that this is to be added to. */
  cpu(now: number, measuredAt: number): number {
    let sum = this.waitingCpu + this.supposedCpu;
    for (const { info, at } of this.started) sum += info.nonZeroCpu * left(now - at);
    for (const { at, cpu } of this.departed) if (at >= measuredAt) sum -= cpu;
    return sum;
  }

  memory(now: number, measuredAt: number): number {
    let sum = this.waitingMemory + this.supposedMemory;
    for (const { info, at } of this.started) sum += info.expectedMemory * left(now - at);
    for (const { at, memory } of this.departed) if (at >= measuredAt) sum -= memory;
    return sum;
  }

  private wait(info: PodInfo, sign: 1 | -1): void {
    this.waitingCpu += sign * info.nonZeroCpu;
    this.waitingMemory += sign * info.expectedMemory;
  }

  private prune(now: number): void {
    if (this.started.length > 0) this.started = this.started.filter(({ at }) => now - at < SETTLING_MS);
    if (this.departed.length > 0) this.departed = this.departed.filter(({ at }) => now - at < SETTLING_MS);
  }
}

const left = (age: number): number => Math.max(0, 1 - age / SETTLING_MS);

const isRunning = ({ pod }: PodInfo): boolean => pod.status?.phase === 'Running';
