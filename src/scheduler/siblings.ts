import { mapMatcher, type Requirement } from '../api/selectors.ts';
import type { Service } from '../api/types/core-v1.ts';
import type { PodInfo } from './pod-info.ts';
import { labelled, type PodPredicate } from './pod-terms.ts';

/** The pods that all Services which select this one select too: what is spread by default when no controller groups it. */
export function servicesOf(info: PodInfo, services: readonly Service[]): PodPredicate | undefined {
  const { namespace = '', labels } = info.pod.metadata;
  const merged = new Map<string, string>();
  for (const { spec } of services) {
    if (!mapMatcher(spec?.selector)(labels)) continue;
    for (const [key, value] of Object.entries(spec?.selector ?? {})) merged.set(key, value);
  }
  if (merged.size === 0) return undefined;
  const requirements = [...merged].sort(([a], [b]) => (a < b ? -1 : 1));
  return labelled(
    namespace,
    requirements.map(([key, value]): Requirement => ({ key, operator: '=', values: [value] })),
  );
}
