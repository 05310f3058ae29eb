// Namespaces and Nodes.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  checkName,
  duplicate,
  ensureObject,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { fieldsAt, flagAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { CIDR_RULE, isCidr } from './addresses.ts';
import { validateTaints } from './affinity.ts';
import { ageCell, nameCell } from './cells.ts';
import { validateAmount } from './resources.ts';

const NAME_LABEL = 'kubernetes.io/metadata.name';

function labelWithName(namespace: JsonObject): void {
  const metadata = ensureObject(namespace, 'metadata');
  const name = stringAt(metadata, 'name');
  if (name !== '') metadata.labels = { ...objectAt(metadata, 'labels'), [NAME_LABEL]: name };
}

export const namespaceStrategy: Strategy = {
  nameRule: 'dns-label',
  applyDefaults: labelWithName,
  prepareForCreate: (namespace) => {
    labelWithName(namespace);
    namespace.status = { phase: 'Active' };
    const spec = ensureObject(namespace, 'spec');
    const finalizers = stringsAt(spec, 'finalizers');
    if (!finalizers.includes('kubernetes')) spec.finalizers = [...finalizers, 'kubernetes'];
  },
  prepareForUpdate: (namespace, old) => {
    // Only /finalize touches the finalizers of the spec.
    namespace.spec = objectAt(old, 'spec');
  },
  prepareForStatusUpdate: () => {},
  validateStatusUpdate: (namespace) => {
    const phase = stringAt(objectAt(namespace, 'status'), 'phase');
    const lives = objectAt(namespace, 'metadata').deletionTimestamp === undefined;
    if (phase === (lives ? 'Active' : 'Terminating')) return [];
    const why = lives
      ? "may only be 'Active' if `deletionTimestamp` is empty"
      : "may only be 'Terminating' if `deletionTimestamp` is not empty";
    return [invalidValue('status.Phase', phase, why)];
  },
  validateCreate: (namespace) => validateFinalizers(namespace, () => 'spec.finalizers'),
  // Of /finalize; every other change carries the old ones.
  validateUpdate: (namespace) => validateFinalizers(namespace, (index) => `spec.finalizers[${index}]`),
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: fieldsAt('status.phase'),
  cells: (namespace, now) => [
    nameCell(namespace),
    stringAt(objectAt(namespace, 'status'), 'phase'),
    ageCell(namespace, now),
  ],
};

function validateFinalizers(namespace: JsonObject, at: (index: number) => string): FieldError[] {
  return stringsAt(objectAt(namespace, 'spec'), 'finalizers').flatMap((finalizer, index) => {
    const path = at(index);
    const errors = checkName(path, finalizer, qualifiedName);
    if (!finalizer.includes('/') && finalizer !== 'kubernetes') {
      const why = 'name is neither a standard finalizer name nor is it fully qualified';
      errors.push(invalidValue(path, finalizer, why));
    }
    return errors;
  });
}

const ROLE_PREFIX = 'node-role.kubernetes.io/';
const ROLE_LABEL = 'kubernetes.io/role';

export const nodeStrategy: Strategy = {
  applyDefaults: (node) => {
    const status = ensureObject(node, 'status');
    if (status.capacity !== undefined) setDefault(status, 'allocatable', status.capacity);
    joinPodCidrs(objectAt(node, 'spec'));
  },
  prepareForCreate: (node) => dropConfigSource(node, undefined),
  prepareForUpdate: dropConfigSource,
  validate: (node): FieldError[] => {
    const spec = objectAt(node, 'spec');
    // Kubernetes names the path so.
    const errors = validateTaints(listAt(spec, 'taints'), 'metadata.taints');
    errors.push(...validateNodeResources(node));
    stringsAt(spec, 'podCIDRs').forEach((cidr, index) => {
      if (!isCidr(cidr)) errors.push(invalidValue(`spec.podCIDRs[${index}]`, cidr, CIDR_RULE));
    });
    return errors;
  },
  validateUpdate: (node, old): FieldError[] => {
    const spec = objectAt(node, 'spec');
    const before = objectAt(old, 'spec');
    const errors: FieldError[] = [];
    // Given once, by whoever hands out the ranges.
    const ranges = stringsAt(before, 'podCIDRs');
    if (ranges.length > 0 && !jsonEqual(spec.podCIDRs ?? [], ranges)) {
      const why = 'node updates may not change podCIDR except from "" to valid';
      errors.push(forbiddenField('spec.podCIDRs', why));
    }
    if (stringAt(before, 'providerID') !== '' && spec.providerID !== before.providerID) {
      const why = 'node updates may not change providerID except from "" to valid';
      errors.push(forbiddenField('spec.providerID', why));
    }
    return errors;
  },
  validateStatusUpdate: (node) => {
    const seen = new Set<string>();
    const errors = validateNodeResources(node);
    listAt(objectAt(node, 'status'), 'addresses').forEach(({ type, address }, index) => {
      const shown = { Type: type ?? '', Address: address ?? '' };
      const key = JSON.stringify(shown);
      if (seen.has(key)) errors.push(duplicate(`status.addresses[${index}]`, shown));
      seen.add(key);
    });
    return errors;
  },
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: { 'spec.unschedulable': flagAt('spec.unschedulable') },
  cells: (node, now) => {
    const status = objectAt(node, 'status');
    const info = objectAt(status, 'nodeInfo');
    const address = (type: string): string =>
      stringAt(
        listAt(status, 'addresses').find((entry) => entry.type === type),
        'address',
      ) || '<none>';
    const architecture = stringAt(info, 'architecture');
    const kernel = stringAt(info, 'kernelVersion');
    return [
      nameCell(node),
      nodeState(node),
      nodeRoles(node),
      ageCell(node, now),
      stringAt(info, 'kubeletVersion'),
      address('InternalIP'),
      address('ExternalIP'),
      stringAt(info, 'osImage') || '<unknown>',
      kernel === '' ? '<unknown>' : architecture === '' ? kernel : `${kernel} (${architecture})`,
      stringAt(info, 'containerRuntimeVersion') || '<unknown>',
    ];
  },
};

function validateNodeResources(node: JsonObject): FieldError[] {
  return ['capacity', 'allocatable'].flatMap((field) => {
    const amounts = objectAt(objectAt(node, 'status'), field);
    return Object.keys(amounts).flatMap((name) =>
      validateAmount(name, amounts[name], `status.${field}.${name}`),
    );
  });
}

/** podCIDR is the first of podCIDRs; where the two differ, old kubelets' podCIDR counts. */
function joinPodCidrs(spec: JsonObject): void {
  const one = stringAt(spec, 'podCIDR');
  const all = stringsAt(spec, 'podCIDRs');
  if (one !== '' && all[0] !== one) spec.podCIDRs = [one];
  else if (one === '' && all[0] !== undefined) spec.podCIDR = all[0];
}

/** Dynamic kubelet configuration is gone: a node that still names one may keep it, none may begin to. */
function dropConfigSource(node: JsonObject, old: JsonObject | undefined): void {
  if (objectAt(old, 'spec').configSource !== undefined) return;
  delete objectAt(node, 'spec').configSource;
}

function nodeState(node: JsonObject): string {
  const ready = listAt(objectAt(node, 'status'), 'conditions').find(({ type }) => type === 'Ready');
  // Kubernetes prints Unknown for a node without the condition; NotReady for any state but True.
  const state = ready ? (ready.status === 'True' ? 'Ready' : 'NotReady') : 'Unknown';
  return objectAt(node, 'spec').unschedulable === true ? `${state},SchedulingDisabled` : state;
}

function nodeRoles(node: JsonObject): string {
  const labels = objectAt(objectAt(node, 'metadata'), 'labels');
  const roles = new Set<string>();
  for (const key of Object.keys(labels)) {
    if (key.startsWith(ROLE_PREFIX) && key !== ROLE_PREFIX) roles.add(key.slice(ROLE_PREFIX.length));
    else if (key === ROLE_LABEL && labels[key] !== '') roles.add(String(labels[key]));
  }
  return roles.size === 0 ? '<none>' : [...roles].sort().join(',');
}
