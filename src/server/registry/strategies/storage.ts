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
  notSupported,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
  tooLong,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import type { Strategy } from '../strategy.ts';
import { accessModesCell, ageCell, nameCell } from './cells.ts';
import { normaliseSources, validateSources } from './claim-sources.ts';
import { CLASS_ANNOTATION, validateClaimUpdate } from './claim-update.ts';
import { validateLabelSelector, validateNodeSelector } from './label-selector.ts';
import { changes } from './pod-update.ts';
import { validateQuantity } from './resources.ts';
import { validateSource } from './volumes.ts';

const ACCESS_MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
const VOLUME_MODES = ['Block', 'Filesystem'];
const RECLAIM_POLICIES = ['Delete', 'Recycle', 'Retain'];

function validateAccessModes(spec: JsonObject): FieldError[] {
  const modes = stringsAt(spec, 'accessModes');
  if (modes.length === 0) return [required('spec.accessModes', 'at least 1 access mode is required')];
  const errors: FieldError[] = [];
  for (const mode of modes) {
    if (!ACCESS_MODES.includes(mode)) errors.push(notSupported('spec.accessModes', mode, ACCESS_MODES));
  }
  if (modes.includes('ReadWriteOncePod') && modes.length > 1) {
    errors.push(forbiddenField('spec.accessModes', 'may not use ReadWriteOncePod with other access modes'));
  }
  return errors;
}

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
  const errors = validateAccessModes(spec);
  const capacity = objectAt(spec, 'capacity');
  if (Object.keys(capacity).length === 0) errors.push(required('spec.capacity'));
  for (const name of Object.keys(capacity)) {
    if (name !== 'storage') errors.push(notSupported('spec.capacity', name, ['storage']));
    else if (quantityOf(capacity[name]).nano <= 0n) {
      errors.push(invalidValue(`spec.capacity[${name}]`, capacity[name], 'must be greater than zero'));
    }
  }
  errors.push(
    ...checkChoice(
      'spec.persistentVolumeReclaimPolicy',
      spec.persistentVolumeReclaimPolicy,
      RECLAIM_POLICIES,
    ),
  );
  const affinity = asObject(objectAt(spec, 'nodeAffinity').required);
  if (asObject(spec.nodeAffinity) && !affinity) {
    const why = 'must specify required node constraints';
    errors.push(required('spec.nodeAffinity.required', why));
  }
  if (affinity) errors.push(...validateNodeSelector(affinity, 'spec.nodeAffinity.required'));
  let given = 0;
  for (const kind of VOLUME_SOURCES) {
    const source = asObject(spec[kind]);
    if (!source) continue;
    given += 1;
    if (given > 1) errors.push(forbiddenField(`spec.${kind}`, 'may not specify more than 1 volume type'));
    else errors.push(...validateVolumeSource(kind, source, spec));
  }
  if (given === 0) errors.push(required('spec', 'must specify a volume type'));
  const path = stringAt(objectAt(spec, 'hostPath'), 'path');
  if (/^\/+(?:\.?\/*)*$/.test(path) && spec.persistentVolumeReclaimPolicy === 'Recycle') {
    errors.push(
      forbiddenField(
        'spec.persistentVolumeReclaimPolicy',
        "may not be 'recycle' for a hostPath mount of '/'",
      ),
    );
  }
  errors.push(...checkChoice('spec.volumeMode', spec.volumeMode, VOLUME_MODES));
  const storageClass = stringAt(spec, 'storageClassName');
  if (storageClass !== '') errors.push(...checkName('spec.storageClassName', storageClass, dnsSubdomain));
  return errors;
}

function validateVolumeSource(kind: string, source: JsonObject, spec: JsonObject): FieldError[] {
  const path = `spec.${kind}`;
  if (kind === 'local') {
    const errors: FieldError[] = [];
    if (stringAt(source, 'path') === '') errors.push(required(`${path}.path`));
    if (objectAt(spec, 'nodeAffinity').required === undefined) {
      errors.push(required('spec.nodeAffinity', 'Local volume requires node affinity'));
    }
    return errors;
  }
  if (kind === 'csi') {
    const driver = stringAt(source, 'driver');
    return [
      ...(driver === '' ? [required(`${path}.driver`)] : validateDriver(driver, `${path}.driver`)),
      ...(stringAt(source, 'volumeHandle') === '' ? [required(`${path}.volumeHandle`)] : []),
    ];
  }
  return validateSource(kind, source, path);
}

const LONGEST_DRIVER = 63;

function validateDriver(name: string, field: string): FieldError[] {
  const errors = name.length > LONGEST_DRIVER ? [tooLong(field, LONGEST_DRIVER)] : [];
  for (const rule of dnsSubdomain(name.toLowerCase())) errors.push(invalidValue(field, name, rule));
  return errors;
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
  validate: (claim) => {
    const spec = objectAt(claim, 'spec');
    const errors = validateAccessModes(spec);
    errors.push(...validateLabelSelector(asObject(spec.selector), 'spec.selector'));
    const { storage } = objectAt(objectAt(spec, 'resources'), 'requests');
    if (storage === undefined) errors.push(required('spec.resources[storage]'));
    else {
      errors.push(...validateQuantity(storage, 'spec.resources[storage]'));
      if (quantityOf(storage).nano === 0n) {
        errors.push(invalidValue('spec.resources[storage]', storage, 'must be greater than zero'));
      }
    }
    const storageClass = stringAt(spec, 'storageClassName');
    if (storageClass !== '') errors.push(...checkName('spec.storageClassName', storageClass, dnsSubdomain));
    errors.push(...checkChoice('spec.volumeMode', spec.volumeMode, VOLUME_MODES));
    errors.push(...validateSources(spec));
    const attributes = stringAt(spec, 'volumeAttributesClassName');
    if (attributes !== '') {
      errors.push(...checkName('spec.volumeAttributesClassName', attributes, dnsSubdomain));
    }
    return errors;
  },
  validateUpdate: validateClaimUpdate,
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
