// The entries of metadata.managedFields: who owns which fields. An entry is never changed in place; what did not change
// is shared between the versions of an object.
import type { JsonObject } from '../object.ts';
import type { ManagedFieldsEntry } from '../types/meta-v1.ts';
import { equal, type FieldSet, isEmpty, MEMBER, NO_FIELDS, union } from './field-set.ts';
import { normalElement } from './path-element.ts';

export interface Owner {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  /** RFC 3339, seconds. */
  readonly time?: string;
  readonly fieldsType: 'FieldsV1';
  readonly fieldsV1: FieldSet;
  readonly subresource?: string;
}

export type Owners = readonly Owner[];

/** As many Update entries as an object keeps; older ones are drawn together. */
const MOST_UPDATERS = 10;
const OLD_UPDATES = 'ancient-changes';
const DEEPEST_SET = 200;

type Identity = Pick<Owner, 'manager' | 'operation' | 'apiVersion' | 'subresource'>;

/** One entry's? An applier has one whatever version it applies; an updater has one for each. */
export function isSameOwner(left: Identity, right: Identity): boolean {
  return (
    left.manager === right.manager &&
    left.operation === right.operation &&
    (left.operation === 'Apply' || left.apiVersion === right.apiVersion) &&
    (left.subresource ?? '') === (right.subresource ?? '')
  );
}

/** Whose entry it is, as text; entries and conflicts are ordered by it. */
export function ownerKey(owner: Identity): string {
  const { manager, operation, apiVersion, subresource } = owner;
  return JSON.stringify({
    manager,
    operation,
    ...(operation === 'Update' ? { apiVersion } : {}),
    ...(subresource ? { subresource } : {}),
  });
}

export function withFields(owner: Owner, fieldsV1: FieldSet): Owner {
  return fieldsV1 === owner.fieldsV1 ? owner : { ...owner, fieldsV1 };
}

/** Appliers first, then by time, then by name. */
export function sortOwners(owners: readonly Owner[]): Owner[] {
  return [...owners].sort(
    (left, right) =>
      byText(left.operation, right.operation) ||
      byText(left.time ?? '', right.time ?? '') ||
      byText(left.manager, right.manager) ||
      byText(left.apiVersion, right.apiVersion) ||
      byText(left.subresource ?? '', right.subresource ?? ''),
  );
}

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Draws the oldest Update entries together, one entry a version, until few enough are left. */
export function capUpdaters(owners: readonly Owner[]): readonly Owner[] {
  const updaters = owners.filter(({ operation }) => operation === 'Update');
  if (updaters.length <= MOST_UPDATERS) return owners;
  const oldestFirst = [...updaters].sort(
    (left, right) => byText(left.time ?? '', right.time ?? '') || byText(ownerKey(left), ownerKey(right)),
  );
  const result = new Map(owners.map((owner) => [ownerKey(owner), owner]));
  const first = new Map<string, Owner>();
  let count = updaters.length;
  for (const owner of oldestFirst) {
    if (count <= MOST_UPDATERS) break;
    const { apiVersion } = owner;
    const earlier = first.get(apiVersion);
    if (!earlier) {
      first.set(apiVersion, owner);
      continue;
    }
    const bucket = { manager: OLD_UPDATES, operation: 'Update' as const, apiVersion };
    const bucketKey = ownerKey(bucket);
    const base = result.get(bucketKey) ?? earlier;
    if (!result.has(bucketKey)) result.delete(ownerKey(earlier));
    result.delete(ownerKey(owner));
    result.set(bucketKey, {
      ...bucket,
      ...(owner.time === undefined ? {} : { time: owner.time }),
      fieldsType: 'FieldsV1',
      fieldsV1: union(owner.fieldsV1, base.fieldsV1),
    });
    count -= 1;
  }
  return [...result.values()];
}

export function sameOwners(
  left: Owners | undefined,
  right: Owners | undefined,
  butForTimes = false,
): boolean {
  if (left === right) return true;
  if ((left?.length ?? 0) !== (right?.length ?? 0)) return false;
  if (butForTimes) {
    // Times order the entries: without them the order says nothing.
    return (left ?? []).every((owner, index) => {
      const there = right?.[index] as Owner;
      const other = isSameOwner(owner, there) ? there : right?.find((one) => isSameOwner(one, owner));
      return other !== undefined && sameOwner(owner, other);
    });
  }
  return (left ?? []).every((owner, index) => {
    const other = right?.[index] as Owner;
    return owner === other || (owner.time === other.time && sameOwner(owner, other));
  });
}

function sameOwner(left: Owner, right: Owner): boolean {
  return (
    isSameOwner(left, right) && left.apiVersion === right.apiVersion && equal(left.fieldsV1, right.fieldsV1)
  );
}

/** The list is empty or holds one empty entry: its sender wants to be rid of all entries. */
export function isReset(given: readonly unknown[]): boolean {
  if (given.length === 0) return true;
  const [only] = given;
  return given.length === 1 && typeof only === 'object' && only !== null && Object.keys(only).length === 0;
}

/** Entries as a client sent them (types already checked); undefined when one of them makes no sense. */
export function readOwners(given: readonly ManagedFieldsEntry[]): Owner[] | undefined {
  const owners = new Map<string, Owner>();
  for (const entry of given) {
    const { manager = '', operation, apiVersion, fieldsType, fieldsV1, subresource, time } = entry;
    if (operation !== 'Apply' && operation !== 'Update') return undefined;
    if (!apiVersion || fieldsType !== 'FieldsV1') return undefined;
    const fields = normalSet((fieldsV1 ?? {}) as JsonObject, 0);
    if (fields === undefined) return undefined;
    const owner: Owner = {
      manager,
      operation,
      apiVersion,
      ...(time ? { time } : {}),
      fieldsType,
      fieldsV1: fields,
      ...(subresource ? { subresource } : {}),
    };
    owners.set(ownerKey(owner), owner);
  }
  return sortOwners([...owners.values()].filter(({ fieldsV1 }) => !isEmpty(fieldsV1)));
}

function normalSet(given: unknown, depth: number): FieldSet | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given) || depth > DEEPEST_SET) {
    return undefined;
  }
  const names = Object.keys(given);
  if (names.length === 0) return depth === 0 ? NO_FIELDS : MEMBER;
  const result: Record<string, FieldSet> = {};
  for (const name of names) {
    const element = name === '.' ? name : normalElement(name);
    const inner = normalSet((given as JsonObject)[name], depth + 1);
    if (element === undefined || inner === undefined) return undefined;
    result[element] = name === '.' ? MEMBER : inner;
  }
  return result;
}
