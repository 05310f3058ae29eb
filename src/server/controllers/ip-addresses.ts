import { IP_ADDRESSES, SERVICES } from '../../api/kinds.ts';
import { keyOf, splitKey } from '../../api/object.ts';
import type { Service } from '../../api/types/core-v1.ts';
import type { IPAddress } from '../../api/types/networking-v1.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import type { ControllerContext } from './context.ts';

const MANAGED_BY = 'ipaddress.kubernetes.io/managed-by';
const FAMILY = 'ipaddress.kubernetes.io/ip-family';
/** Who hands addresses to Services in Kubernetes; here that is the registry, and these objects only show it. */
const ALLOCATOR = 'ipallocator.k8s.io';
const SERVICE_INDEX = 'service';

/** An IPAddress for each cluster IP of each Service, for who asks which Service has an address. */
export function ipAddressController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const services = informers.of(SERVICES);
  const addresses = informers
    .of(IP_ADDRESSES)
    .addIndex(SERVICE_INDEX, (address) => (isOurs(address) ? parentKey(address) : undefined));
  return new Controller({
    name: 'ipaddress-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(services, (service) => keyOf(service)),
      watch(addresses, (address) => (isOurs(address) ? parentKey(address) : undefined)),
    ],
    reconcile: async (key) => {
      const { namespace = '', name } = splitKey(key);
      const wanted = new Set(clusterIPs(services.get(namespace, name)));
      for (const { metadata } of addresses.byIndex(SERVICE_INDEX, key)) {
        if (wanted.delete(metadata.name ?? '')) continue;
        await client.delete(IP_ADDRESSES, undefined, metadata.name ?? '');
      }
      for (const ip of wanted) {
        // Somebody else's, or that of a Service that is just going: it comes back with the deletion.
        const holder = addresses.get(undefined, ip);
        if (holder) continue;
        await client.create(IP_ADDRESSES, undefined, {
          metadata: {
            name: ip,
            labels: { [FAMILY]: ip.includes(':') ? 'IPv6' : 'IPv4', [MANAGED_BY]: ALLOCATOR },
          },
          spec: { parentRef: { group: '', resource: 'services', namespace, name } },
        });
      }
      return undefined;
    },
  });
}

const isOurs = ({ metadata }: IPAddress): boolean => metadata.labels?.[MANAGED_BY] === ALLOCATOR;
const parentKey = ({ spec }: IPAddress): string =>
  `${spec?.parentRef?.namespace ?? ''}/${spec?.parentRef?.name ?? ''}`;

function clusterIPs(service: Service | undefined): string[] {
  const { clusterIPs: list, clusterIP } = service?.spec ?? {};
  return (list ?? [clusterIP ?? '']).filter((ip) => ip !== '' && ip !== 'None');
}
