// What may change about a PersistentVolumeClaim after it was made.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { compareQuantities, quantityOf } from '../../../api/quantity.ts';
import { forbiddenField, invalidValue, objectAt, stringAt } from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { changes } from './pod-update.ts';

/** Where the class was named before it was a field. */
export const CLASS_ANNOTATION = 'volume.beta.kubernetes.io/storage-class';

/** Only a bound claim may grow or change its attributes; everything else is set at creation. */
export function validateClaimUpdate(claim: JsonObject, old: JsonObject): FieldError[] {
  const spec = objectAt(claim, 'spec');
  const before = objectAt(old, 'spec');
  const errors: FieldError[] = [];
  const named = annotatedClass(claim);
  const wasNamed = annotatedClass(old);
  const classMoved = mayMoveClass(spec, before, named, wasNamed);
  if (!classMoved && (named ?? '') !== (wasNamed ?? '')) {
    errors.push(invalidValue(`metadata.annotations.${CLASS_ANNOTATION}`, named ?? '', 'field is immutable'));
  }
  const rest = withoutChangeable(spec, before, stringAt(objectAt(claim, 'status'), 'phase') === 'Bound');
  // A claim that was made without a class may still be given one.
  const classGiven = before.storageClassName === undefined && wasNamed === undefined;
  if (classMoved || classGiven) restore(rest, before, 'storageClassName');
  if (!jsonEqual(rest, before)) {
    const rule =
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
    errors.push(forbiddenField('spec', `${rule}\n${changes(rest, before)}`));
  }
  return [
    ...errors,
    ...validateSize(spec, before, objectAt(objectAt(old, 'status'), 'capacity').storage ?? '0'),
    ...checkImmutable('volumeMode', spec.volumeMode, before.volumeMode),
    ...validateAttributes(spec, before, objectAt(old, 'status')),
  ];
}

function annotatedClass(claim: JsonObject): string | undefined {
  const value = objectAt(objectAt(claim, 'metadata'), 'annotations')[CLASS_ANNOTATION];
  return typeof value === 'string' ? value : undefined;
}

/** The class may move from the annotation to the field, where it is the same. */
function mayMoveClass(
  spec: JsonObject,
  before: JsonObject,
  named: string | undefined,
  wasNamed: string | undefined,
): boolean {
  if (wasNamed === undefined || before.storageClassName !== undefined) return false;
  return spec.storageClassName === wasNamed && (named === undefined || named === wasNamed);
}

function withoutChangeable(spec: JsonObject, before: JsonObject, isBound: boolean): JsonObject {
  const rest: JsonObject = { ...spec };
  // The binder names the volume, once.
  if (stringAt(before, 'volumeName') === '') restore(rest, before, 'volumeName');
  const size = requested(spec);
  const was = requested(before);
  const sameSize =
    size !== undefined && was !== undefined && compareQuantities(quantityOf(size), quantityOf(was)) === 0;
  if ((isBound || sameSize) && size !== undefined) {
    const resources = { ...objectAt(spec, 'resources') };
    const requests = { ...objectAt(resources, 'requests') };
    restore(requests, objectAt(objectAt(before, 'resources'), 'requests'), 'storage');
    rest.resources = { ...resources, requests };
  }
  if (isBound) restore(rest, before, 'volumeAttributesClassName');
  return rest;
}

function restore(target: JsonObject, source: JsonObject, field: string): void {
  if (source[field] === undefined) delete target[field];
  else target[field] = source[field];
}

function requested(spec: JsonObject): JsonObject[string] | undefined {
  return objectAt(objectAt(spec, 'resources'), 'requests').storage;
}

/** A claim may ask for less again as long as its volume has not grown that far. */
function validateSize(spec: JsonObject, before: JsonObject, capacity: JsonObject[string]): FieldError[] {
  const size = quantityOf(requested(spec) ?? '0');
  const shrinks = compareQuantities(size, quantityOf(requested(before) ?? '0')) < 0;
  if (!shrinks || compareQuantities(size, quantityOf(capacity)) > 0) return [];
  const why = 'field can not be less than status.capacity';
  return [forbiddenField('spec.resources.requests.storage', why)];
}

/** Attributes that a volume has got stay those of some class. */
function validateAttributes(spec: JsonObject, before: JsonObject, status: JsonObject): FieldError[] {
  const name = spec.volumeAttributesClassName;
  if (name === before.volumeAttributesClassName) return [];
  if (status.currentVolumeAttributesClassName === undefined) return [];
  if (name !== undefined && name !== '') return [];
  const what = name === undefined ? 'nil' : 'empty string';
  const why = `update to ${what} is forbidden when status.currentVolumeAttributesClassName is not nil`;
  return [forbiddenField('spec.volumeAttributesClassName', why)];
}
