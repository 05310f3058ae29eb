// Ownership after a write that was no apply: who writes a field owns it, who else owned it loses it.
import type { JsonObject } from '../object.ts';
import { type Comparison, compareObjects, isSame } from './compare.ts';
import { capUpdaters, isSameOwner, type Owner, type Owners, sortOwners, withFields } from './entries.ts';
import { difference, equal, type FieldSet, isEmpty, union } from './field-set.ts';
import type { ObjectType } from './object-type.ts';

export interface Writer {
  manager: string;
  /** RFC 3339, seconds. */
  time: string;
}

/** `owners` itself when nothing changed that can be owned. Neither state's managedFields are looked at. */
export function ownersAfterUpdate(
  type: ObjectType,
  before: JsonObject,
  after: JsonObject,
  owners: Owners,
  writer: Writer,
): Owners {
  const comparison = compareWritable(type, before, after);
  if (isSame(comparison)) return owners;
  const versions = new Comparisons(type, before, after, comparison);
  const self = updater(type, writer);
  const kept: Owner[] = [];
  for (const owner of owners) {
    const seen = versions.in(owner.apiVersion);
    if (!seen) continue;
    const rest = difference(difference(owner.fieldsV1, seen.changed), seen.removed);
    const isSelf = isSameOwner(owner, self) && !isEmpty(comparison.changed);
    if (isSelf) kept.push({ ...self, fieldsV1: grown(owner.fieldsV1, rest, comparison.changed) });
    else if (!isEmpty(rest)) kept.push(withFields(owner, rest));
  }
  const isNew = !kept.some((owner) => isSameOwner(owner, self));
  if (isNew && !isEmpty(comparison.changed)) kept.push({ ...self, fieldsV1: comparison.changed });
  return sortOwners(capUpdaters(kept));
}

/** Who writes the same fields again and again keeps the same set, not a copy of it each time. */
function grown(before: FieldSet, rest: FieldSet, changed: FieldSet): FieldSet {
  const after = union(rest, changed);
  return equal(before, after) ? before : after;
}

function updater(type: ObjectType, { manager, time }: Writer): Owner {
  return {
    manager: manager || 'unknown',
    operation: 'Update',
    apiVersion: type.apiVersion,
    time,
    fieldsType: 'FieldsV1',
    fieldsV1: {},
    ...(type.subresource === undefined ? {} : { subresource: type.subresource }),
  };
}

export function compareWritable(type: ObjectType, before: JsonObject, after: JsonObject): Comparison {
  const { changed, removed } = compareObjects(type.node, before, after);
  return { changed: type.writable(changed), removed: type.writable(removed) };
}

/** The change as the versions see it in which others own their fields. */
export class Comparisons {
  private readonly known: Map<string, Comparison | undefined>;
  private readonly type: ObjectType;
  private readonly before: JsonObject;
  private readonly after: JsonObject;

  constructor(type: ObjectType, before: JsonObject, after: JsonObject, comparison: Comparison) {
    this.type = type;
    this.before = before;
    this.after = after;
    this.known = new Map([[type.apiVersion, comparison]]);
  }

  /** Undefined: that version is not served any more. */
  in(apiVersion: string): Comparison | undefined {
    if (this.known.has(apiVersion)) return this.known.get(apiVersion);
    const comparison = this.compare(apiVersion);
    this.known.set(apiVersion, comparison);
    return comparison;
  }

  private compare(apiVersion: string): Comparison | undefined {
    const version = this.type.other(apiVersion);
    if (!version) return undefined;
    const { changed, removed } = compareObjects(
      version.node,
      version.convert(this.before),
      version.convert(this.after),
    );
    return { changed: this.type.writable(changed), removed: this.type.writable(removed) };
  }
}
