// Server-side apply: the configuration is laid over the live object, what its manager no longer applies and nobody else
// owns is removed, and a field that another owns with another value is a conflict.
import type { Json, JsonObject } from '../object.ts';
import { jsonEqual } from '../patch-json.ts';
import { checkConfig, writtenErrors } from './check-config.ts';
import { UNOWNED_FIELDS, UNOWNED_METADATA } from './compare.ts';
import { isSameOwner, type Owner, type Owners, sameOwners, sortOwners, withFields } from './entries.ts';
import { difference, type FieldSet, fieldSet, intersection, isEmpty, paths, union } from './field-set.ts';
import { fieldsOf } from './fields-of.ts';
import { allowedByLastApplied, renewLastApplied } from './last-applied.ts';
import { mergeObjects } from './merge.ts';
import type { ObjectType } from './object-type.ts';
import { compareElements, fieldElement } from './path-element.ts';
import { removeFields, withNamedFields } from './remove.ts';
import { Comparisons, compareWritable, ownersAfterUpdate, type Writer } from './update.ts';

export interface Conflict {
  owner: Owner;
  path: readonly string[];
}

export class ApplyConflicts extends Error {
  readonly conflicts: readonly Conflict[];

  constructor(conflicts: readonly Conflict[]) {
    super(`${conflicts.length} fields are owned by others`);
    this.name = 'ApplyConflicts';
    this.conflicts = conflicts;
  }
}

/** The configuration does not fit the schema. The message lists the faults. */
export class ConfigError extends Error {
  constructor(errors: readonly string[]) {
    super(writtenErrors(errors));
    this.name = 'ConfigError';
  }
}

export interface Applied {
  /** The new state, undecoded; parts are shared with the live object and the configuration. */
  object: JsonObject;
  owners: Owners;
}

/** Who is said to own what was there before anybody was asked. */
const BEFORE_FIRST_APPLY = 'before-first-apply';
/** The manager of kubectl's server-side apply, which takes over from its client-side apply. */
const KUBECTL = 'kubectl';

const UNOWNED: FieldSet = fieldSet(
  ...[...UNOWNED_FIELDS].map((name) => [fieldElement(name)]),
  [fieldElement('metadata')],
  ...[...UNOWNED_METADATA].map((name) => [fieldElement('metadata'), fieldElement(name)]),
);

/**
 * `live` is `type.empty` when there is no object yet; `config` is as it was sent. Throws ConfigError and ApplyConflicts.
 * When nothing changes the result's owners are `owners` itself.
 */
export function apply(
  type: ObjectType,
  live: JsonObject,
  config: JsonObject,
  owners: Owners,
  writer: Writer & { force: boolean },
): Applied {
  const errors = checkConfig(type.node, config);
  if (errors.length > 0) throw new ConfigError(errors);
  const known =
    owners.length > 0
      ? owners
      : ownersAfterUpdate(type, type.empty, live, [], { manager: BEFORE_FIRST_APPLY, time: writer.time });
  const result = applyOrMigrate(type, live, config, known, writer);
  const merged = writer.manager === KUBECTL ? renewLastApplied(result.object, config) : result.object;
  return { object: merged, owners: sameOwners(result.owners, owners) ? owners : result.owners };
}

function applyOrMigrate(
  type: ObjectType,
  live: JsonObject,
  config: JsonObject,
  owners: Owners,
  writer: Writer & { force: boolean },
): Applied {
  try {
    return applyTo(type, live, config, owners, writer);
  } catch (error) {
    if (!(error instanceof ApplyConflicts) || writer.manager !== KUBECTL) throw error;
    const allowed = allowedByLastApplied(type, live);
    if (!allowed) throw error;
    const others = error.conflicts.filter(({ path }) => isEmpty(intersection(fieldSet(path), allowed)));
    if (others.length > 0) throw new ApplyConflicts(others);
    return applyTo(type, live, config, owners, { ...writer, force: true });
  }
}

