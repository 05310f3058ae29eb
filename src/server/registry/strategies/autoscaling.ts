// HorizontalPodAutoscalers, in the shape of autoscaling/v2.
import type { FieldError } from '../../../api/errors.ts';
import { pathSegment } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  ensureObject,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import type { Strategy } from '../strategy.ts';
import { ageCell, nameCell } from './cells.ts';

const METRIC_TYPES = ['ContainerResource', 'External', 'Object', 'Pods', 'Resource'];
const DEFAULT_UTILIZATION = 80;
const SOURCES: Readonly<Record<string, string>> = {
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
  ContainerResource: 'containerResource',
  External: 'external',
};

export const autoscalerStrategy: Strategy = {
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'minReplicas', 1);
    if (listAt(spec, 'metrics').length === 0) {
      spec.metrics = [
        {
          type: 'Resource',
          resource: {
            name: 'cpu',
            target: { type: 'Utilization', averageUtilization: DEFAULT_UTILIZATION },
          },
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
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const reference = objectAt(spec, 'scaleTargetRef');
    const status = objectAt(object, 'status');
    return [
      nameCell(object),
      `${reference.kind}/${reference.name}`,
      metricsCell(listAt(spec, 'metrics'), listAt(status, 'currentMetrics')),
      spec.minReplicas === undefined ? '<unset>' : String(spec.minReplicas),
      numberAt(spec, 'maxReplicas') ?? 0,
      numberAt(status, 'currentReplicas') ?? 0,
      ageCell(object, now),
    ];
  },
};

function metricsCell(metrics: JsonObject[], current: JsonObject[]): string {
  if (metrics.length === 0) return '<none>';
  const shown = metrics.slice(0, 2).map((metric, index) => metricCell(metric, current[index]));
  return metrics.length > 2 ? `${shown.join(', ')} + ${metrics.length - 2} more...` : shown.join(', ');
}

function metricCell(metric: JsonObject, current: JsonObject | undefined): string {
  const source = objectAt(metric, SOURCES[stringAt(metric, 'type')] ?? '');
  const target = objectAt(source, 'target');
  const measured = objectAt(objectAt(current, SOURCES[stringAt(metric, 'type')] ?? ''), 'current');
  const label = stringAt(source, 'name') === '' ? '' : `${source.name}: `;
  if (target.averageUtilization !== undefined) {
    const is = measured.averageUtilization === undefined ? '<unknown>' : `${measured.averageUtilization}%`;
    return `${label}${is}/${target.averageUtilization}%`;
  }
  if (target.averageValue !== undefined) {
    return `${label}${measured.averageValue ?? '<unknown>'}/${target.averageValue}${label === '' && metric.type !== 'Pods' ? ' (avg)' : ''}`;
  }
  return `${label}${measured.value ?? '<unknown>'}/${target.value ?? '<auto>'}`;
}

function defaultBehavior(behavior: JsonObject): void {
  const up = ensureObject(behavior, 'scaleUp');
  setDefault(up, 'stabilizationWindowSeconds', 0);
  setDefault(up, 'selectPolicy', 'Max');
  if (listAt(up, 'policies').length === 0) {
    up.policies = [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ];
  }
  const down = ensureObject(behavior, 'scaleDown');
  setDefault(down, 'selectPolicy', 'Max');
  if (listAt(down, 'policies').length === 0) {
    down.policies = [{ type: 'Percent', value: 100, periodSeconds: 15 }];
  }
}

function validateAutoscaler(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const errors: FieldError[] = [];
  const least = numberAt(spec, 'minReplicas') ?? 1;
  const most = numberAt(spec, 'maxReplicas') ?? 0;
  if (least < 1) errors.push(invalidValue('spec.minReplicas', least, 'must be greater than or equal to 1'));
  if (most < 1) errors.push(required('spec.maxReplicas', 'must be set and greater than 0'));
  if (most < least) {
    errors.push(invalidValue('spec.maxReplicas', most, 'must be greater than or equal to `minReplicas`'));
  }
  const reference = objectAt(spec, 'scaleTargetRef');
  for (const field of ['kind', 'name']) {
    const value = stringAt(reference, field);
    const path = `spec.scaleTargetRef.${field}`;
    if (value === '') errors.push(required(path));
    else errors.push(...checkName(path, value, pathSegment));
  }
  const apiVersion = stringAt(reference, 'apiVersion');
  // ReplicationControllers are the one scalable kind of the core group.
  if (!apiVersion.includes('/') && reference.kind !== 'ReplicationController') {
    errors.push(
      invalidValue('spec.scaleTargetRef.apiVersion', apiVersion, 'apiVersion must specify API group'),
    );
  }
  listAt(spec, 'metrics').forEach((metric, index) => {
    errors.push(...validateMetric(metric, `spec.metrics[${index}]`));
  });
  const behavior = asObject(spec.behavior);
  if (behavior) {
    for (const direction of ['scaleUp', 'scaleDown']) {
      errors.push(...validateRules(objectAt(behavior, direction), `spec.behavior.${direction}`));
    }
  }
  return errors;
}

function validateMetric(metric: JsonObject, path: string): FieldError[] {
  const type = stringAt(metric, 'type');
  if (type === '') return [required(`${path}.type`, 'must specify a metric source type')];
  const errors: FieldError[] = [];
  const known = METRIC_TYPES.includes(type);
  if (!known) errors.push(notSupported(`${path}.type`, type, METRIC_TYPES));
  const expected = SOURCES[type];
  for (const [kind, field] of Object.entries(SOURCES)) {
    if (metric[field] !== undefined && kind !== type) {
      errors.push(forbiddenField(`${path}.${field}`, 'must populate the given metric source only'));
    }
  }
  if (!known || expected === undefined) return errors;
  const source = asObject(metric[expected]);
  if (!source) {
    return [
      ...errors,
      required(`${path}.${expected}`, 'must populate information for the given metric source'),
    ];
  }
  const target = objectAt(source, 'target');
  if (type === 'Resource' || type === 'ContainerResource') {
    if (stringAt(source, 'name') === '')
      errors.push(required(`${path}.${expected}.name`, 'must specify a resource name'));
    if (target.averageUtilization === undefined && target.averageValue === undefined) {
      errors.push(
        required(
          `${path}.${expected}.target.averageUtilization`,
          'must set either a target raw value or a target utilization',
        ),
      );
    }
    const utilization = numberAt(target, 'averageUtilization');
    if (utilization !== undefined && utilization < 1) {
      errors.push(
        invalidValue(`${path}.${expected}.target.averageUtilization`, utilization, 'must be greater than 0'),
      );
    }
  } else {
    if (stringAt(objectAt(source, 'metric'), 'name') === '') {
      errors.push(required(`${path}.${expected}.metric.name`));
    }
    if (target.value === undefined && target.averageValue === undefined) {
      errors.push(
        required(
          `${path}.${expected}.target.averageValue`,
          type === 'Pods'
            ? 'must specify a positive target averageValue'
            : 'must set either a target value for metric or a per-pod target',
        ),
      );
    }
  }
  errors.push(
    ...checkChoice(`${path}.${expected}.target.type`, target.type, ['AverageValue', 'Utilization', 'Value']),
  );
  return errors;
}

const LONGEST_WINDOW = 3600;
const LONGEST_PERIOD = 1800;

function validateRules(rules: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const window = numberAt(rules, 'stabilizationWindowSeconds');
  if (window !== undefined && window < 0) {
    errors.push(
      invalidValue(`${path}.stabilizationWindowSeconds`, window, 'must be greater than or equal to zero'),
    );
  }
  if (window !== undefined && window > LONGEST_WINDOW) {
    errors.push(
      invalidValue(
        `${path}.stabilizationWindowSeconds`,
        window,
        `must be less than or equal to ${LONGEST_WINDOW}`,
      ),
    );
  }
  errors.push(...checkChoice(`${path}.selectPolicy`, rules.selectPolicy, ['Disabled', 'Max', 'Min']));
  listAt(rules, 'policies').forEach((policy, index) => {
    const at = `${path}.policies[${index}]`;
    errors.push(...checkChoice(`${at}.type`, policy.type, ['Percent', 'Pods']));
    if ((numberAt(policy, 'value') ?? 0) <= 0) {
      errors.push(invalidValue(`${at}.value`, policy.value ?? 0, 'must be greater than zero'));
    }
    const period = numberAt(policy, 'periodSeconds') ?? 0;
    if (period <= 0) errors.push(invalidValue(`${at}.periodSeconds`, period, 'must be greater than zero'));
    if (period > LONGEST_PERIOD) {
      errors.push(
        invalidValue(`${at}.periodSeconds`, period, `must be less than or equal to ${LONGEST_PERIOD}`),
      );
    }
  });
  return errors;
}
