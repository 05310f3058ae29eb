// What may change about the addresses of a Service after it was made.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { invalidValue, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';

const ONCE = 'may not change once set';

/** A secondary address may come and go; the first one stays, unless there is none: of aliases and headless Services. */
export function validateServiceUpdate(service: JsonObject, old: JsonObject): FieldError[] {
  const spec = objectAt(service, 'spec');
  const before = objectAt(old, 'spec');
  const errors: FieldError[] = [];
  if (spec.type !== 'ExternalName' && before.type !== 'ExternalName') {
    const headless = isHeadless(spec) && isHeadless(before);
    if (!headless) {
      errors.push(
        ...validateList(spec, before, 'clusterIPs', 'clusterIP'),
        ...validateList(spec, before, 'ipFamilies', 'ipFamily'),
      );
    }
  }
  const balanced = spec.type === 'LoadBalancer' && before.type === 'LoadBalancer';
  if (balanced && spec.loadBalancerClass !== before.loadBalancerClass) {
    errors.push(invalidValue('spec.loadBalancerClass', spec.loadBalancerClass ?? 'null', ONCE));
  }
  const [check, wasCheck] = [spec.healthCheckNodePort, before.healthCheckNodePort];
  if (check !== undefined && wasCheck !== undefined && check !== wasCheck) {
    errors.push(invalidValue('spec.healthCheckNodePort', check, 'field is immutable'));
  }
  return errors;
}

function isHeadless(spec: JsonObject): boolean {
  return stringAt(spec, 'clusterIP') === 'None' || stringsAt(spec, 'clusterIPs')[0] === 'None';
}

function validateList(spec: JsonObject, before: JsonObject, list: string, one: string): FieldError[] {
  const is = stringsAt(spec, list);
  const was = stringsAt(before, list);
  if (is.length === was.length) {
    return was.flatMap((value, index) =>
      is[index] === value ? [] : [invalidValue(`spec.${list}[${index}]`, is, ONCE)],
    );
  }
  const errors: FieldError[] = [];
  if (is.length === 0) errors.push(invalidValue(`spec.${list}[0]`, null, `primary ${one} can not be unset`));
  else if (was.length > 0 && is[0] !== was[0]) errors.push(invalidValue(`spec.${list}[0]`, is, ONCE));
  if (is.length === 1 && was.length > 1 && spec.ipFamilyPolicy !== 'SingleStack') {
    const why = `must be set to 'SingleStack' when releasing the secondary ${one}`;
    errors.push(invalidValue('spec.ipFamilyPolicy', spec.ipFamilyPolicy ?? 'null', why));
  }
  return errors;
}
