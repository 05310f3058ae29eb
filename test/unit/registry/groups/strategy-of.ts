import type { JsonObject } from '../../../../src/api/object.ts';
import { groupStrategies } from '../../../../src/server/registry/strategies/groups/index.ts';
import type { Strategy } from '../../../../src/server/registry/strategy.ts';

const STRATEGIES = new Map(groupStrategies());

export function strategyOf(resource: string): Strategy {
  const strategy = STRATEGIES.get(resource);
  if (!strategy) throw new Error(`no strategy for ${resource}`);
  return strategy;
}

/** What a create would refuse, as `field: message`. */
export function refusals(resource: string, object: JsonObject): string[] {
  const strategy = strategyOf(resource);
  strategy.applyDefaults?.(object);
  return (strategy.validate?.(object) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

/** What an update would refuse beyond the rules for the object itself. */
export function updateRefusals(resource: string, object: JsonObject, old: JsonObject): string[] {
  const strategy = strategyOf(resource);
  strategy.applyDefaults?.(object);
  strategy.applyDefaults?.(old);
  return (strategy.validateUpdate?.(object, old) ?? []).map(({ field, message }) => `${field}: ${message}`);
}