function applyTo(
  type: ObjectType,
  live: JsonObject,
  config: JsonObject,
  owners: Owners,
  { manager, time, force }: Writer & { force: boolean },
): Applied {
  const self: Owner = {
    manager,
    operation: 'Apply',
    apiVersion: type.apiVersion,
    fieldsType: 'FieldsV1',
    fieldsV1: type.writable(fieldsOf(type.node, config)),
    ...(type.subresource === undefined ? {} : { subresource: type.subresource }),
  };
  const last = owners.find((owner) => isSameOwner(owner, self));
  const others = owners.filter((owner) => owner !== last);
  const merged = mergeObjects(type.node, live, config);
  const object = last ? prune(type, merged, last, [...others, self]) : merged;

  const versions = new Comparisons(type, live, object, compareWritable(type, live, object));
  const conflicts: Conflict[] = [];
  const kept: Owner[] = [];
  for (const owner of others) {
    const seen = versions.in(owner.apiVersion);
    if (!seen) continue;
    const taken = intersection(owner.fieldsV1, seen.changed);
    for (const path of paths(taken, compareElements)) conflicts.push({ owner, path });
    kept.push(withFields(owner, difference(difference(owner.fieldsV1, taken), seen.removed)));
  }
  if (!force && conflicts.length > 0) throw new ApplyConflicts(conflicts);
  const isChanged = !jsonEqual(live, object);
  const since = isChanged ? time : last?.time;
  const fieldsV1 = difference(self.fieldsV1, UNOWNED);
  kept.push({ ...self, ...(since === undefined ? {} : { time: since }), fieldsV1 });
  return { object, owners: sortOwners(kept.filter((owner) => !isEmpty(owner.fieldsV1))) };
}

/** Without what the manager applied last time and does not now, unless another owns it. */
function prune(type: ObjectType, merged: JsonObject, last: Owner, owners: Owners): JsonObject {
  if (last.apiVersion === type.apiVersion) return pruneIn(type, type.apiVersion, merged, last, owners);
  const version = type.other(last.apiVersion);
  if (!version) return merged;
  return version.convertBack(pruneIn(type, last.apiVersion, version.convert(merged), last, owners));
}

function pruneIn(
  type: ObjectType,
  apiVersion: string,
  merged: JsonObject,
  last: Owner,
  owners: Owners,
): JsonObject {
  const lens = lensOf(type, apiVersion);
  if (!lens) return merged;
  const { node } = lens;
  const applied = withNamedFields(node, last.fieldsV1);
  let pruned = removeFields(node, merged, applied);
  // First in the version of the last apply: what it lacks now another version might need in order to be converted.
  const byVersion = new Map<string, FieldSet>([[apiVersion, fieldSet()]]);
  for (const { apiVersion: version, fieldsV1 } of owners) {
    byVersion.set(version, union(byVersion.get(version) ?? fieldSet(), fieldsV1));
  }
  for (const [version, owned] of byVersion) {
    const other = lensOf(type, version);
    if (!other) continue;
    const whole = other.look(lens.back(merged));
    const part = other.look(lens.back(pruned));
    const kept = union(
      withNamedFields(other.node, fieldsOf(other.node, part)),
      withNamedFields(other.node, owned),
    );
    const all = withNamedFields(other.node, fieldsOf(other.node, whole));
    pruned = lens.look(other.back(removeFields(other.node, whole, difference(all, kept))));
  }
  // Only what was applied goes: what nobody owns stays.
  const gone = difference(
    withNamedFields(node, fieldsOf(node, merged)),
    withNamedFields(node, fieldsOf(node, pruned)),
  );
  return removeFields(node, merged, intersection(gone, applied));
}

interface Lens {
  node: ObjectType['node'];
  /** From the request's version. */
  look(object: JsonObject): JsonObject;
  back(object: JsonObject): JsonObject;
}

function lensOf(type: ObjectType, apiVersion: string): Lens | undefined {
  if (apiVersion === type.apiVersion) {
    const same = (object: JsonObject): JsonObject => object;
    return { node: type.node, look: same, back: same };
  }
  const version = type.other(apiVersion);
  return (
    version && {
      node: version.node,
      look: (object) => version.convert(object),
      back: (object) => version.convertBack(object),
    }
  );
}

/** A configuration is a map; anything else has no kind. */
export function isConfig(body: unknown): body is JsonObject {
  return typeof body === 'object' && body !== null && !Array.isArray(body as Json);
}
