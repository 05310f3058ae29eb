// What an autoscaler measures: the metrics of its spec, their rules and how tables show them.
import type { FieldError } from '../../../../api/errors.ts';
import { pathSegment } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import { quantityOf } from '../../../../api/quantity.ts';
import {
  asObject,
  checkName,
  forbiddenField,
  invalidValue,
  notSupported,
  numberAt,
  objectAt,
  required,
  stringAt,
} from '../../../../api/validation.ts';

/** The type of a metric and the field that describes it. */
const SOURCES: Readonly<Record<string, string>> = {
  ContainerResource: 'containerResource',
  External: 'external',
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
};
const TYPES = Object.keys(SOURCES);
/** The order in which Kubernetes looks at the sources. */
const ORDER = ['Object', 'External', 'Pods', 'Resource', 'ContainerResource'];
const TARGET_TYPES = ['Utilization', 'Value', 'AverageValue'];
const SHOWN = 2;

export function metricsCell(metrics: JsonObject[], current: JsonObject[]): string {
  if (metrics.length === 0) return '<none>';
  const shown = metrics.slice(0, SHOWN).map((metric, index) => metricCell(metric, current[index]));
  const text = shown.join(', ');
  return metrics.length > SHOWN ? `${text} + ${metrics.length - SHOWN} more...` : text;
}

function metricCell(metric: JsonObject, measured: JsonObject | undefined): string {
  const type = stringAt(metric, 'type');
  const field = Object.hasOwn(SOURCES, type) ? SOURCES[type] : undefined;
  if (field === undefined) return '<unknown type>';
  const source = objectAt(metric, field);
  const target = objectAt(source, 'target');
  const current = objectAt(objectAt(measured, field), 'current');
  const pair = (of: string, unit = '', absent = ''): string => {
    const is = current[of] === undefined ? '<unknown>' : `${current[of]}${unit}`;
    return `${is}/${target[of] === undefined ? absent : `${target[of]}${unit}`}`;
  };
  if (type === 'Resource' || type === 'ContainerResource') {
    const text =
      target.averageValue === undefined ? pair('averageUtilization', '%', '<auto>') : pair('averageValue');
    return `${stringAt(source, 'name')}: ${text}`;
  }
  if (type === 'Pods') return pair('averageValue');
  return target.averageValue === undefined ? pair('value') : `${pair('averageValue')} (avg)`;
}

/** Of an object by kind, name and group version. */
export function validateReference(reference: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['kind', 'name']) {
    const value = stringAt(reference, field);
    if (value === '') errors.push(required(`${path}.${field}`));
    else errors.push(...checkName(`${path}.${field}`, value, pathSegment));
  }
  const apiVersion = stringAt(reference, 'apiVersion');
  const parts = apiVersion.split('/');
  if (parts.length > 2) {
    const why = `unexpected GroupVersion string: ${apiVersion}`;
    errors.push(invalidValue(`${path}.apiVersion`, apiVersion, why));
  } else if ((parts.length < 2 || parts[0] === '') && reference.kind !== 'ReplicationController') {
    // ReplicationControllers are the one scalable kind of the core group.
    errors.push(invalidValue(`${path}.apiVersion`, apiVersion, 'apiVersion must specify API group'));
  }
  return errors;
}

export function validateMetric(metric: JsonObject, path: string): FieldError[] {
  const type = stringAt(metric, 'type');
  const expected = Object.hasOwn(SOURCES, type) ? SOURCES[type] : undefined;
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(`${path}.type`, 'must specify a metric source type'));
  // Kubernetes looks at the type twice, and says so twice.
  if (expected === undefined) errors.push(notSupported(`${path}.type`, type, TYPES));
  const present = ORDER.filter((one) => asObject(metric[SOURCES[one] as string]));
  const [first] = present;
  if (first !== undefined) errors.push(...validateSource(first, metric, path));
  if (expected === undefined) errors.push(notSupported(`${path}.type`, type, TYPES));
  else if (!asObject(metric[expected])) {
    errors.push(required(`${path}.${expected}`, 'must populate information for the given metric source'));
  }
  if (present.length > 1) {
    for (const other of present) {
      if (other === type) continue;
      const why = 'must populate the given metric source only';
      errors.push(forbiddenField(`${path}.${SOURCES[other]}`, why));
    }
  }
  return errors;
}

function validateSource(type: string, metric: JsonObject, path: string): FieldError[] {
  const at = `${path}.${SOURCES[type]}`;
  const source = objectAt(metric, SOURCES[type] as string);
  const target = objectAt(source, 'target');
  const errors: FieldError[] = [];
  if (type === 'Object') {
    errors.push(...validateReference(objectAt(source, 'describedObject'), `${at}.describedObject`));
  }
  if (type === 'Resource' || type === 'ContainerResource') {
    if (stringAt(source, 'name') === '') errors.push(required(`${at}.name`, 'must specify a resource name'));
    if (type === 'ContainerResource' && stringAt(source, 'container') === '') {
      errors.push(required(`${at}.container`, 'must specify a container'));
    }
  } else errors.push(...validateIdentifier(objectAt(source, 'metric'), `${at}.metric`));
  return [
    ...errors,
    ...validateTarget(target, `${at}.target`),
    ...validateChoice(type, target, `${at}.target`),
  ];
}

/** Which of the target's values this type needs, and which exclude each other. */
function validateChoice(type: string, target: JsonObject, path: string): FieldError[] {
  const { value, averageValue, averageUtilization } = target;
  switch (type) {
    case 'Pods':
      return averageValue === undefined || quantityOf(averageValue).nano <= 0n
        ? [required(`${path}.averageValue`, 'must specify a positive target averageValue')]
        : [];
    case 'Object':
    case 'External':
      if (value === undefined && averageValue === undefined) {
        const why = 'must set either a target value for metric or a per-pod target';
        return [required(`${path}.averageValue`, why)];
      }
      return type === 'External' && value !== undefined && averageValue !== undefined
        ? [forbiddenField(`${path}.value`, 'may not set both a target value for metric and a per-pod target')]
        : [];
    default:
      if (averageUtilization === undefined && averageValue === undefined) {
        const why = 'must set either a target raw value or a target utilization';
        return [required(`${path}.averageUtilization`, why)];
      }
      return averageUtilization !== undefined && averageValue !== undefined
        ? [
            forbiddenField(
              `${path}.averageValue`,
              'may not set both a target raw value and a target utilization',
            ),
          ]
        : [];
  }
}

function validateTarget(target: JsonObject, path: string): FieldError[] {
  const type = stringAt(target, 'type');
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(`${path}.type`, 'must specify a metric target type'));
  if (!TARGET_TYPES.includes(type)) {
    errors.push(invalidValue(`${path}.type`, type, 'must be either Utilization, Value, or AverageValue'));
  }
  for (const field of ['value', 'averageValue']) {
    if (target[field] !== undefined && quantityOf(target[field]).nano <= 0n) {
      errors.push(invalidValue(`${path}.${field}`, target[field], 'must be positive'));
    }
  }
  const utilization = numberAt(target, 'averageUtilization');
  if (utilization !== undefined && utilization < 1) {
    errors.push(invalidValue(`${path}.averageUtilization`, utilization, 'must be greater than 0'));
  }
  return errors;
}

function validateIdentifier(identifier: JsonObject, path: string): FieldError[] {
  const name = stringAt(identifier, 'name');
  return name === ''
    ? [required(`${path}.name`, 'must specify a metric name')]
    : checkName(`${path}.name`, name, pathSegment);
}
