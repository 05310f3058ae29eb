import type { Pod } from '../../api/types/core-v1.ts';

/** From this priority on a pod is part of the system (system-cluster-critical). */
const SYSTEM_CRITICAL = 2_000_000_000;
const SOURCE = 'kubernetes.io/config.source';
const MIRROR = 'kubernetes.io/config.mirror';

/** Static pods and those of the system are neither evicted nor kept away: nobody would bring them back elsewhere. */
export function isCritical({ metadata, spec }: Pod): boolean {
  const { [SOURCE]: source, [MIRROR]: mirror } = metadata.annotations ?? {};
  if (mirror !== undefined || (source !== undefined && source !== 'api')) return true;
  return (spec?.priority ?? 0) >= SYSTEM_CRITICAL;
}
