import type { JsonObject } from '../../api/object.ts';
import { type Amounts, podLimits, podRequests } from '../../api/pod-resources.ts';
import { formatQuantity } from '../../api/quantity.ts';
import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import { limitsWhole } from './cgroups.ts';

const GROUPED = ['cpu', 'memory'] as const;

/**
 * What a status tells of the pod as a whole: what it has been given, and what its control group is made for. Where the
 * pod names resources of its own it is those.
 */
export function podResources({ spec }: Pod): Pick<PodStatus, 'allocatedResources' | 'resources'> {
  const plain = (spec ?? { containers: [] }) as unknown as JsonObject;
  const requests = podRequests(plain);
  const allocated = listOf(requests, [...requests.keys()]);
  const own = spec?.resources;
  const limits = podLimits(plain);
  const limited = GROUPED.filter((name) => limitsWhole(spec, name));
  const { requests: ownRequests, limits: ownLimits } = own ?? {
    requests: listOf(requests, GROUPED),
    limits: listOf(limits, limited),
  };
  return {
    ...(allocated ? { allocatedResources: allocated } : {}),
    resources: {
      ...(ownLimits ? { limits: ownLimits } : {}),
      ...(ownRequests ? { requests: ownRequests } : {}),
    },
  };
}

/** Undefined when there is nothing of these names. */
function listOf(amounts: Amounts, names: readonly string[]): Record<string, string> | undefined {
  const entries = names.flatMap((name) => {
    const amount = amounts.get(name);
    return amount ? [[name, formatQuantity(amount)] as const] : [];
  });
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}
