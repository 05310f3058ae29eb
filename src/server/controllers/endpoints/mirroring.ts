import { isIPv4, isIPv6 } from 'node:net';
import { ENDPOINT_SLICES, ENDPOINTS, SERVICES } from '../../../api/kinds.ts';
import { keyOf, splitKey } from '../../../api/object.ts';
import type { EndpointAddress, EndpointSubset, Endpoints, Service } from '../../../api/types/core-v1.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '../../../api/types/discovery-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { canonicalJson } from '../shared/hash.ts';
import { controllerRef } from '../shared/ownership.ts';
import { MANAGED_BY, SERVICE_NAME } from './slices.ts';

const MIRROR_MANAGER = 'endpointslicemirroring-controller.k8s.io';
const SKIP = 'endpointslice.kubernetes.io/skip-mirror';
const LEADER = 'control-plane.alpha.kubernetes.io/leader';
const HEADLESS = 'service.kubernetes.io/headless';
/** Not the user's to hand on. */
const OWN_ANNOTATIONS = [
  'kubectl.kubernetes.io/last-applied-configuration',
  'endpoints.kubernetes.io/last-change-trigger-time',
];
/** Of one subset; more are not mirrored. */
const MOST_ADDRESSES = 1000;
const MOST_ENDPOINTS = 100;
const SERVICE_INDEX = 'mirrored';

type AddressType = 'IPv4' | 'IPv6';

/** EndpointSlices of Services without a selector, from the Endpoints that somebody keeps for them by hand. */
export function endpointSliceMirroringController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const services = informers.of(SERVICES);
  const endpoints = informers.of(ENDPOINTS);
  const slices = informers
    .of(ENDPOINT_SLICES)
    .addIndex(SERVICE_INDEX, (slice) => (isMirror(slice) ? serviceKey(slice) : undefined));

  return new Controller({
    name: 'endpointslicemirroring-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(services, (service) => keyOf(service)),
      watch(endpoints, (object) => keyOf(object)),
      watch(slices, (slice) => (isMirror(slice) ? serviceKey(slice) : undefined)),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const source = endpoints.get(namespace, name);
      const service = services.get(namespace, name);
      const mirrored = slices.byIndex(SERVICE_INDEX, key);
      const wanted = source && service && isMirrored(source, service) ? mirror(source) : [];
      const left = new Set(mirrored);
      for (const slice of wanted) {
        const same = [...left].find(
          (one) =>
            one.addressType === slice.addressType &&
            sameJson(one.ports ?? [], slice.ports ?? []) &&
            one.metadata.ownerReferences?.[0]?.uid === source?.metadata.uid,
        );
        if (!same) {
          await client.create(ENDPOINT_SLICES, namespace, slice);
          continue;
        }
        left.delete(same);
        const { labels, annotations } = slice.metadata;
        const unchanged =
          sameJson(same.endpoints ?? [], slice.endpoints) &&
          sameJson(same.metadata.labels, labels) &&
          sameJson(same.metadata.annotations ?? {}, annotations ?? {});
        if (unchanged) continue;
        const { annotations: _old, ...metadata } = same.metadata;
        await client.update(ENDPOINT_SLICES, {
          ...same,
          endpoints: slice.endpoints,
          metadata: { ...metadata, labels: labels ?? {}, ...(annotations ? { annotations } : {}) },
        });
      }
      for (const { metadata } of left) {
        if (metadata.deletionTimestamp !== undefined) continue;
        await client.delete(ENDPOINT_SLICES, metadata.namespace, metadata.name ?? '');
      }
      return undefined;
    },
  });
}

const isMirror = ({ metadata }: EndpointSlice): boolean => metadata.labels?.[MANAGED_BY] === MIRROR_MANAGER;
const serviceKey = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME]}`;

/** Not those that we make of pods ourselves, nor those that elect leaders, nor those that say so. */
function isMirrored({ metadata }: Endpoints, service: Service): boolean {
  return (
    metadata.deletionTimestamp === undefined &&
    metadata.labels?.[SKIP] !== 'true' &&
    metadata.annotations?.[LEADER] === undefined &&
    service.metadata.deletionTimestamp === undefined &&
    Object.keys(service.spec?.selector ?? {}).length === 0
  );
}

/** Pure: one slice (or several, when there are many) for each address family and set of ports. */
export function mirror(source: Endpoints): NewObject<EndpointSlice>[] {
  const groups = new Map<
    string,
    { addressType: AddressType; ports: EndpointPort[]; endpoints: Endpoint[] }
  >();
  for (const subset of source.subsets ?? []) {
    const ports = portsOf(subset);
    const addresses = [
      ...(subset.addresses ?? []).map((address) => ({ address, ready: true })),
      ...(subset.notReadyAddresses ?? []).map((address) => ({ address, ready: false })),
    ];
    for (const { address, ready } of addresses.slice(0, MOST_ADDRESSES)) {
      const addressType = familyOf(address.ip);
      if (!addressType) continue;
      const key = `${addressType} ${canonicalJson(ports)}`;
      const group = groups.get(key) ?? { addressType, ports, endpoints: [] };
      group.endpoints.push(endpointOf(address, ready));
      groups.set(key, group);
    }
  }
  const annotations = Object.fromEntries(
    Object.entries(source.metadata.annotations ?? {}).filter(([name]) => !OWN_ANNOTATIONS.includes(name)),
  );
  const { [HEADLESS]: _headless, ...labels } = source.metadata.labels ?? {};
  const made: NewObject<EndpointSlice>[] = [];
  for (const { addressType, ports, endpoints } of groups.values()) {
    for (let start = 0; start < endpoints.length; start += MOST_ENDPOINTS) {
      made.push({
        metadata: {
          generateName: `${source.metadata.name}-`,
          namespace: source.metadata.namespace ?? '',
          labels: { ...labels, [SERVICE_NAME]: source.metadata.name ?? '', [MANAGED_BY]: MIRROR_MANAGER },
          ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
          ownerReferences: [controllerRef(source)],
        },
        addressType,
        endpoints: endpoints.slice(start, start + MOST_ENDPOINTS),
        ports,
      });
    }
  }
  return made;
}

function familyOf(address: string): AddressType | undefined {
  if (isIPv4(address)) return 'IPv4';
  return isIPv6(address) ? 'IPv6' : undefined;
}

function portsOf({ ports }: EndpointSubset): EndpointPort[] {
  return (ports ?? []).map(({ name = '', port, protocol = 'TCP', appProtocol }) => ({
    name,
    port,
    protocol,
    ...(appProtocol === undefined ? {} : { appProtocol }),
  }));
}

function endpointOf({ ip, hostname, nodeName, targetRef }: EndpointAddress, ready: boolean): Endpoint {
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname ? { hostname } : {}),
    ...(nodeName ? { nodeName } : {}),
    ...(targetRef ? { targetRef } : {}),
  };
}
