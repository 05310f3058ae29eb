// What must hold of any sequence of applies and updates.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ApplyConflicts, apply } from '../../../../src/api/managed-fields/apply.ts';
import { type Owners, sameOwners } from '../../../../src/api/managed-fields/entries.ts';
import {
  below,
  difference,
  has,
  isEmpty,
  NO_FIELDS,
  paths,
} from '../../../../src/api/managed-fields/field-set.ts';
import { fieldsOf } from '../../../../src/api/managed-fields/fields-of.ts';
import { compareElements } from '../../../../src/api/managed-fields/path-element.ts';
import { ownersAfterUpdate } from '../../../../src/api/managed-fields/update.ts';
import type { Json, JsonObject } from '../../../../src/api/object.ts';
import { jsonEqual } from '../../../../src/api/patch-json.ts';
import { THING, thing, thingType } from './support.ts';

const word = fc.constantFrom('a', 'b', 'c');
const words = fc.uniqueArray(word, { minLength: 1 });
const entries = fc.dictionary(word, word, { minKeys: 1 });
const anySpec = fc.record(
  {
    size: word,
    replicas: fc.nat(3),
    selector: entries,
    args: words,
    tags: words,
    parts: fc.uniqueArray(fc.record({ name: word, image: word, env: entries }, { requiredKeys: ['name'] }), {
      selector: ({ name }) => name,
      minLength: 1,
    }),
    free: fc.dictionary(word, fc.oneof(word, entries), { minKeys: 1 }),
  },
  { requiredKeys: [] },
);
const anyConfig = fc
  .record(
    { metadata: fc.record({ labels: entries }, { requiredKeys: [] }), spec: anySpec },
    { requiredKeys: [] },
  )
  .map((value) => thing(JSON.parse(JSON.stringify(value)) as JsonObject));
const manager = fc.constantFrom('one', 'two', 'three');
const step = fc.record({ manager, config: anyConfig, kind: fc.constantFrom('apply', 'force', 'update') });

interface State {
  object: JsonObject;
  owners: Owners;
}

type Step = { manager: string; config: JsonObject; kind: string };

function take(state: State, one: Step, time: string): State {
  const { object, owners } = written(state, one, time);
  return { object: settled(object) as JsonObject, owners };
}

/** As decoding leaves an object before it is stored: what is empty is not there. */
function settled(value: Json): Json | undefined {
  if (typeof value !== 'object') return value;
  if (value === null) return undefined;
  if (Array.isArray(value))
    return value.length === 0 ? undefined : value.map((item) => settled(item) as Json);
  const kept = Object.entries(value).flatMap(([name, inner]) => {
    const left = settled(inner as Json);
    return left === undefined ? [] : [[name, left]];
  });
  return kept.length === 0 ? undefined : (Object.fromEntries(kept) as JsonObject);
}

function written({ object, owners }: State, { manager: name, config, kind }: Step, time: string): State {
  if (kind === 'update') {
    const updated = ownersAfterUpdate(thingType, object, config, owners, { manager: name, time });
    return { object: settled(config) as JsonObject, owners: updated };
  }
  try {
    return apply(thingType, object, config, owners, { manager: name, time, force: kind === 'force' });
  } catch (error) {
    if (error instanceof ApplyConflicts) return { object, owners };
    throw error;
  }
}

function after(steps: readonly Step[]): State {
  return steps.reduce<State>((state, one, index) => take(state, one, `2026-01-01T00:00:0${index}Z`), {
    object: thing({}),
    owners: [],
  });
}

const RUNS = { seed: 7, numRuns: 400 };
const steps = fc.array(step, { maxLength: 6 });

test('an apply that is repeated changes nothing at all', { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(steps, manager, anyConfig, (before, name, config) => {
      const first = take(after(before), { manager: name, config, kind: 'force' }, 't1');
      const second = take(first, { manager: name, config, kind: 'apply' }, 't2');
      expect(jsonEqual(second.object, first.object)).toBe(true);
      // What an empty map was set to and lost again has a time, which the registry does not take for a change.
      expect(sameOwners(second.owners, first.owners, true)).toBe(true);
    }),
    RUNS,
  );
});

test('a forced apply sets what it says, owns it, and leaves it to nobody who says otherwise', () => {
  fc.assert(
    fc.property(steps, manager, anyConfig, (before, name, config) => {
      const { object, owners } = take(after(before), { manager: name, config, kind: 'force' }, 't');
      const own = owners.find((owner) => owner.manager === name && owner.operation === 'Apply');
      const said = fieldsOf(THING, config);
      for (const path of paths(said, compareElements)) {
        if (path.length === 1) continue;
        expect(own && has(own.fieldsV1, path)).toBe(true);
      }
      // Applied without force by another, the same is no conflict.
      const other = take({ object, owners }, { manager: 'other', config, kind: 'apply' }, 't');
      expect(jsonEqual(other.object, object)).toBe(true);
    }),
    RUNS,
  );
});

test('whoever gives all up takes away only what was theirs alone', () => {
  fc.assert(
    fc.property(steps, manager, (history, name) => {
      const state = after(history);
      const others = state.owners.filter((owner) => !(owner.manager === name && owner.operation === 'Apply'));
      const { object, owners } = take(state, { manager: name, config: thing({}), kind: 'apply' }, 't');
      const left = fieldsOf(THING, object);
      const before = fieldsOf(THING, state.object);
      for (const owner of others) {
        for (const path of paths(owner.fieldsV1, compareElements)) {
          // A map may be left empty, and then is no longer there. An item or an entry goes with its last owner, whoever
          // owns fields in it: so it is in Kubernetes.
          const isLeaf = has(before, path) && path.reduce(below, before) === NO_FIELDS;
          const around = path.map((_, index) => path.slice(0, index + 1)).filter((part) => has(before, part));
          const isHeld = around.every((part) => others.some(({ fieldsV1 }) => has(fieldsV1, part)));
          if (isLeaf && isHeld) expect([path.join('/'), has(left, path)]).toEqual([path.join('/'), true]);
        }
      }
      expect(owners.some((owner) => owner.manager === name && owner.operation === 'Apply')).toBe(false);
    }),
    RUNS,
  );
});

test('nobody is left with an empty entry, and no entry twice', () => {
  fc.assert(
    fc.property(steps, (before) => {
      const { owners } = after(before);
      const names = owners.map(({ manager: name, operation }) => `${name} ${operation}`);
      expect(new Set(names).size).toBe(names.length);
      for (const { fieldsV1 } of owners) {
        expect(isEmpty(fieldsV1)).toBe(false);
        expect(isEmpty(difference(fieldsV1, fieldsV1))).toBe(true);
      }
    }),
    RUNS,
  );
});
