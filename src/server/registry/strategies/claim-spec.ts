// What a PersistentVolumeClaim asks for, also where it stands as a template in a pod.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { quantityOf } from '../../../api/quantity.ts';
import {
  asObject,
  checkChoice,
  checkName,
  forbiddenField,
  invalidValue,
  notSupported,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { validateAnnotations, validateLabels } from '../../../api/validation-meta.ts';
import { validateSources } from './claim-sources.ts';
import { validateLabelSelector } from './label-selector.ts';

const ACCESS_MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
export const VOLUME_MODES = ['Block', 'Filesystem'];

export function validateAccessModes(spec: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const modes = stringsAt(spec, 'accessModes');
  for (const mode of modes) {
    if (!ACCESS_MODES.includes(mode)) errors.push(notSupported(field, mode, ACCESS_MODES));
  }
  const others = modes.some((mode) => mode !== 'ReadWriteOncePod' && ACCESS_MODES.includes(mode));
  if (modes.includes('ReadWriteOncePod') && others) {
    errors.push(forbiddenField(field, 'may not use ReadWriteOncePod with other access modes'));
  }
  return errors;
}

export function checkPositiveQuantity(value: unknown, field: string): FieldError[] {
  return quantityOf(value).nano <= 0n ? [invalidValue(field, value, 'must be greater than zero')] : [];
}

export function validateClaimSpec(spec: JsonObject, path: string): FieldError[] {
  const modes = `${path}.accessModes`;
  const errors: FieldError[] = [];
  if (stringsAt(spec, 'accessModes').length === 0) {
    errors.push(required(modes, 'at least 1 access mode is required'));
  }
  errors.push(...validateLabelSelector(asObject(spec.selector), `${path}.selector`));
  errors.push(...validateAccessModes(spec, modes));
  const { storage } = objectAt(objectAt(spec, 'resources'), 'requests');
  const size = `${path}.resources[storage]`;
  if (storage === undefined) errors.push(required(size));
  else errors.push(...checkPositiveQuantity(storage, size));
  const named = (field: string): void => {
    const name = stringAt(spec, field);
    if (name !== '') errors.push(...checkName(`${path}.${field}`, name, dnsSubdomain));
  };
  named('storageClassName');
  errors.push(...checkChoice(`${path}.volumeMode`, spec.volumeMode, VOLUME_MODES));
  errors.push(...validateSources(spec, path));
  named('volumeAttributesClassName');
  return errors;
}

/** volumeClaimTemplate of an ephemeral volume. */
export function validateClaimTemplate(template: JsonObject, path: string): FieldError[] {
  const metadata = objectAt(template, 'metadata');
  const others = Object.keys(metadata).filter((field) => field !== 'labels' && field !== 'annotations');
  return [
    ...validateAnnotations(objectAt(metadata, 'annotations'), `${path}.metadata.annotations`),
    ...validateLabels(objectAt(metadata, 'labels'), `${path}.metadata.labels`),
    ...others.map((field) => forbiddenField(`${path}.metadata.${field}`, 'cannot be set')),
    ...validateClaimSpec(objectAt(template, 'spec'), `${path}.spec`),
  ];
}
