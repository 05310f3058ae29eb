// PodDisruptionBudgets.
import type { FieldError } from '../../../../api/errors.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkIntOrPercent,
  checkNonNegative,
  checkNotMoreThanHundred,
  invalidValue,
  numberAt,
  objectAt,
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import { validateLabelSelector } from '../label-selector.ts';
import { row } from './rows.ts';

const COUNTS = ['disruptionsAllowed', 'currentHealthy', 'desiredHealthy', 'expectedPods'];
const EVICTION_POLICIES = ['AlwaysAllow', 'IfHealthyBudget'];

export const disruptionBudgetStrategy: Strategy = {
  hasGeneration: true,
  requireResourceVersionOnUpdate: true,
  prepareForCreate: (budget) => {
    budget.status = Object.fromEntries(COUNTS.map((field) => [field, 0]));
  },
  validate: validateBudget,
  validateStatusUpdate: (budget) =>
    COUNTS.flatMap((field) => checkNonNegative(`status.${field}`, objectAt(budget, 'status')[field])),
  cells: row((budget) => {
    const { minAvailable, maxUnavailable } = objectAt(budget, 'spec');
    return [
      String(minAvailable ?? 'N/A'),
      String(maxUnavailable ?? 'N/A'),
      numberAt(objectAt(budget, 'status'), 'disruptionsAllowed') ?? 0,
    ];
  }),
};

function validateBudget(budget: JsonObject): FieldError[] {
  const spec = objectAt(budget, 'spec');
  const errors: FieldError[] = [];
  if (spec.minAvailable !== undefined && spec.maxUnavailable !== undefined) {
    // Kubernetes prints the internal struct.
    const printed = {
      MinAvailable: spec.minAvailable,
      Selector: spec.selector ?? null,
      MaxUnavailable: spec.maxUnavailable,
      UnhealthyPodEvictionPolicy: spec.unhealthyPodEvictionPolicy ?? null,
    };
    errors.push(invalidValue('spec', printed, 'minAvailable and maxUnavailable cannot be both set'));
  }
  for (const field of ['minAvailable', 'maxUnavailable']) {
    errors.push(...checkIntOrPercent(`spec.${field}`, spec[field]));
    errors.push(...checkNotMoreThanHundred(`spec.${field}`, spec[field]));
  }
  errors.push(...validateLabelSelector(asObject(spec.selector), 'spec.selector'));
  errors.push(
    ...checkChoice('spec.unhealthyPodEvictionPolicy', spec.unhealthyPodEvictionPolicy, EVICTION_POLICIES),
  );
  return errors;
}
