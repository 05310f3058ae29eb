import type { JsonObject } from '../object.ts';
import type { SchemaNode } from '../schema.ts';
import type { FieldSet } from './field-set.ts';

/** A kind in the version that a request speaks, seen through one of its endpoints: what ownership needs to know of it. */
export interface ObjectType {
  readonly apiVersion: string;
  readonly kind: string;
  readonly subresource: string | undefined;
  readonly node: SchemaNode;
  /** An object of which nothing has been said: what a new object is compared with. */
  readonly empty: JsonObject;
  /** The part of a set that this endpoint can write; the rest it resets to what it was. */
  writable(set: FieldSet): FieldSet;
  /** Another version of the same objects; undefined when it is not served (any more). */
  other(apiVersion: string): OtherVersion | undefined;
}

export interface OtherVersion {
  readonly node: SchemaNode;
  /** From the request's version to this one and back; arguments are not changed. */
  convert(object: JsonObject): JsonObject;
  convertBack(object: JsonObject): JsonObject;
}
