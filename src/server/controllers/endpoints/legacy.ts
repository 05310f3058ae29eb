import type { EndpointAddress, EndpointSubset, Endpoints, Pod, Service } from '../../../api/types/core-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { canonicalJson } from '../shared/hash.ts';
import { isHeadless, type Target, targetsOf } from './targets.ts';

const HEADLESS = 'service.kubernetes.io/headless';
const MANAGED_BY = 'endpoints.kubernetes.io/managed-by';
const OVER_CAPACITY = 'endpoints.kubernetes.io/over-capacity';
const MOST_ADDRESSES = 1000;

/** The Endpoints object of a Service: what slices were before there were slices, for clients that still read it. */
export function endpointsOf(service: Service, pods: readonly Pod[]): NewObject<Endpoints> {
  const tolerant = service.spec?.publishNotReadyAddresses === true;
  // Terminating pods appear only where unready addresses are wanted anyway.
  const targets = targetsOf(service, pods).filter(({ terminating }) => tolerant || !terminating);
  const groups = new Map<string, EndpointSubset>();
  for (const target of targets.slice(0, MOST_ADDRESSES)) {
    if (target.ports.length === 0 && !isHeadless(service)) continue;
    const key = canonicalJson(target.ports);
    const subset = groups.get(key) ?? { ...(target.ports.length > 0 ? { ports: writtenPorts(target) } : {}) };
    const list = tolerant || target.serving ? 'addresses' : 'notReadyAddresses';
    subset[list] = [...(subset[list] ?? []), addressOf(target)];
    groups.set(key, subset);
  }
  const subsets = [...groups.values()];
  return {
    metadata: {
      name: service.metadata.name ?? '',
      namespace: service.metadata.namespace ?? '',
      labels: {
        ...service.metadata.labels,
        ...(isHeadless(service) ? { [HEADLESS]: '' } : {}),
        [MANAGED_BY]: 'endpoint-controller',
      },
      ...(targets.length > MOST_ADDRESSES ? { annotations: { [OVER_CAPACITY]: 'truncated' } } : {}),
    },
    ...(subsets.length > 0 ? { subsets } : {}),
  };
}

function writtenPorts({ ports }: Target): NonNullable<EndpointSubset['ports']> {
  return ports.map(({ name, ...port }) => (name === '' ? port : { name, ...port }));
}

function addressOf({ pod, hostname }: Target): EndpointAddress {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  return {
    ip: pod.status?.podIP ?? '',
    ...(hostname === undefined ? {} : { hostname }),
    ...(pod.spec?.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}
