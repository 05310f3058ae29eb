import { readFile } from 'node:fs/promises';

/** Bit of CAP_SYS_RESOURCE in a capability set. */
const CAP_SYS_RESOURCE = 24n;
const LOWEST = -1000;

/**
 * The lowest oom_score_adj that containers can be given here. Without CAP_SYS_RESOURCE (a machine that is itself a
 * container) nobody may go below their own, and runc fails with an error that says nothing of it.
 */
export async function oomScoreFloor(): Promise<number> {
  try {
    const [status, own] = await Promise.all([
      readFile('/proc/self/status', 'utf8'),
      readFile('/proc/self/oom_score_adj', 'utf8'),
    ]);
    return oomFloorOf(status, Number(own));
  } catch {
    return LOWEST;
  }
}

export function oomFloorOf(processStatus: string, own: number): number {
  const bounding = /^CapBnd:\s*([0-9a-f]+)/m.exec(processStatus)?.[1];
  if (bounding === undefined) return LOWEST;
  return (BigInt(`0x${bounding}`) >> CAP_SYS_RESOURCE) & 1n ? LOWEST : own;
}
