// What the status of a pod may say.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { checkName, duplicate, invalidValue, listAt, objectAt, stringAt } from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { IP_RULE, isIp, isIpv4 } from './addresses.ts';

const OWN_CONDITIONS = ['PodScheduled', 'Ready', 'Initialized'];

export function validatePodStatus(pod: JsonObject, old: JsonObject): FieldError[] {
  const status = objectAt(pod, 'status');
  const before = objectAt(old, 'status');
  const errors: FieldError[] = [];
  listAt(status, 'conditions').forEach((condition, index) => {
    const type = stringAt(condition, 'type');
    // Kubernetes names the path so.
    if (!OWN_CONDITIONS.includes(type)) {
      errors.push(...checkName(`metadata.conditions[${index}].Type`, type, qualifiedName));
    }
  });
  const nominated = stringAt(status, 'nominatedNodeName');
  if (nominated !== '' && nominated !== before.nominatedNodeName) {
    errors.push(...checkName('status.nominatedNodeName', nominated, dnsSubdomain));
  }
  errors.push(...checkImmutable('status.qosClass', status.qosClass, before.qosClass, ''));
  const claims = listAt(objectAt(pod, 'spec'), 'resourceClaims').map(({ name }) => name);
  listAt(status, 'resourceClaimStatuses').forEach(({ name }, index) => {
    if (claims.includes(name)) return;
    const why = 'must match the name of an entry in `spec.resourceClaims`';
    errors.push(invalidValue(`status.resourceClaimStatuses[${index}].name`, name ?? '', why));
  });
  errors.push(...validateIps(listAt(status, 'podIPs'), 'status.podIPs'));
  const hostIps = listAt(status, 'hostIPs');
  if (hostIps.length > 0 && stringAt(status, 'hostIP') !== stringAt(hostIps[0], 'ip')) {
    errors.push(
      invalidValue('status.hostIPs[0].ip', stringAt(hostIps[0], 'ip'), 'must be equal to `hostIP`'),
    );
  }
  errors.push(...validateIps(hostIps, 'status.hostIPs'));
  return errors;
}

function validateIps(list: JsonObject[], field: string): FieldError[] {
  const ips = list.map((entry) => stringAt(entry, 'ip'));
  const errors = ips.flatMap((ip, index) =>
    isIp(ip) ? [] : [invalidValue(`${field}[${index}]`, ip, IP_RULE)],
  );
  if (ips.length < 2 || errors.length > 0) return errors;
  if (ips.length > 2 || isIpv4(ips[0] ?? '') === isIpv4(ips[1] ?? '')) {
    const shown = ips.map((ip) => ({ IP: ip }));
    errors.push(invalidValue(field, shown, 'may specify no more than one IP for each IP family'));
    if (field === 'status.podIPs') {
      ips.forEach((ip, index) => {
        if (ips.indexOf(ip) < index) errors.push(duplicate(`${field}[${index}]`, ip));
      });
    }
  }
  return errors;
}

/** podIP is the first of podIPs; where the two differ, podIP counts. */
export function joinPodIps(pod: JsonObject): void {
  const status = objectAt(pod, 'status');
  const one = stringAt(status, 'podIP');
  const first = stringAt(listAt(status, 'podIPs')[0], 'ip');
  if (one !== '' && first !== one) status.podIPs = [{ ip: one }];
  else if (one === '' && first !== '') status.podIP = first;
}
