// metadata: the rules that hold for every object, on creation and on change.
import type { FieldError } from './errors.ts';
import {
  dns1035Label,
  dnsLabel,
  dnsSubdomain,
  labelValue,
  type NameCheck,
  pathSegment,
  qualifiedName,
} from './names.ts';
import type { Json, JsonObject } from './object.ts';
import { jsonEqual } from './patch-json.ts';
import {
  checkName,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
  tooLong,
} from './validation.ts';

export type NameRule = 'dns-subdomain' | 'dns-label' | 'dns-1035-label' | 'path-segment';

export const NAME_CHECKS: Readonly<Record<NameRule, NameCheck>> = {
  'dns-subdomain': dnsSubdomain,
  'dns-label': dnsLabel,
  'dns-1035-label': dns1035Label,
  'path-segment': pathSegment,
};

const MOST_ANNOTATION_BYTES = 256 * 1024;
const STANDARD_FINALIZERS = new Set(['kubernetes', 'orphan', 'foregroundDeletion']);

export function validateMeta(
  metadata: JsonObject,
  options: {
    namespaced: boolean;
    nameCheck: NameCheck;
    path?: string;
    /** Kinds that Kubernetes' core does not define take finalizers without a path as well. */
    anyFinalizer?: boolean | undefined;
  },
): FieldError[] {
  const path = options.path ?? 'metadata';
  const errors: FieldError[] = [];
  const generateName = stringAt(metadata, 'generateName');
  if (generateName !== '') {
    // The name will go on, so it may end in a dash.
    const sample = generateName.endsWith('-') ? `${generateName.slice(0, -1)}a` : generateName;
    errors.push(
      ...options.nameCheck(sample).map((rule) => invalidValue(`${path}.generateName`, generateName, rule)),
    );
  }
  const name = stringAt(metadata, 'name');
  if (name === '') errors.push(required(`${path}.name`, 'name or generateName is required'));
  else errors.push(...checkName(`${path}.name`, name, options.nameCheck));
  const namespace = stringAt(metadata, 'namespace');
  if (options.namespaced) {
    if (namespace === '') errors.push(required(`${path}.namespace`));
    else errors.push(...checkName(`${path}.namespace`, namespace, dnsLabel));
  } else if (namespace !== '') {
    errors.push(forbiddenField(`${path}.namespace`, 'not allowed on this type'));
  }
  errors.push(...validateLabels(objectAt(metadata, 'labels'), `${path}.labels`));
  errors.push(...validateAnnotations(objectAt(metadata, 'annotations'), `${path}.annotations`));
  errors.push(...validateOwners(listAt(metadata, 'ownerReferences'), `${path}.ownerReferences`));
  const finalizers = stringsAt(metadata, 'finalizers');
  errors.push(...validateFinalizers(finalizers, `${path}.finalizers`, options.anyFinalizer ?? false));
  return errors;
}

export function validateLabels(labels: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key of Object.keys(labels).sort()) {
    errors.push(...checkName(field, key, qualifiedName));
    errors.push(...checkName(field, String(labels[key]), labelValue));
  }
  return errors;
}

export function validateAnnotations(annotations: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const key of Object.keys(annotations)) {
    for (const rule of qualifiedName(key.toLowerCase())) errors.push(invalidValue(field, key, rule));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(String(annotations[key]));
  }
  if (bytes > MOST_ANNOTATION_BYTES) errors.push(tooLong(field, MOST_ANNOTATION_BYTES));
  return errors;
}

function validateOwners(owners: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  let controller: JsonObject | undefined;
  for (const owner of owners) {
    const apiVersion = stringAt(owner, 'apiVersion');
    if (!/^[^/]+(?:\/[^/]+)?$/.test(apiVersion)) {
      errors.push(invalidValue(`${field}.apiVersion`, apiVersion, 'version must not be empty'));
    }
    for (const part of ['kind', 'name', 'uid']) {
      if (stringAt(owner, part) === '') {
        errors.push(invalidValue(`${field}.${part}`, stringAt(owner, part), 'must not be empty'));
      }
    }
    if (owner.apiVersion === 'v1' && owner.kind === 'Event') {
      errors.push(invalidValue(field, owner, `/v1, Kind=Event is disallowed from being an owner`));
    }
    if (owner.controller === true) {
      if (controller) {
        const both = `${controller.kind}/${controller.name} and ${owner.kind}/${owner.name}`;
        errors.push(
          invalidValue(
            field,
            owners,
            `Only one reference can have Controller set to true. Found "true" in references for ${both}`,
          ),
        );
      }
      controller = owner;
    }
  }
  return errors;
}

function validateFinalizers(finalizers: string[], field: string, any: boolean): FieldError[] {
  const errors: FieldError[] = [];
  finalizers.forEach((finalizer, index) => {
    const at = `${field}[${index}]`;
    errors.push(...checkName(at, finalizer, qualifiedName));
    if (!any && !finalizer.includes('/') && !STANDARD_FINALIZERS.has(finalizer)) {
      errors.push(
        invalidValue(at, finalizer, 'name is neither a standard finalizer name nor is it fully qualified'),
      );
    }
  });
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion')) {
    errors.push(
      invalidValue(field, finalizers, 'finalizer orphan and foregroundDeletion cannot be both set'),
    );
  }
  return errors;
}

/** What may not change about metadata. `old` and `next` are the metadata of both states. */
export function validateMetaUpdate(next: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  if (old.deletionTimestamp !== undefined) {
    const before = new Set(stringsAt(old, 'finalizers'));
    const added = stringsAt(next, 'finalizers').filter((finalizer) => !before.has(finalizer));
    if (added.length > 0) {
      const list = added.map((finalizer) => JSON.stringify(finalizer)).join(', ');
      errors.push(
        forbiddenField(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
        ),
      );
    }
  }
  for (const field of IMMUTABLE) errors.push(...checkImmutable(`metadata.${field}`, next[field], old[field]));
  return errors;
}

const IMMUTABLE = [
  'name',
  'namespace',
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
];

/** `unset` is what an absent value is shown as: Go prints a pointer as "null", a list or map as null. */
export function checkImmutable(
  field: string,
  next: Json | undefined,
  old: Json | undefined,
  unset: Json = 'null',
): FieldError[] {
  return jsonEqual(next ?? null, old ?? null)
    ? []
    : [invalidValue(field, next ?? unset, 'field is immutable')];
}
