import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  ensureObject,
  forbiddenField,
  invalidValue,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { selectorCell } from './cells.ts';
import { defaultTemplate } from './pod-spec.ts';
import { workloadWarnings } from './pod-warnings.ts';
import {
  containerCells,
  emptyStatus,
  nonNegative,
  shownStrategy,
  validateCollisions,
  validateCounts,
  validateParts,
  validateRollingUpdate,
  validateWorkloadSelector,
  validateWorkloadTemplate,
} from './workloads.ts';

export const deploymentStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (deployment) => {
    const spec = ensureObject(deployment, 'spec');
    setDefault(spec, 'replicas', 1);
    const strategy = ensureObject(spec, 'strategy');
    if (stringAt(strategy, 'type') === '') strategy.type = 'RollingUpdate';
    if (strategy.type === 'RollingUpdate') {
      const update = ensureObject(strategy, 'rollingUpdate');
      setDefault(update, 'maxUnavailable', '25%');
      setDefault(update, 'maxSurge', '25%');
    }
    setDefault(spec, 'revisionHistoryLimit', 10);
    setDefault(spec, 'progressDeadlineSeconds', 600);
    defaultTemplate(ensureObject(spec, 'template'));
  },
  prepareForCreate: (deployment) => emptyStatus(deployment),
  prepareForUpdate: (deployment, old) => {
    // Annotations count as a change that controllers must see: rollouts are marked there.
    const metadata = objectAt(deployment, 'metadata');
    const before = objectAt(old, 'metadata');
    if (!jsonEqual(metadata.annotations, before.annotations)) {
      metadata.generation = (numberAt(before, 'generation') ?? 0) + 1;
    }
  },
  prepareForStatusUpdate: (deployment, old) => {
    const metadata = objectAt(deployment, 'metadata');
    const { labels } = objectAt(old, 'metadata');
    if (labels === undefined) delete metadata.labels;
    else metadata.labels = labels;
  },
  validate: validateDeployment,
  validateUpdate: (deployment, old) =>
    checkImmutable('spec.selector', objectAt(deployment, 'spec').selector, objectAt(old, 'spec').selector),
  validateStatusUpdate: (deployment, old) => [
    ...validateCounts(deployment, [
      'observedGeneration',
      'replicas',
      'updatedReplicas',
      'readyReplicas',
      'availableReplicas',
      'unavailableReplicas',
      'terminatingReplicas',
    ]),
    ...validateParts(deployment, ['updatedReplicas', 'readyReplicas', 'availableReplicas'], 'readyReplicas'),
    ...validateCollisions(deployment, old),
  ],
  warnings: (deployment, old) => workloadWarnings(deployment, old, 'spec.template'),
  cells: (deployment, now) => {
    const metadata = objectAt(deployment, 'metadata');
    const spec = objectAt(deployment, 'spec');
    const status = objectAt(deployment, 'status');
    const count = (field: string): number => numberAt(status, field) ?? 0;
    return [
      stringAt(metadata, 'name'),
      `${count('readyReplicas')}/${numberAt(spec, 'replicas') ?? 0}`,
      count('updatedReplicas'),
      count('availableReplicas'),
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(objectAt(spec, 'template')),
      selectorCell(asObject(spec.selector)),
    ];
  },
};

function validateDeployment(deployment: JsonObject): FieldError[] {
  const spec = objectAt(deployment, 'spec');
  const errors = [
    ...nonNegative(spec, 'replicas'),
    ...validateWorkloadSelector(spec, 'deployment'),
    ...validateWorkloadTemplate(spec, { kind: 'ReplicaSet' }),
    ...validateStrategy(objectAt(spec, 'strategy')),
    ...nonNegative(spec, 'minReadySeconds', 'revisionHistoryLimit', 'progressDeadlineSeconds'),
  ];
  const deadline = numberAt(spec, 'progressDeadlineSeconds');
  if (deadline !== undefined && deadline <= (numberAt(spec, 'minReadySeconds') ?? 0)) {
    errors.push(
      invalidValue('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds'),
    );
  }
  return errors;
}

function validateStrategy(strategy: JsonObject): FieldError[] {
  const update = asObject(strategy.rollingUpdate);
  switch (strategy.type) {
    case 'Recreate':
      return update
        ? [
            forbiddenField(
              'spec.strategy.rollingUpdate',
              "may not be specified when strategy `type` is 'Recreate'",
            ),
          ]
        : [];
    case 'RollingUpdate':
      return update
        ? validateRollingUpdate(update, 'spec.strategy.rollingUpdate')
        : [required('spec.strategy.rollingUpdate', 'this should be defaulted and never be nil')];
    default:
      return [notSupported('spec.strategy', shownStrategy(strategy), ['Recreate', 'RollingUpdate'])];
  }
}
