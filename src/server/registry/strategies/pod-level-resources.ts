// spec.resources: what a pod as a whole asks for and is limited to.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { containersTogether, isPodLevelResource } from '../../../api/pod-resources.ts';
import { compareQuantities, formatQuantity, quantityOf } from '../../../api/quantity.ts';
import {
  asObject,
  ensureObject,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  objectAt,
} from '../../../api/validation.ts';
import { validateContainerResources } from './resources.ts';

const SUPPORTED = ['cpu', 'hugepages-', 'memory'];

/** Where the pod has limits, it requests what its containers request together and, where they request nothing, its limit. */
export function defaultPodLevelRequests(spec: JsonObject): void {
  const resources = asObject(spec.resources);
  const limits = objectAt(resources, 'limits');
  if (!resources || Object.keys(limits).length === 0) return;
  const requests = ensureObject(resources, 'requests');
  for (const [name, amount] of containersTogether(spec, 'requests')) {
    if (requests[name] === undefined && isPodLevelResource(name)) requests[name] = formatQuantity(amount);
  }
  for (const name of Object.keys(limits)) {
    if (requests[name] === undefined && isPodLevelResource(name)) requests[name] = limits[name] ?? null;
  }
}

export function validatePodLevelResources(spec: JsonObject, path: string): FieldError[] {
  const resources = asObject(spec.resources);
  if (!resources) return [];
  const errors: FieldError[] = [];
  if (listAt(resources, 'claims').length > 0) {
    errors.push(forbiddenField(`${path}.claims`, 'claims may not be set for Resources at pod-level'));
  }
  for (const part of ['limits', 'requests']) {
    for (const name of Object.keys(objectAt(resources, part))) {
      if (!isPodLevelResource(name)) errors.push(notSupported(`${path}.${part}[${name}]`, name, SUPPORTED));
    }
  }
  if (errors.length > 0) return errors;
  errors.push(...validateContainerResources(resources, path));
  const requests = objectAt(resources, 'requests');
  for (const [name, sum] of sorted(containersTogether(spec, 'requests'))) {
    const own = requests[name];
    if (own === undefined || compareQuantities(sum, quantityOf(own)) <= 0) continue;
    const detail = `must be greater than or equal to aggregate container requests of ${formatQuantity(sum)}`;
    errors.push(invalidValue(`${path}.requests[${name}]`, own, detail));
  }
  const limits = objectAt(resources, 'limits');
  listAt(spec, 'containers').forEach((container, index) => {
    const own = objectAt(objectAt(container, 'resources'), 'limits');
    for (const name of Object.keys(own).sort()) {
      if (limits[name] === undefined) continue;
      if (compareQuantities(quantityOf(own[name]), quantityOf(limits[name])) <= 0) continue;
      // The path is upstream's.
      errors.push(
        invalidValue(
          `${path}.containers[${index}].limits[${name}]`,
          own[name],
          `must be less than or equal to pod limits of ${limits[name]}`,
        ),
      );
    }
  });
  return errors;
}

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([left], [right]) => (left < right ? -1 : 1));
}
