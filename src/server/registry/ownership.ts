// Who owns which field of an object (metadata.managedFields), kept up by every write. docs/adr/0006.

import { badRequest } from '../../api/errors.ts';
import { type Applied, ApplyConflicts, apply, ConfigError } from '../../api/managed-fields/apply.ts';
import { conflictStatus } from '../../api/managed-fields/conflicts.ts';
import { isReset, type Owners, readOwners, sameOwners } from '../../api/managed-fields/entries.ts';
import type { FieldsTable } from '../../api/managed-fields/fields-table.ts';
import type { ObjectType } from '../../api/managed-fields/object-type.ts';
import { fieldElement } from '../../api/managed-fields/path-element.ts';
import { ownersAfterScale, ownersOfScale, type ReplicasPath } from '../../api/managed-fields/scale.ts';
import { ownersAfterUpdate, type Writer } from '../../api/managed-fields/update.ts';
import type { JsonObject } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import { parseApiVersion } from '../../api/resource.ts';
import type { ManagedFieldsEntry } from '../../api/types/meta-v1.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import { timestamp } from '../../lib/clock.ts';
import { objectTypeOf } from './object-types.ts';
import type { Projection } from './pipeline.ts';
import type { Served, ServedResources } from './served.ts';

/** What is written, and through what. */
export interface Endpoint {
  served: Served;
  subresource: string | undefined;
  projection: Projection;
}

export interface Change {
  /** The stored object before. */
  old: JsonObject;
  /** What was submitted, as the projection reads it. */
  submitted: JsonObject;
  /** The stored object after, as far as the submitter has a say in it. */
  next: JsonObject;
  /** managedFields as the submitter sent them; undefined: not at all, or as they were. */
  given: readonly unknown[] | undefined;
}

export interface Actor {
  manager: string;
  now: number;
}

const SPEC_REPLICAS = ['f:spec', 'f:replicas'];

export class Ownership {
  private readonly resources: ServedResources;
  private readonly fields: FieldsTable;
  private readonly types = new WeakMap<Projection, ObjectType>();

  constructor(options: { resources: ServedResources; fields: FieldsTable }) {
    this.resources = options.resources;
    this.fields = options.fields;
  }

  /** Of a new object, before the server adds to it. Undefined: of objects of this kind nobody keeps account. */
  ofNew(
    endpoint: Endpoint,
    object: JsonObject,
    given: readonly unknown[] | undefined,
    { manager, now }: Actor,
  ): Owners | undefined {
    // Events come and go by the thousand, and nobody applies them.
    if (endpoint.served.strategy.durability === 'volatile') return undefined;
    const type = this.typeOf(endpoint);
    const base = given && !isReset(given) ? (readOwners(given as ManagedFieldsEntry[]) ?? []) : [];
    return this.kept(ownersAfterUpdate(type, type.empty, object, base, this.writer(manager, now)));
  }

  afterChange(endpoint: Endpoint, change: Change, { manager, now }: Actor): Owners | undefined {
    const { old, given } = change;
    const live = ownersOf(old);
    const writer = this.writer(manager, now);
    const type = this.typeOf(endpoint);
    if (type.kind !== endpoint.served.info.kind) {
      if (live.length === 0) return undefined;
      const before = endpoint.projection.view(old as never);
      const seen = ownersOfScale(live, this.replicasOf(endpoint.served));
      // Where nobody owns the replicas nobody begins to, as where an object has no owners at all.
      if (seen.length === 0) return live;
      const owners = ownersAfterUpdate(type, before, change.submitted, seen, writer);
      return owners === seen ? live : this.afterScale(endpoint.served, live, owners);
    }
    const base = endpoint.subresource === undefined ? baseOf(live, given) : live;
    // An object without owners stays without until it is applied.
    if (base.length === 0) return undefined;
    const view = (object: JsonObject): JsonObject => endpoint.projection.view(object as never);
    const owners = ownersAfterUpdate(type, view(old), view(change.next), base, writer);
    if (owners === live || sameOwners(owners, live)) return live;
    return this.kept(owners);
  }

