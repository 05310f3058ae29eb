import type { Pod, Service } from '../../../api/types/core-v1.ts';
import type {
  Endpoint,
  EndpointHints,
  EndpointPort,
  EndpointSlice,
} from '../../../api/types/discovery-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { sameJson } from '../../../lib/equal.ts';
import { canonicalJson } from '../shared/hash.ts';
import { controllerRef } from '../shared/ownership.ts';
import { isHeadless, type Target, targetsOf } from './targets.ts';

export const SERVICE_NAME = 'kubernetes.io/service-name';
export const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
export const MANAGER = 'endpointslice-controller.k8s.io';
const HEADLESS = 'service.kubernetes.io/headless';
const MOST_ENDPOINTS = 100;
/** Values of trafficDistribution; `PreferClose` is the old name of `PreferSameZone`. */
const DISTRIBUTIONS: ReadonlySet<string> = new Set(['PreferClose', 'PreferSameNode', 'PreferSameZone']);

type AddressType = 'IPv4' | 'IPv6';

export interface SlicePlan {
  create: NewObject<EndpointSlice>[];
  update: EndpointSlice[];
  remove: EndpointSlice[];
}

interface Group {
  addressType: AddressType;
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

/**
 * The changes that make a Service's slices say what its pods are. Endpoints stay in the slice where they are; new ones
 * fill slices that have room; a slice holds one address type, one set of ports and at most 100 endpoints. A Service
 * without pods keeps one empty slice.
 */
export function planSlices(input: {
  service: Service;
  pods: readonly Pod[];
  /** The Service's slices that this controller manages. */
  slices: readonly EndpointSlice[];
  zoneOf: (node: string) => string | undefined;
}): SlicePlan {
  const { service } = input;
  const plan: SlicePlan = { create: [], update: [], remove: [] };
  const left = new Set(input.slices.filter(({ metadata }) => metadata.deletionTimestamp === undefined));
  for (const group of groupsOf(service, input.pods, input.zoneOf)) {
    const own = [...left].filter(
      (slice) => slice.addressType === group.addressType && samePorts(slice.ports ?? [], group.ports),
    );
    for (const slice of own) left.delete(slice);
    planGroup(service, group, own, plan);
  }
  plan.remove.push(...left);
  return plan;
}

function planGroup(service: Service, group: Group, slices: readonly EndpointSlice[], plan: SlicePlan): void {
  const missing = new Map(group.endpoints.map((endpoint) => [identity(endpoint), endpoint]));
  const kept = slices.map((slice) => {
    const endpoints = (slice.endpoints ?? []).flatMap((endpoint) => {
      const wanted = missing.get(identity(endpoint));
      missing.delete(identity(endpoint));
      return wanted ?? [];
    });
    return { slice, endpoints };
  });
  const rest = [...missing.values()];
  // The fullest first, so that slices stay few.
  const byRoom = [...kept].sort((a, b) => b.endpoints.length - a.endpoints.length);
  for (const { endpoints } of byRoom) endpoints.push(...rest.splice(0, MOST_ENDPOINTS - endpoints.length));
  // An empty slice goes when another one stands for the Service.
  let standing =
    kept.filter(({ endpoints }) => endpoints.length > 0).length + Math.ceil(rest.length / MOST_ENDPOINTS);
  for (const { slice, endpoints } of kept) {
    if (endpoints.length === 0 && standing > 0) {
      plan.remove.push(slice);
      continue;
    }
    if (endpoints.length === 0) standing = 1;
    const next = {
      ...slice,
      endpoints,
      metadata: { ...slice.metadata, labels: labelsFor(service, slice.metadata.labels) },
    };
    if (
      !sameJson(next.endpoints, slice.endpoints ?? []) ||
      !sameJson(next.metadata.labels, slice.metadata.labels)
    ) {
      plan.update.push(next);
    }
  }
  while (rest.length > 0 || standing === 0) {
    standing = Math.max(1, standing);
    plan.create.push({
      metadata: {
        generateName: `${service.metadata.name}-`,
        namespace: service.metadata.namespace ?? '',
        labels: labelsFor(service, {}),
        ownerReferences: [controllerRef(service)],
      },
      addressType: group.addressType,
      endpoints: rest.splice(0, MOST_ENDPOINTS),
      ports: group.ports,
    });
  }
}

/** Endpoints by address type and ports; at least one group for each address type. */
function groupsOf(
  service: Service,
  pods: readonly Pod[],
  zoneOf: (node: string) => string | undefined,
): Group[] {
  const groups: Group[] = [];
  for (const addressType of addressTypes(service)) {
    const byPorts = new Map<string, Group>();
    for (const target of targetsOf(service, pods)) {
      const address = addressOf(target.pod, addressType);
      if (address === undefined) continue;
      const key = canonicalJson(target.ports);
      let group = byPorts.get(key);
      if (!group) {
        group = { addressType, ports: target.ports, endpoints: [] };
        byPorts.set(key, group);
      }
      group.endpoints.push(endpointOf(service, target, address, zoneOf));
    }
    if (byPorts.size === 0) groups.push({ addressType, ports: [], endpoints: [] });
    groups.push(...byPorts.values());
  }
  return groups;
}

function addressTypes({ spec }: Service): AddressType[] {
  const families = (spec?.ipFamilies ?? []).filter((family): family is AddressType => family !== '');
  return families.length > 0 ? families : ['IPv4'];
}

function addressOf({ status }: Pod, type: AddressType): string | undefined {
  const addresses = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP ?? ''];
  return addresses.find((ip) => ip !== '' && ip.includes(':') === (type === 'IPv6'));
}

function endpointOf(
  service: Service,
  { pod, serving, terminating, hostname }: Target,
  address: string,
  zoneOf: (node: string) => string | undefined,
): Endpoint {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  const nodeName = pod.spec?.nodeName;
  const zone = nodeName && zoneOf(nodeName);
  const ready = Boolean(service.spec?.publishNotReadyAddresses) || (serving && !terminating);
  const hints = ready ? hintsFor(service.spec?.trafficDistribution, zone, nodeName) : undefined;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(hints ? { hints } : {}),
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}

/** Who an endpoint is meant for; clients elsewhere use it when they have none of their own. */
function hintsFor(
  distribution: string | undefined,
  zone: string | undefined,
  node: string | undefined,
): EndpointHints | undefined {
  if (distribution === undefined || !DISTRIBUTIONS.has(distribution)) return undefined;
  const hints: EndpointHints = {
    ...(zone ? { forZones: [{ name: zone }] } : {}),
    ...(node && distribution === 'PreferSameNode' ? { forNodes: [{ name: node }] } : {}),
  };
  return hints.forZones || hints.forNodes ? hints : undefined;
}

const identity = (endpoint: Endpoint): string => `${endpoint.targetRef?.uid}/${endpoint.addresses[0]}`;

function samePorts(a: readonly EndpointPort[], b: readonly EndpointPort[]): boolean {
  const order = (ports: readonly EndpointPort[]): string[] => ports.map(canonicalJson).sort();
  return sameJson(order(a), order(b));
}

/** The Service's labels, and our own; foreign ones on the slice stay. */
function labelsFor(service: Service, current: Record<string, string> | undefined): Record<string, string> {
  const { [HEADLESS]: _headless, ...labels } = { ...current, ...service.metadata.labels };
  return {
    ...labels,
    ...(isHeadless(service) ? { [HEADLESS]: '' } : {}),
    [MANAGED_BY]: MANAGER,
    [SERVICE_NAME]: service.metadata.name ?? '',
  };
}
