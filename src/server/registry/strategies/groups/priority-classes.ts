// PriorityClasses. The two system classes are fixed; users stay below a thousand million.
import type { FieldError } from '../../../../api/errors.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  checkChoice,
  forbiddenField,
  isUnset,
  numberAt,
  required,
  stringAt,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import type { Strategy } from '../../strategy.ts';
import { ageCell, nameCell } from '../cells.ts';

const HIGHEST_USER_PRIORITY = 1_000_000_000;
const SYSTEM_CLASSES: Readonly<Record<string, number>> = {
  'system-node-critical': 2_000_001_000,
  'system-cluster-critical': 2_000_000_000,
};

export const priorityClassStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    if (isUnset(object.preemptionPolicy)) object.preemptionPolicy = 'PreemptLowerPriority';
  },
  validate: validateClass,
  validateUpdate: (object, old) => [
    ...((object.value ?? 0) === (old.value ?? 0)
      ? []
      : [forbiddenField('value', 'may not be changed in an update.')]),
    ...checkImmutable('preemptionPolicy', object.preemptionPolicy, old.preemptionPolicy),
  ],
  cells: (object, now) => [
    nameCell(object),
    numberAt(object, 'value') ?? 0,
    object.globalDefault === true,
    ageCell(object, now),
    stringAt(object, 'preemptionPolicy'),
  ],
};

function validateClass(object: JsonObject): FieldError[] {
  const name = nameCell(object);
  const value = numberAt(object, 'value') ?? 0;
  const errors: FieldError[] = [];
  if (name.startsWith('system-')) {
    const wrong = systemClassProblem(name, value, object.globalDefault === true);
    if (wrong !== undefined) {
      errors.push(
        forbiddenField(
          'metadata.name',
          `priority class names with 'system-' prefix are reserved for system use only. error: ${wrong}`,
        ),
      );
    }
  } else if (value > HIGHEST_USER_PRIORITY) {
    errors.push(
      forbiddenField('value', `maximum allowed value of a user defined priority is ${HIGHEST_USER_PRIORITY}`),
    );
  }
  if (isUnset(object.preemptionPolicy)) errors.push(required('preemptionPolicy'));
  errors.push(...checkChoice('preemptionPolicy', object.preemptionPolicy, ['PreemptLowerPriority', 'Never']));
  return errors;
}

function systemClassProblem(name: string, value: number, globalDefault: boolean): string | undefined {
  const fixed = Object.hasOwn(SYSTEM_CLASSES, name) ? SYSTEM_CLASSES[name] : undefined;
  if (fixed === undefined) return `${name} is not a known system priority class`;
  if (value !== fixed) return `value of ${name} PriorityClass must be ${fixed}`;
  return globalDefault ? `globalDefault of ${name} PriorityClass must be false` : undefined;
}