  /**
   * `view`: what the endpoint shows of the object, undefined when there is none yet; `stored` is the object itself.
   * Throws 400 for a configuration that does not fit, 409 for conflicts.
   */
  apply(
    endpoint: Endpoint,
    stored: JsonObject | undefined,
    config: JsonObject,
    { manager, now, force }: Actor & { force: boolean },
  ): { object: JsonObject; owners: Owners | undefined } {
    const type = this.typeOf(endpoint);
    checkType(type, config);
    const live = stored ? ownersOf(stored) : [];
    const isScale = type.kind !== endpoint.served.info.kind;
    const seen = isScale ? ownersOfScale(live, this.replicasOf(endpoint.served)) : live;
    const view = stored ? withoutOwners(endpoint.projection.view(stored as never)) : type.empty;
    const writer = { ...this.writer(manager, now), force };
    const { object, owners } = applied(type, view, config, seen, writer);
    if (owners === seen) return { object, owners: live.length === 0 ? undefined : live };
    if (isScale) return { object, owners: this.afterScale(endpoint.served, live, owners) };
    return { object, owners: this.kept(owners) };
  }

  private writer(manager: string, now: number): Writer {
    return { manager: this.fields.text(manager), time: this.fields.text(timestamp(now)) };
  }

  private afterScale(served: Served, live: Owners, scaleOwners: Owners): Owners | undefined {
    const owners = ownersAfterScale(live, scaleOwners, this.replicasOf(served), served.apiVersion);
    return sameOwners(owners, live) ? live : this.kept(owners);
  }

  private kept(owners: Owners): Owners | undefined {
    return owners.length === 0 ? undefined : this.fields.share(owners);
  }

  private replicasOf(served: Served): ReplicasPath {
    return (apiVersion) => {
      const { group, version } = parseApiVersion(apiVersion);
      const other = this.resources.find(group, version, served.info.resource);
      if (other?.bucket !== served.bucket) return undefined;
      if (!other.custom) return SPEC_REPLICAS;
      return other.custom.scale?.specReplicas.map(fieldElement) ?? null;
    };
  }

  private typeOf({ served, subresource, projection }: Endpoint): ObjectType {
    let type = this.types.get(projection);
    if (!type) {
      type = objectTypeOf(this.resources, served, subresource, projection);
      this.types.set(projection, type);
    }
    return type;
  }
}

export function ownersOf(object: JsonObject): Owners {
  return (objectAt(object, 'metadata').managedFields ?? []) as unknown as Owners;
}

/** A shallow copy without managedFields; `object` itself when it has none. */
export function withoutOwners(object: JsonObject): JsonObject {
  const metadata = objectAt(object, 'metadata');
  if (metadata.managedFields === undefined) return object;
  const { managedFields: _owners, ...rest } = metadata;
  return { ...object, metadata: rest };
}

/** Do the two differ in nothing but when fields were written? Such a write is none. */
export function isUnchanged(next: JsonObject, old: JsonObject): boolean {
  return (
    sameOwners(ownersOf(next), ownersOf(old), true) && jsonEqual(withoutOwners(next), withoutOwners(old))
  );
}

/** The owners to go on from: a client may write them itself, but leaving them out changes nothing. */
function baseOf(live: Owners, given: readonly unknown[] | undefined): Owners {
  if (given === undefined) return live;
  if (isReset(given)) return [];
  const read = readOwners(given as ManagedFieldsEntry[]);
  return read && read.length > 0 ? read : live;
}

function applied(
  type: ObjectType,
  live: JsonObject,
  config: JsonObject,
  owners: Owners,
  writer: { manager: string; time: string; force: boolean },
): Applied {
  try {
    return apply(type, live, config, owners, writer);
  } catch (error) {
    if (error instanceof ApplyConflicts) throw conflictStatus(error.conflicts);
    if (!(error instanceof ConfigError)) throw error;
    // Kubernetes answers 500 here; the request is at fault all the same.
    throw badRequest(`failed to create typed patch object (${describe(type, config)}): ${error.message}`);
  }
}

function checkType(type: ObjectType, config: JsonObject): void {
  const { apiVersion = '', kind = '' } = config;
  if (apiVersion !== type.apiVersion || kind !== type.kind) {
    throw badRequest(
      `invalid object type: ${groupVersionKind(stringAt(config, 'apiVersion'), stringAt(config, 'kind'))}`,
    );
  }
  const { managedFields } = objectAt(config, 'metadata');
  if (managedFields !== undefined && managedFields !== null) {
    throw badRequest('metadata.managedFields must be nil');
  }
}

function describe({ apiVersion, kind }: ObjectType, config: JsonObject): string {
  const metadata = objectAt(config, 'metadata');
  const name = `${stringAt(metadata, 'namespace')}/${stringAt(metadata, 'name')}`;
  return `${name}; ${groupVersionKind(apiVersion, kind)}`;
}

/** As Go prints a GroupVersionKind: `/v1, Kind=ConfigMap`. */
function groupVersionKind(apiVersion: string, kind: string): string {
  return `${apiVersion.includes('/') ? apiVersion : `/${apiVersion}`}, Kind=${kind}`;
}
