// The server's part of an object's metadata: what it sets at birth, what it carries over at every change.
import type { JsonObject } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import { timestamp } from '../../lib/clock.ts';
import { nameSuffix, type Random } from '../../lib/random.ts';

/** generateName is cut so that name and suffix fit a DNS label. */
const LONGEST_BASE = 63 - 5;

export function bear(metadata: JsonObject, options: { now: number; random: Random }): void {
  for (const field of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'selfLink', 'managedFields']) {
    delete metadata[field];
  }
  metadata.uid = options.random.uuid();
  metadata.creationTimestamp = timestamp(options.now);
}

export function generateName(base: string, random: Random): string {
  return `${base.slice(0, LONGEST_BASE)}${nameSuffix(random)}`;
}

/**
 * Before an update: what a client left out or may not set stays as it was. Whoever would delete by setting
 * deletionTimestamp is not ignored but refused, by validation.
 */
export function carryOver(next: JsonObject, old: JsonObject): void {
  for (const field of ['uid', 'namespace', 'deletionGracePeriodSeconds']) {
    if (next[field] === undefined && old[field] !== undefined) next[field] = old[field];
  }
  for (const field of ['creationTimestamp', 'generation', 'selfLink']) {
    if (old[field] === undefined) delete next[field];
    else next[field] = old[field];
  }
  if (old.deletionTimestamp !== undefined) next.deletionTimestamp = old.deletionTimestamp;
}

/** Everything but metadata, status and the type is the spec: some kinds call it `template` or `webhooks`. */
export function specChanged(next: JsonObject, old: JsonObject): boolean {
  const fields = new Set([...Object.keys(next), ...Object.keys(old)]);
  for (const field of ['apiVersion', 'kind', 'metadata', 'status']) fields.delete(field);
  for (const field of fields) if (!jsonEqual(next[field], old[field])) return true;
  return false;
}

/** Orders metadata as Kubernetes prints it, so that people find things where they look for them. */
const ORDER = [
  'name',
  'generateName',
  'namespace',
  'selfLink',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
  'ownerReferences',
  'finalizers',
  'managedFields',
];

export function ordered(metadata: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const field of ORDER) if (metadata[field] !== undefined) result[field] = metadata[field];
  return result;
}
