import type { Node, Service, ServicePort } from '../../api/types/core-v1.ts';
import type { Endpoint, EndpointSlice } from '../../api/types/discovery-v1.ts';
import type { SharedEndpoint, SharedNode, SharedService, SharedServicePort } from '../../wire/messages.ts';

const ZONE = 'topology.kubernetes.io/zone';
/** The taint by which an autoscaler of nodes says what it is about to do. */
const TO_BE_DELETED = 'ToBeDeletedByClusterAutoscaler';
const DEFAULT_AFFINITY_SECONDS = 10_800;

/** Has the Service an address or a name that nodes have to serve? Not while its address is not yet allocated. */
export function isShared(service: Service): boolean {
  return isExternalName(service) || isHeadless(service) || addressesOf(service).length > 0;
}

const isExternalName = ({ spec }: Service): boolean => spec?.type === 'ExternalName';
const isHeadless = ({ spec }: Service): boolean => spec?.clusterIP === 'None';

function addressesOf({ spec }: Service): string[] {
  const all = spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []);
  return all.filter((ip) => ip !== '' && ip !== 'None');
}

/**
 * What a node needs to serve a Service, or undefined when there is nothing to serve. Sorted, so that equal states are equal texts.
 */
export function sharedService(service: Service, slices: readonly EndpointSlice[]): SharedService | undefined {
  const { spec } = service;
  if (!spec || !isShared(service)) return undefined;
  const { namespace = '', name = '' } = service.metadata;
  if (isExternalName(service)) {
    const externalName = spec.externalName ?? '';
    return { v: 1, namespace, name, type: 'ExternalName', clusterIPs: [], externalName, ports: [] };
  }
  if (isHeadless(service)) return headlessService(service, slices);
  // A load balancer's address reaches the service inside the cluster without leaving it, unless its mode is Proxy.
  const balancers = (service.status?.loadBalancer?.ingress ?? [])
    .filter(({ ip, ipMode }) => ip !== undefined && ipMode !== 'Proxy')
    .map(({ ip }) => ip as string);
  const externalIPs = [...new Set(spec.externalIPs ?? [])].sort();
  const balancerIPs = [...new Set(balancers)].filter((ip) => !externalIPs.includes(ip)).sort();
  const sourceRanges = (spec.loadBalancerSourceRanges ?? []).map((range) => range.trim()).sort();
  return {
    v: 1,
    namespace,
    name,
    type: spec.type ?? 'ClusterIP',
    clusterIPs: addressesOf(service),
    ...(externalIPs.length === 0 ? {} : { externalIPs }),
    ...(balancerIPs.length === 0 ? {} : { balancerIPs }),
    ...(sourceRanges.length === 0 || spec.type !== 'LoadBalancer' ? {} : { sourceRanges }),
    ...(spec.healthCheckNodePort ? { healthCheckNodePort: spec.healthCheckNodePort } : {}),
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

/** Only its name is served: there is no address to program. */
function headlessService(service: Service, slices: readonly EndpointSlice[]): SharedService {
  const ports = (service.spec?.ports ?? []).map((port): SharedServicePort => {
    const { name = '', protocol = 'TCP' } = port;
    return { name, protocol, port: port.port, endpoints: sorted(candidates(port, slices).ready) };
  });
  const listed = new Set(ports.flatMap(({ endpoints }) => endpoints.map(({ ip }) => ip)));
  const hosts = new Map<string, { ip: string; hostname?: string }>();
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ip = endpoint.addresses[0];
      if (ip !== undefined && !listed.has(ip) && stateOf(endpoint) === 'ready')
        hosts.set(ip, { ip, ...hostnameOf(endpoint) });
    }
  }
  return {
    v: 1,
    namespace: service.metadata.namespace ?? '',
    name: service.metadata.name ?? '',
    type: service.spec?.type ?? 'ClusterIP',
    clusterIPs: [],
    headless: true,
    ...(hosts.size === 0 ? {} : { hosts: sorted(hosts) }),
    ports,
  };
}

const hostnameOf = ({ hostname }: Endpoint): { hostname?: string } => (hostname ? { hostname } : {});

function sorted<T>(entries: ReadonlyMap<string, T>): T[] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
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
 * Ready endpoints and those that terminate but still serve (KEP-1669): a board with the policy Local may have none but
 * the latter while others have ready ones.
 */
function endpointsOf(port: ServicePort, slices: readonly EndpointSlice[]): SharedEndpoint[] {
  const { ready, leaving } = candidates(port, slices);
  const all = new Map<string, SharedEndpoint>();
  for (const [key, endpoint] of leaving) all.set(key, { ...endpoint, leaving: true });
  for (const [key, endpoint] of ready) all.set(key, endpoint);
  return sorted(all);
}

/** By address and port. The port's number is the slice's: a named target port may differ from pod to pod. */
function candidates(
  port: ServicePort,
  slices: readonly EndpointSlice[],
): { ready: Map<string, SharedEndpoint>; leaving: Map<string, SharedEndpoint> } {
  const ready = new Map<string, SharedEndpoint>();
  const leaving = new Map<string, SharedEndpoint>();
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
      const entry = {
        ip,
        port: target.port,
        node: endpoint.nodeName ?? '',
        ...hostnameOf(endpoint),
        ...hintsOf(endpoint),
      };
      const state = stateOf(endpoint);
      if (state === 'ready') ready.set(`${ip}/${target.port}`, entry);
      else if (state === 'leaving') leaving.set(`${ip}/${target.port}`, entry);
    }
  }
  return { ready, leaving };
}

function hintsOf({ hints }: Endpoint): Pick<SharedEndpoint, 'zones' | 'nodes'> {
  const zones = (hints?.forZones ?? []).map(({ name }) => name);
  const nodes = (hints?.forNodes ?? []).map(({ name }) => name);
  return { ...(zones.length === 0 ? {} : { zones }), ...(nodes.length === 0 ? {} : { nodes }) };
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
  const zone = node.metadata.labels?.[ZONE];
  const leaving =
    node.metadata.deletionTimestamp !== undefined ||
    node.spec?.taints?.some(({ key }) => key === TO_BE_DELETED) === true;
  return {
    v: 1,
    name: node.metadata.name ?? '',
    internalIP,
    podCIDR,
    ...(zone ? { zone } : {}),
    ...(leaving ? { leaving } : {}),
  };
}
