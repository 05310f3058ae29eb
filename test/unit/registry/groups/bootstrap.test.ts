import { expect, test } from 'vitest';
import { loadBootstrapObjects } from '../../../../src/api/facts.ts';
import { cloneJson } from '../../../../src/api/object.ts';
import { parseApiVersion } from '../../../../src/api/resource.ts';
import { groupStrategies } from '../../../../src/server/registry/strategies/groups/index.ts';

/** As the catalogue has it; enough for the kinds that a server starts with. */
const plural = (kind: string): string => `${kind.toLowerCase()}${kind.endsWith('s') ? 'es' : 's'}`;

test('objects of a Kubernetes server satisfy the rules, and have the defaults', async () => {
  const strategies = new Map(groupStrategies());
  const objects = await loadBootstrapObjects();
  let checked = 0;
  for (const object of objects) {
    const { group } = parseApiVersion(String(object.apiVersion));
    const strategy = strategies.get(`${plural(String(object.kind))}.${group}`);
    if (!strategy) continue;
    checked += 1;
    const copy = cloneJson(object);
    strategy.applyDefaults?.(copy);
    expect(copy).toEqual(object);
    expect({ object, errors: strategy.validate?.(copy) ?? [] }).toEqual({ object, errors: [] });
  }
  expect(checked).toBeGreaterThan(100);
});
