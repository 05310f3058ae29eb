// HorizontalPodAutoscalers, in the shape of autoscaling/v2.
import type { FieldError } from '../../../../api/errors.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkNonNegative,
  ensureObject,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import { metricsCell, validateMetric, validateReference } from './autoscaler-metrics.ts';
import { row } from './rows.ts';

const DEFAULT_METRIC = {
  type: 'Resource',
  resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
};
const POLICY_TYPES = ['Percent', 'Pods'];
const SELECT_POLICIES = ['Disabled', 'Max', 'Min'];
const LONGEST_WINDOW = 3600;
const LONGEST_PERIOD = 1800;

export const autoscalerStrategy: Strategy = {
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'minReplicas', 1);
    if (listAt(spec, 'metrics').length === 0) {
      spec.metrics = [
        {
          ...DEFAULT_METRIC,
          resource: { ...DEFAULT_METRIC.resource, target: { ...DEFAULT_METRIC.resource.target } },
        },
      ];
    }
    const behavior = asObject(spec.behavior);
    if (behavior) defaultBehavior(behavior);
  },
  prepareForCreate: (object) => {
    object.status = { desiredReplicas: 0, currentMetrics: null };
  },
  validate: validateAutoscaler,
  validateStatusUpdate: (object) => {
    const status = objectAt(object, 'status');
    return ['currentReplicas', 'desiredReplicas'].flatMap((field) =>
      checkNonNegative(`status.${field}`, status[field]),
    );
  },
  cells: row((object) => {
    const spec = objectAt(object, 'spec');
    const reference = objectAt(spec, 'scaleTargetRef');
    const status = objectAt(object, 'status');
    return [
      `${stringAt(reference, 'kind')}/${stringAt(reference, 'name')}`,
      metricsCell(listAt(spec, 'metrics'), listAt(status, 'currentMetrics')),
      String(spec.minReplicas ?? '<unset>'),
      numberAt(spec, 'maxReplicas') ?? 0,
      numberAt(status, 'currentReplicas') ?? 0,
    ];
  }),
};

function defaultBehavior(behavior: JsonObject): void {
  const up = ensureObject(behavior, 'scaleUp');
  setDefault(up, 'stabilizationWindowSeconds', 0);
  setDefault(up, 'selectPolicy', 'Max');
  setDefault(up, 'policies', [
    { type: 'Pods', value: 4, periodSeconds: 15 },
    { type: 'Percent', value: 100, periodSeconds: 15 },
  ]);
  const down = ensureObject(behavior, 'scaleDown');
  setDefault(down, 'selectPolicy', 'Max');
  setDefault(down, 'policies', [{ type: 'Percent', value: 100, periodSeconds: 15 }]);
}

function validateAutoscaler(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const errors: FieldError[] = [];
  const least = numberAt(spec, 'minReplicas');
  const most = numberAt(spec, 'maxReplicas') ?? 0;
  if (least !== undefined && least < 1) {
    errors.push(invalidValue('spec.minReplicas', least, 'must be greater than or equal to 1'));
  }
  if (most === 0) errors.push(required('spec.maxReplicas', 'must be set and greater than 0'));
  else if (most < 0) errors.push(invalidValue('spec.maxReplicas', most, 'must be greater than 0'));
  if (least !== undefined && most < least) {
    errors.push(invalidValue('spec.maxReplicas', most, 'must be greater than or equal to `minReplicas`'));
  }
  errors.push(...validateReference(objectAt(spec, 'scaleTargetRef'), 'spec.scaleTargetRef'));
  listAt(spec, 'metrics').forEach((metric, index) => {
    errors.push(...validateMetric(metric, `spec.metrics[${index}]`));
  });
  const behavior = asObject(spec.behavior);
  for (const direction of ['scaleUp', 'scaleDown']) {
    const rules = asObject(behavior?.[direction]);
    if (rules) errors.push(...validateRules(rules, `spec.behavior.${direction}`));
  }
  return errors;
}

function validateRules(rules: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const window = numberAt(rules, 'stabilizationWindowSeconds') ?? 0;
  const field = `${path}.stabilizationWindowSeconds`;
  if (window < 0) errors.push(invalidValue(field, window, 'must be greater than or equal to zero'));
  if (window > LONGEST_WINDOW) {
    errors.push(invalidValue(field, window, `must be less than or equal to ${LONGEST_WINDOW}`));
  }
  const select = rules.selectPolicy;
  if (select !== undefined && !SELECT_POLICIES.includes(String(select))) {
    errors.push(notSupported(`${path}.selectPolicy`, select, SELECT_POLICIES));
  }
  const policies = listAt(rules, 'policies');
  if (policies.length === 0) {
    errors.push(required(`${path}.policies`, 'must specify at least one Policy'));
  }
  policies.forEach((policy, index) => {
    const at = `${path}.policies[${index}]`;
    if (!POLICY_TYPES.includes(stringAt(policy, 'type'))) {
      errors.push(notSupported(`${at}.type`, policy.type ?? '', POLICY_TYPES));
    }
    const value = numberAt(policy, 'value') ?? 0;
    if (value <= 0) errors.push(invalidValue(`${at}.value`, value, 'must be greater than zero'));
    const period = numberAt(policy, 'periodSeconds') ?? 0;
    if (period <= 0) errors.push(invalidValue(`${at}.periodSeconds`, period, 'must be greater than zero'));
    if (period > LONGEST_PERIOD) {
      const why = `must be less than or equal to ${LONGEST_PERIOD}`;
      errors.push(invalidValue(`${at}.periodSeconds`, period, why));
    }
  });
  if (typeof rules.tolerance === 'string' && rules.tolerance.startsWith('-')) {
    errors.push(invalidValue(`${path}.tolerance`, rules.tolerance, 'must be greater than or equal to 0'));
  }
  return errors;
}
