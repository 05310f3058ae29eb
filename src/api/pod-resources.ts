// What a pod as a whole asks for and may use, of plain JSON: resource names with their quantities.
import type { JsonObject } from './object.ts';
import { addQuantities, compareQuantities, type Quantity, quantityOf } from './quantity.ts';
import { listAt, objectAt } from './validation.ts';

export type Amounts = Map<string, Quantity>;

/** Only these may be given for the pod as a whole (spec.resources). */
export const isPodLevelResource = (name: string): boolean =>
  name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');

export function amountsOf(list: JsonObject): Amounts {
  return new Map(Object.keys(list).map((name) => [name, quantityOf(list[name])]));
}

/** Requests with the overhead of the runtime class. */
export function podRequests(spec: JsonObject): Amounts {
  const requests = together(spec, 'requests');
  addTo(requests, amountsOf(objectAt(spec, 'overhead')));
  return requests;
}

/** Limits; the overhead counts only where there is a limit. */
export function podLimits(spec: JsonObject): Amounts {
  const limits = together(spec, 'limits');
  const overhead = amountsOf(objectAt(spec, 'overhead'));
  for (const name of overhead.keys()) if (!limits.has(name)) overhead.delete(name);
  addTo(limits, overhead);
  return limits;
}

/** What the containers need; what the pod names for itself stands above that. */
function together(spec: JsonObject, field: 'requests' | 'limits'): Amounts {
  const amounts = containersTogether(spec, field);
  const own = objectAt(objectAt(spec, 'resources'), field);
  for (const [name, quantity] of amountsOf(own)) if (isPodLevelResource(name)) amounts.set(name, quantity);
  return amounts;
}

/**
 * The larger of what runs together (containers and sidecars) and of what runs alone before it (each init container
 * beside the sidecars that have started by then).
 */
export function containersTogether(spec: JsonObject, field: 'requests' | 'limits'): Amounts {
  const of = (container: JsonObject): Amounts => amountsOf(objectAt(objectAt(container, 'resources'), field));
  const running: Amounts = new Map();
  for (const container of listAt(spec, 'containers')) addTo(running, of(container));
  const peak: Amounts = new Map();
  const sidecars: Amounts = new Map();
  for (const container of listAt(spec, 'initContainers')) {
    const own = of(container);
    if (container.restartPolicy === 'Always') {
      addTo(running, own);
      addTo(sidecars, own);
      raiseTo(peak, sidecars);
    } else {
      const alone = new Map(sidecars);
      addTo(alone, own);
      raiseTo(peak, alone);
    }
  }
  raiseTo(running, peak);
  return running;
}

export function addTo(target: Amounts, more: ReadonlyMap<string, Quantity>): void {
  for (const [name, quantity] of more) {
    const before = target.get(name);
    target.set(name, before ? addQuantities(before, quantity) : quantity);
  }
}

function raiseTo(target: Amounts, least: ReadonlyMap<string, Quantity>): void {
  for (const [name, quantity] of least) {
    const before = target.get(name);
    if (!before || compareQuantities(before, quantity) < 0) target.set(name, quantity);
  }
}
