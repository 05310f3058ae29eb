// PersistentVolumes and PersistentVolumeClaims.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain } from '../../../api/names.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { quantityOf } from '../../../api/quantity.ts';
import {
  asObject,
  checkChoice,
  checkName,
  ensureObject,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import type { Strategy } from '../strategy.ts';
import { accessModesCell, ageCell, nameCell } from './cells.ts';
import { normaliseSources } from './claim-sources.ts';
import { checkPositiveQuantity, VOLUME_MODES, validateAccessModes, validateClaimSpec } from './claim-spec.ts';
import { CLASS_ANNOTATION, validateClaimUpdate } from './claim-update.ts';
import { validateNodeSelector } from './label-selector.ts';
import { validateNoBacksteps } from './mounts.ts';
import { changes } from './pod-update.ts';
import { fractionalBytes, goneVolumes, nodeTermWarnings } from './pod-warnings.ts';
import {
  validateDriverName,
  validateSecretReference,
  validateSource,
  validateSources,
} from './volume-sources.ts';

const RECLAIM_POLICIES = ['Delete', 'Recycle', 'Retain'];

export const persistentVolumeStrategy: Strategy = {
  returnsDeleted: true,
  applyDefaults: (volume) => {
    const spec = ensureObject(volume, 'spec');
    if (isUnset(spec.persistentVolumeReclaimPolicy)) spec.persistentVolumeReclaimPolicy = 'Retain';
    setDefault(spec, 'volumeMode', 'Filesystem');
    const hostPath = asObject(spec.hostPath);
    if (hostPath) setDefault(hostPath, 'type', '');
    const status = ensureObject(volume, 'status');
    if (isUnset(status.phase)) status.phase = 'Pending';
  },
  prepareForCreate: (volume) => {
    volume.status = { phase: 'Pending' };
  },
  validate: validateVolume,
  warnings: volumeWarnings,
  validateUpdate: (volume, old) => {
    const spec = objectAt(volume, 'spec');
    const before = objectAt(old, 'spec');
    const errors: FieldError[] = [];
    const was = sourcesOf(before);
    const is = sourcesOf(spec);
    // The secret for growing a volume may be named later.
    if (is.csi && was.csi && objectAt(was, 'csi').controllerExpandSecretRef === undefined) {
      const { controllerExpandSecretRef: _named, ...csi } = objectAt(is, 'csi');
      is.csi = csi;
    }
    if (!jsonEqual(is, was)) {
      const why = `spec.persistentvolumesource is immutable after creation\n${changes(is, was)}`;
      errors.push(forbiddenField('spec.persistentvolumesource', why));
    }
    // Kubernetes leaves `spec.` away from these two.
    errors.push(...checkImmutable('volumeMode', spec.volumeMode, before.volumeMode));
    if (before.nodeAffinity !== undefined) {
      errors.push(...checkImmutable('nodeAffinity', spec.nodeAffinity, before.nodeAffinity));
    }
    if (before.volumeAttributesClassName !== undefined && spec.volumeAttributesClassName === undefined) {
      const why = 'update from non-nil value to nil is forbidden';
      errors.push(forbiddenField('spec.volumeAttributesClassName', why));
    }
    return errors;
  },
  cells: (volume, now) => {
    const spec = objectAt(volume, 'spec');
    const status = objectAt(volume, 'status');
    const claim = asObject(spec.claimRef);
    const metadata = objectAt(volume, 'metadata');
    return [
      nameCell(volume),
      String(objectAt(spec, 'capacity').storage ?? ''),
      accessModesCell(stringsAt(spec, 'accessModes')),
      stringAt(spec, 'persistentVolumeReclaimPolicy'),
      metadata.deletionTimestamp === undefined ? stringAt(status, 'phase') : 'Terminating',
      claim ? `${stringAt(claim, 'namespace')}/${stringAt(claim, 'name')}` : '',
      stringAt(objectAt(metadata, 'annotations'), CLASS_ANNOTATION) || stringAt(spec, 'storageClassName'),
      stringAt(spec, 'volumeAttributesClassName') || '<unset>',
      stringAt(status, 'reason'),
      ageCell(volume, now),
      stringAt(spec, 'volumeMode') || '<unset>',
    ];
  },
};

const VOLUME_SOURCES = [
  'hostPath',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'glusterfs',
  'flocker',
  'nfs',
  'rbd',
  'quobyte',
  'cephfs',
  'iscsi',
  'cinder',
  'fc',
  'flexVolume',
  'azureFile',
  'vsphereVolume',
  'photonPersistentDisk',
  'portworxVolume',
  'azureDisk',
  'scaleIO',
  'local',
  'storageos',
  'csi',
];

/** The sources that a volume names; one, if it is valid. */
function sourcesOf(spec: JsonObject): JsonObject {
  const kinds = VOLUME_SOURCES.filter((kind) => spec[kind] !== undefined);
  return Object.fromEntries(kinds.map((kind) => [kind, spec[kind] as Json]));
}

function validateVolume(volume: JsonObject): FieldError[] {
  const spec = objectAt(volume, 'spec');
  const modes = stringsAt(spec, 'accessModes').length === 0 ? [required('spec.accessModes')] : [];
  const errors = [
    ...modes,
    ...validateAccessModes(spec, 'spec.accessModes'),
    ...validateCapacity(objectAt(spec, 'capacity')),
  ];
  const policy = 'spec.persistentVolumeReclaimPolicy';
  errors.push(...checkChoice(policy, spec.persistentVolumeReclaimPolicy, RECLAIM_POLICIES));
  const affinity = asObject(spec.nodeAffinity);
  const demanded = asObject(affinity?.required);
  if (demanded) errors.push(...validateNodeSelector(demanded, 'spec.nodeAffinity.required'));
  else if (affinity) {
    errors.push(required('spec.nodeAffinity.required', 'must specify required node constraints'));
  }
  errors.push(
    ...validateSources(VOLUME_SOURCES, spec, 'spec', (kind, source, path) =>
      validateVolumeSource(kind, source, path, affinity !== undefined),
    ),
  );
  const path = stringAt(objectAt(spec, 'hostPath'), 'path');
  if (/^\/+(?:\.?\/*)*$/.test(path) && spec.persistentVolumeReclaimPolicy === 'Recycle') {
    errors.push(forbiddenField(policy, "may not be 'recycle' for a hostPath mount of '/'"));
  }
  const storageClass = stringAt(spec, 'storageClassName');
  if (storageClass !== '') errors.push(...checkName('spec.storageClassName', storageClass, dnsSubdomain));
  errors.push(...checkChoice('spec.volumeMode', spec.volumeMode, VOLUME_MODES));
  return [...errors, ...validateAttributesClass(spec)];
}

function volumeWarnings(volume: JsonObject): string[] {
  const spec = objectAt(volume, 'spec');
  const affinity = 'spec.nodeAffinity.required.nodeSelectorTerms';
  const terms = listAt(objectAt(objectAt(spec, 'nodeAffinity'), 'required'), 'nodeSelectorTerms');
  return [
    ...classWarnings(volume),
    ...(spec.persistentVolumeReclaimPolicy === 'Recycle' ? [RECYCLED] : []),
    ...terms.flatMap((term, index) => nodeTermWarnings(term, `${affinity}[${index}]`)),
    ...goneVolumes(spec, 'spec', GONE),
  ];
}

/** Of these Kubernetes says so, in this order. */
const GONE = ['cephfs', 'photonPersistentDisk', 'scaleIO', 'storageos', 'glusterfs', 'rbd'];
const RECYCLED =
  'spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.';

function classWarnings(object: JsonObject): string[] {
  return objectAt(objectAt(object, 'metadata'), 'annotations')[CLASS_ANNOTATION] === undefined
    ? []
    : [
        `metadata.annotations[${CLASS_ANNOTATION}]: deprecated since v1.8; use "storageClassName" attribute instead`,
      ];
}

function validateCapacity(capacity: JsonObject): FieldError[] {
  const names = Object.keys(capacity);
  const errors: FieldError[] = [];
  if (names.length === 0) errors.push(required('spec.capacity'));
  if (names.length !== 1 || capacity.storage === undefined) {
    const value = names.length === 0 ? undefined : capacity;
    errors.push(notSupported('spec.capacity', value, ['storage']));
  }
  for (const name of names) {
    const field = `spec.capacity[${name}]`;
    if (quantityOf(capacity[name]).nano < 0n) {
      const whole = Number(quantityOf(capacity[name]).nano / 1_000_000_000n);
      errors.push(invalidValue(field, whole, 'must be a valid resource quantity'));
    }
    errors.push(...checkPositiveQuantity(capacity[name], field));
  }
  return errors;
}

function validateAttributesClass(spec: JsonObject): FieldError[] {
  const name = spec.volumeAttributesClassName;
  if (typeof name !== 'string') return [];
  const field = 'spec.volumeAttributesClassName';
  const csi = 'has to be specified when using volumeAttributesClassName';
  return [
    ...(name === ''
      ? [required(field, 'an empty string is disallowed')]
      : checkName(field, name, dnsSubdomain)),
    ...(spec.csi === undefined ? [required('spec.csi', csi)] : []),
  ];
}

const CSI_SECRETS = [
  'controllerPublishSecretRef',
  'controllerExpandSecretRef',
  'nodePublishSecretRef',
  'nodeExpandSecretRef',
];

function validateVolumeSource(kind: string, source: JsonObject, path: string, placed: boolean): FieldError[] {
  if (kind === 'local') {
    const local = stringAt(source, 'path');
    const where = `${path}.path`;
    return [
      ...(local === '' ? [required(where)] : validateNoBacksteps(local, where)),
      ...(placed ? [] : [required('spec.nodeAffinity', 'Local volume requires node affinity')]),
    ];
  }
  if (kind === 'csi') {
    return [
      ...validateDriverName(stringAt(source, 'driver'), `${path}.driver`),
      ...(stringAt(source, 'volumeHandle') === '' ? [required(`${path}.volumeHandle`)] : []),
      ...CSI_SECRETS.flatMap((field) => validateSecretReference(source, field, path)),
    ];
  }
  return validateSource(kind, source, path);
}

export const claimStrategy: Strategy = {
  returnsDeleted: true,
  applyDefaults: (claim) => {
    setDefault(ensureObject(claim, 'spec'), 'volumeMode', 'Filesystem');
    const status = ensureObject(claim, 'status');
    if (isUnset(status.phase)) status.phase = 'Pending';
  },
  prepareForCreate: (claim) => {
    normaliseSources(objectAt(claim, 'spec'));
    claim.status = { phase: 'Pending' };
  },
  validate: (claim) => validateClaimSpec(objectAt(claim, 'spec'), 'spec'),
  validateUpdate: validateClaimUpdate,
  warnings: (claim) => {
    const { storage } = objectAt(objectAt(objectAt(claim, 'spec'), 'resources'), 'requests');
    return [...classWarnings(claim), ...fractionalBytes(storage, 'spec.resources.requests[storage]')];
  },
  cells: (claim, now) => {
    const spec = objectAt(claim, 'spec');
    const status = objectAt(claim, 'status');
    const metadata = objectAt(claim, 'metadata');
    const bound = stringAt(spec, 'volumeName') !== '';
    return [
      nameCell(claim),
      metadata.deletionTimestamp === undefined ? stringAt(status, 'phase') : 'Terminating',
      stringAt(spec, 'volumeName'),
      bound ? String(objectAt(status, 'capacity').storage ?? '') : '',
      bound ? accessModesCell(stringsAt(status, 'accessModes')) : '',
      stringAt(objectAt(metadata, 'annotations'), CLASS_ANNOTATION) || stringAt(spec, 'storageClassName'),
      stringAt(spec, 'volumeAttributesClassName') || '<unset>',
      ageCell(claim, now),
      stringAt(spec, 'volumeMode') || '<unset>',
    ];
  },
};
