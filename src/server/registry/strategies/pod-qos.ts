import type { JsonObject } from '../../../api/object.ts';
import { quantityOf } from '../../../api/quantity.ts';
import { listAt, objectAt } from '../../../api/validation.ts';

/**
 * Guaranteed when CPU and memory are limited to what is requested, BestEffort when nothing is asked for: by the pod as a
 * whole where it says anything, else by every container.
 */
export function qosClass(spec: JsonObject): string {
  const own = objectAt(spec, 'resources');
  const podLevel = ['limits', 'requests'].some((part) => Object.keys(objectAt(own, part)).length > 0);
  const sets = podLevel
    ? [own]
    : [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')].map((container) =>
        objectAt(container, 'resources'),
      );
  let guaranteed = true;
  let any = false;
  for (const resources of sets) {
    const limits = objectAt(resources, 'limits');
    const requests = objectAt(resources, 'requests');
    for (const name of ['cpu', 'memory']) {
      const limit = nano(limits[name]);
      const request = nano(requests[name]);
      if (limit > 0n || request > 0n) any = true;
      if (limit === 0n || limit !== request) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

function nano(value: unknown): bigint {
  return value === undefined ? 0n : quantityOf(value).nano;
}
