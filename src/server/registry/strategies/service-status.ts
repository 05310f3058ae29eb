// The status of a Service: where its load balancer is reached.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  checkChoice,
  checkName,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  stringAt,
} from '../../../api/validation.ts';
import { IP_RULE, isIp } from './addresses.ts';

export function validateBalancer(service: JsonObject): FieldError[] {
  const path = 'status.loadBalancer.ingress';
  const ingresses = listAt(objectAt(objectAt(service, 'status'), 'loadBalancer'), 'ingress');
  if (ingresses.length > 0 && objectAt(service, 'spec').type !== 'LoadBalancer') {
    return [forbiddenField(path, "may only be used when `spec.type` is 'LoadBalancer'")];
  }
  return ingresses.flatMap((ingress, index) => {
    const at = `${path}[${index}]`;
    const ip = stringAt(ingress, 'ip');
    const hostname = stringAt(ingress, 'hostname');
    const errors: FieldError[] = [];
    if (ip !== '' && !isIp(ip)) errors.push(invalidValue(`${at}.ip`, ip, IP_RULE));
    if (ip === '' && ingress.ipMode !== undefined) {
      errors.push(forbiddenField(`${at}.ipMode`, 'may not be specified when `ip` is not set'));
    } else errors.push(...checkChoice(`${at}.ipMode`, ingress.ipMode, ['Proxy', 'VIP']));
    if (hostname === '') return errors;
    errors.push(...checkName(`${at}.hostname`, hostname, dnsSubdomain));
    if (isIp(hostname)) {
      errors.push(invalidValue(`${at}.hostname`, hostname, 'must be a DNS name, not an IP address'));
    }
    return errors;
  });
}
