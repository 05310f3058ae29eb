// What Kubernetes warns of in Services.
import type { JsonObject } from '../../../api/object.ts';
import { objectAt, stringAt, stringsAt } from '../../../api/validation.ts';
import { cidrWarnings } from './groups/cidrs.ts';

const TOPOLOGY_HINTS = 'service.kubernetes.io/topology-aware-hints';
const TOPOLOGY_MODE = 'service.kubernetes.io/topology-mode';

export function serviceWarnings(service: JsonObject): string[] {
  const spec = objectAt(service, 'spec');
  const warnings: string[] = [];
  const annotations = objectAt(objectAt(service, 'metadata'), 'annotations');
  if (annotations[TOPOLOGY_HINTS] !== undefined) {
    warnings.push(`annotation ${TOPOLOGY_HINTS} is deprecated, please use ${TOPOLOGY_MODE} instead`);
  }
  const external = stringsAt(spec, 'externalIPs').length > 0;
  if (spec.type === 'ClusterIP' && spec.clusterIP === 'None') {
    const ignored = (field: string): string => `spec.${field} is ignored for headless services`;
    if (stringAt(spec, 'loadBalancerIP') !== '') warnings.push(ignored('loadBalancerIP'));
    if (external) warnings.push(ignored('externalIPs'));
    if (spec.sessionAffinity !== 'None') warnings.push(ignored('SessionAffinity'));
  } else if (external && spec.type !== 'ExternalName') {
    warnings.push('spec.externalIPs is deprecated and may no longer be implemented in some clusters');
  }
  stringsAt(spec, 'loadBalancerSourceRanges').forEach((range, index) => {
    warnings.push(...cidrWarnings(range, `spec.loadBalancerSourceRanges[${index}]`));
  });
  if (external && spec.type === 'ExternalName') {
    warnings.push('spec.externalIPs is ignored when spec.type is "ExternalName"');
  }
  if (spec.type !== 'ExternalName' && stringAt(spec, 'externalName') !== '') {
    warnings.push('spec.externalName is ignored when spec.type is not "ExternalName"');
  }
  if (spec.trafficDistribution === 'PreferClose') {
    warnings.push('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"');
  }
  return warnings;
}
