// ReplicaSets and ReplicationControllers.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  ensureObject,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { checkImmutable, validateLabels } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { mapCell, selectorCell } from './cells.ts';
import { defaultTemplate, validateTemplate } from './pod-spec.ts';
import { workloadWarnings } from './pod-warnings.ts';
import {
  containerCells,
  copyLabels,
  emptyStatus,
  mismatch,
  nonNegative,
  validateCounts,
  validateParts,
  validateRunsForEver,
  validateWorkloadSelector,
  validateWorkloadTemplate,
} from './workloads.ts';

const COUNTS = [
  'replicas',
  'fullyLabeledReplicas',
  'readyReplicas',
  'availableReplicas',
  'observedGeneration',
];

const PARTS = ['fullyLabeledReplicas', 'readyReplicas', 'availableReplicas'];

function validateStatus(object: JsonObject): FieldError[] {
  return [...validateCounts(object, COUNTS), ...validateParts(object, PARTS, 'readyReplicas')];
}

function cells(selector: (spec: JsonObject) => string): NonNullable<Strategy['cells']> {
  return (object, now) => {
    const metadata = objectAt(object, 'metadata');
    const spec = objectAt(object, 'spec');
    const status = objectAt(object, 'status');
    return [
      stringAt(metadata, 'name'),
      numberAt(spec, 'replicas') ?? 0,
      numberAt(status, 'replicas') ?? 0,
      numberAt(status, 'readyReplicas') ?? 0,
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(objectAt(spec, 'template')),
      selector(spec),
    ];
  };
}

const warnings: Strategy['warnings'] = (object, old) => workloadWarnings(object, old, 'spec.template');

export const replicaSetStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'replicas', 1);
    defaultTemplate(ensureObject(spec, 'template'));
  },
  prepareForCreate: (object) => emptyStatus(object, { replicas: 0 }),
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    return [
      ...nonNegative(spec, 'replicas', 'minReadySeconds'),
      ...validateWorkloadSelector(spec, 'deployment'),
      ...validateWorkloadTemplate(spec, { kind: 'ReplicaSet' }),
    ];
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.selector', objectAt(object, 'spec').selector, objectAt(old, 'spec').selector),
  validateStatusUpdate: validateStatus,
  warnings,
  selectableFields: fieldsAt('status.replicas'),
  cells: cells((spec) => selectorCell(asObject(spec.selector))),
};

export const replicationControllerStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'replicas', 1);
    const template = asObject(spec.template);
    if (!template) return;
    defaultTemplate(template);
    const labels = objectAt(objectAt(template, 'metadata'), 'labels');
    if (Object.keys(labels).length > 0) {
      if (Object.keys(objectAt(spec, 'selector')).length === 0) spec.selector = { ...labels };
      copyLabels(objectAt(template, 'metadata'), ensureObject(object, 'metadata'));
    }
  },
  prepareForCreate: (object) => emptyStatus(object, { replicas: 0 }),
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const selector = objectAt(spec, 'selector');
    const template = asObject(spec.template);
    const errors = nonNegative(spec, 'minReadySeconds');
    if (Object.keys(selector).length === 0) errors.push(required('spec.selector'));
    errors.push(...validateLabels(selector, 'spec.selector'), ...nonNegative(spec, 'replicas'));
    if (!template) return [...errors, required('spec.template')];
    const labels = objectAt(objectAt(template, 'metadata'), 'labels');
    if (Object.keys(selector).some((key) => labels[key] !== selector[key])) errors.push(mismatch(labels));
    errors.push(...validateTemplate(template, 'spec.template'));
    errors.push(...validateRunsForEver(objectAt(template, 'spec'), 'ReplicationController'));
    return errors;
  },
  validateStatusUpdate: validateStatus,
  warnings,
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: fieldsAt('status.replicas'),
  cells: cells((spec) => mapCell(asObject(spec.selector))),
};
