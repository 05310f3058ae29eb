import type { Node, Service, ServicePort } from '../../api/types/core-v1.ts';
import type { Endpoint, EndpointSlice } from '../../api/types/discovery-v1.ts';
import type { SharedNode, SharedService, SharedServicePort } from '../../wire/messages.ts';

const DEFAULT_AFFINITY_SECONDS = 10_800;

/** Has the Service an address that nodes have to serve? Not when headless, of type ExternalName, or not yet allocated. */
export function isProgrammed(service: Service): boolean {
  return service.spec?.type !== 'ExternalName' && addressesOf(service).length > 0;
}

function addressesOf({ spec }: Service): string[] {
  const all = spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []);
  return all.filter((ip) => ip !== '' && ip !== 'None');
}

/**
 * What a node needs to serve a Service, or undefined when there is nothing to program. Sorted, so that equal states are equal texts.
 */
export function sharedService(service: Service, slices: readonly EndpointSlice[]): SharedService | undefined {
  const { spec } = service;
  if (!spec || !isProgrammed(service)) return undefined;
  // A load balancer's address reaches the service inside the cluster without leaving it, unless its mode is Proxy.
  const balancers = (service.status?.loadBalancer?.ingress ?? [])
    .filter(({ ip, ipMode }) => ip !== undefined && ipMode !== 'Proxy')
    .map(({ ip }) => ip as string);
  const externalIPs = [...new Set([...(spec.externalIPs ?? []), ...balancers])].sort();
  return {
    v: 1,
    namespace: service.metadata.namespace ?? '',
    name: service.metadata.name ?? '',
    type: spec.type ?? 'ClusterIP',
    clusterIPs: addressesOf(service),
    ...(externalIPs.length === 0 ? {} : { externalIPs }),
    ...(spec.sessionAffinity === 'ClientIP'
      ? {
          sessionAffinitySeconds:
            spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS,
        }
      : {}),
    ...(spec.externalTrafficPolicy === undefined
      ? {}
      : { externalTrafficPolicy: spec.externalTrafficPolicy as 'Cluster' | 'Local' }),
    ...(spec.internalTrafficPolicy === undefined
      ? {}
      : { internalTrafficPolicy: spec.internalTrafficPolicy as 'Cluster' | 'Local' }),
    ports: (spec.ports ?? []).map((port) => sharedPort(port, slices)),
  };
}

function sharedPort(port: ServicePort, slices: readonly EndpointSlice[]): SharedServicePort {
  return {
    name: port.name ?? '',
    protocol: (port.protocol ?? 'TCP') as SharedServicePort['protocol'],
    port: port.port,
    ...(port.nodePort ? { nodePort: port.nodePort } : {}),
    endpoints: endpointsOf(port, slices),
  };
}

/**
 * Ready endpoints; when there is none, those that terminate but still serve (KEP-1669, as kube-proxy since 1.28). The
 * port's number is the slice's: a named target port may differ from pod to pod.
 */
function endpointsOf(port: ServicePort, slices: readonly EndpointSlice[]): SharedServicePort['endpoints'] {
  const ready = new Map<string, SharedServicePort['endpoints'][number]>();
  const leaving = new Map<string, SharedServicePort['endpoints'][number]>();
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue;
    const target = slice.ports?.find(
      (candidate) =>
        (candidate.name ?? '') === (port.name ?? '') &&
        (candidate.protocol ?? 'TCP') === (port.protocol ?? 'TCP') &&
        candidate.port !== undefined,
    );
    if (target?.port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ip = endpoint.addresses[0];
      if (ip === undefined) continue;
      const entry = { ip, port: target.port, node: endpoint.nodeName ?? '' };
      const state = stateOf(endpoint);
      if (state === 'ready') ready.set(`${ip}/${target.port}`, entry);
      else if (state === 'leaving') leaving.set(`${ip}/${target.port}`, entry);
    }
  }
  const chosen = ready.size > 0 ? ready : leaving;
  return [...chosen.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

function stateOf({ conditions }: Endpoint): 'ready' | 'leaving' | 'out' {
  // An absent `ready` is to be read as true, an absent `serving` as `ready`.
  if (conditions?.ready ?? true) return 'ready';
  return conditions?.terminating && conditions.serving ? 'leaving' : 'out';
}

/** A node that others can route to, or undefined while its address or pod range is missing. */
export function sharedNode(node: Node): SharedNode | undefined {
  const internalIP = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  const podCIDR = node.spec?.podCIDR;
  if (!internalIP || !podCIDR) return undefined;
  return { v: 1, name: node.metadata.name ?? '', internalIP, podCIDR };
}
