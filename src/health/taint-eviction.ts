import { tolerates } from '../api/tolerations.ts';
import type { Taint, Toleration } from '../api/types/core-v1.ts';

/**
 * How long a pod may stay on a node with these NoExecute taints, in ms: 0 when one is not tolerated, undefined when all
 * are tolerated for good. Several tolerations of limited time: the shortest counts.
 */
export function toleratedFor(
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
): number | undefined {
  let shortest: number | undefined;
  for (const taint of taints) {
    const matching = tolerations.filter((toleration) => tolerates(toleration, taint));
    if (matching.length === 0) return 0;
    for (const { tolerationSeconds } of matching) {
      if (tolerationSeconds === undefined) continue;
      const milliseconds = Math.max(0, tolerationSeconds) * 1000;
      if (shortest === undefined || milliseconds < shortest) shortest = milliseconds;
    }
  }
  return shortest;
}

export const noExecute = (taints: readonly Taint[] | undefined): Taint[] =>
  (taints ?? []).filter(({ effect }) => effect === 'NoExecute');
