import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  checkIntOrPercent,
  checkNotMoreThanHundred,
  ensureObject,
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
import { mapCell, selectorCell } from './cells.ts';
import { isEmptySelector, safeMatcher, validateLabelSelector } from './label-selector.ts';
import { defaultTemplate, validateTemplate } from './pod-spec.ts';
import { workloadWarnings } from './pod-warnings.ts';
import {
  amount,
  containerCells,
  emptyStatus,
  mismatch,
  nonNegative,
  shownStrategy,
  validateCollisions,
  validateCounts,
  validateRunsForEver,
} from './workloads.ts';

/** A field of the type's first version that lives on as an annotation. */
const TEMPLATE_GENERATION = 'deprecated.daemonset.template.generation';
const COUNTS = [
  'currentNumberScheduled',
  'numberMisscheduled',
  'desiredNumberScheduled',
  'numberReady',
  'observedGeneration',
  'updatedNumberScheduled',
  'numberAvailable',
  'numberUnavailable',
];

export const daemonSetStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    const strategy = ensureObject(spec, 'updateStrategy');
    if (stringAt(strategy, 'type') === '') strategy.type = 'RollingUpdate';
    if (strategy.type === 'RollingUpdate') {
      const update = ensureObject(strategy, 'rollingUpdate');
      setDefault(update, 'maxUnavailable', 1);
      setDefault(update, 'maxSurge', 0);
    }
    setDefault(spec, 'revisionHistoryLimit', 10);
    defaultTemplate(ensureObject(spec, 'template'));
  },
  prepareForCreate: (object) => {
    emptyStatus(object, {
      currentNumberScheduled: 0,
      numberMisscheduled: 0,
      desiredNumberScheduled: 0,
      numberReady: 0,
    });
    setTemplateGeneration(object, '1');
  },
  prepareForUpdate: (object, old) => {
    const before = String(objectAt(objectAt(old, 'metadata'), 'annotations')[TEMPLATE_GENERATION] ?? '1');
    const changed = !jsonEqual(objectAt(object, 'spec').template, objectAt(old, 'spec').template);
    setTemplateGeneration(object, changed ? String(Number(before) + 1) : before);
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    return [
      ...validateSelector(spec),
      ...validateTemplate(objectAt(spec, 'template'), 'spec.template'),
      ...validateRunsForEver(objectAt(objectAt(spec, 'template'), 'spec'), 'DaemonSet'),
      ...nonNegative(spec, 'minReadySeconds'),
      ...validateUpdateStrategy(objectAt(spec, 'updateStrategy')),
      ...nonNegative(spec, 'revisionHistoryLimit'),
    ];
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.selector', objectAt(object, 'spec').selector, objectAt(old, 'spec').selector),
  validateStatusUpdate: (object, old) => [
    ...validateCounts(object, COUNTS),
    ...validateCollisions(object, old),
  ],
  warnings: (object, old) => workloadWarnings(object, old, 'spec.template', false),
  cells: (object, now) => {
    const metadata = objectAt(object, 'metadata');
    const spec = objectAt(object, 'spec');
    const status = objectAt(object, 'status');
    const count = (field: string): number => numberAt(status, field) ?? 0;
    const template = objectAt(spec, 'template');
    return [
      stringAt(metadata, 'name'),
      count('desiredNumberScheduled'),
      count('currentNumberScheduled'),
      count('numberReady'),
      count('updatedNumberScheduled'),
      count('numberAvailable'),
      mapCell(asObject(objectAt(template, 'spec').nodeSelector)),
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(template),
      selectorCell(asObject(spec.selector)),
    ];
  },
};

function setTemplateGeneration(object: JsonObject, value: string): void {
  const metadata = ensureObject(object, 'metadata');
  metadata.annotations = { ...objectAt(metadata, 'annotations'), [TEMPLATE_GENERATION]: value };
}

/** Without one, nothing matches; that is all that Kubernetes says of it. */
function validateSelector(spec: JsonObject): FieldError[] {
  const selector = asObject(spec.selector);
  const errors = validateLabelSelector(selector, 'spec.selector');
  const labels = objectAt(objectAt(objectAt(spec, 'template'), 'metadata'), 'labels');
  const matches = selector ? safeMatcher(selector) : () => false;
  if (matches && !matches(labels as Record<string, string>)) errors.push(mismatch(labels));
  if (selector && isEmptySelector(selector)) {
    errors.push(invalidValue('spec.selector', selector, 'empty selector is invalid for daemonset'));
  }
  return errors;
}

function validateUpdateStrategy(strategy: JsonObject): FieldError[] {
  const path = 'spec.updateStrategy';
  if (strategy.type === 'OnDelete') return [];
  if (strategy.type !== 'RollingUpdate') {
    return [notSupported(path, shownStrategy(strategy), ['RollingUpdate', 'OnDelete'])];
  }
  const update = asObject(strategy.rollingUpdate);
  if (!update) return [required(`${path}.rollingUpdate`)];
  const { maxUnavailable, maxSurge } = update;
  const unavailableSet = amount(maxUnavailable) !== 0;
  const surgeSet = amount(maxSurge) !== 0;
  const errors = [
    ...checkIntOrPercent(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable),
    ...checkNotMoreThanHundred(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable),
    ...checkIntOrPercent(`${path}.rollingUpdate.maxSurge`, maxSurge),
    ...checkNotMoreThanHundred(`${path}.rollingUpdate.maxSurge`, maxSurge),
  ];
  if (unavailableSet && surgeSet) {
    errors.push(
      invalidValue(
        `${path}.rollingUpdate.maxSurge`,
        maxSurge,
        'may not be set when maxUnavailable is non-zero',
      ),
    );
  } else if (!unavailableSet && !surgeSet) {
    errors.push(required(`${path}.rollingUpdate.maxUnavailable`, 'cannot be 0 when maxSurge is 0'));
  }
  return errors;
}
