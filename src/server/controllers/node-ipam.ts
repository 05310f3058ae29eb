import { NODES } from '../../api/kinds.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import type { ControllerContext } from './context.ts';

/** Every node gets a network of this size, as kube-controller-manager's default is. */
const NODE_BITS = 24;

/** The first network of NODE_BITS in `clusterCidr` that is not in use; undefined when all are. Throws on a malformed CIDR. */
export function firstFreeCidr(clusterCidr: string, used: ReadonlySet<string>): string | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(clusterCidr);
  const bits = Number(match?.[5]);
  if (!match || bits > NODE_BITS || match.slice(1, 5).some((octet) => Number(octet) > 255)) {
    throw new Error(`cluster CIDR ${clusterCidr} is not an IPv4 network of /${NODE_BITS} or larger`);
  }
  const size = 2 ** (32 - NODE_BITS);
  const base = match.slice(1, 5).reduce((sum, octet) => sum * 256 + Number(octet), 0);
  const first = base - (base % 2 ** (32 - bits));
  const count = 2 ** (NODE_BITS - bits);
  for (let index = 0; index < count; index += 1) {
    const address = first + index * size;
    const octets = [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
    const cidr = `${octets.join('.')}/${NODE_BITS}`;
    if (!used.has(cidr)) return cidr;
  }
  return undefined;
}

/** Gives every node its pod network (spec.podCIDR). One at a time: two nodes must not get the same. */
export function nodeIpamController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const nodes = informers.of(NODES);
  const recorder = context.events.of('cidrAllocator');
  return new Controller({
    name: 'node-ipam-controller',
    clock: context.clock,
    logger: context.logger,
    concurrency: 1,
    watches: [
      watch(nodes, (node, { deleted }) => {
        // A node that leaves gives its network to one that waits for it.
        if (deleted)
          return nodes.list().flatMap(({ metadata, spec }) => (spec?.podCIDR ? [] : [metadata.name ?? '']));
        return node.spec?.podCIDR ? undefined : (node.metadata.name ?? '');
      }),
    ],
    reconcile: async (name) => {
      const node = nodes.get(undefined, name);
      if (!node || node.spec?.podCIDR) return undefined;
      const used = new Set(nodes.list().flatMap(({ spec }) => spec?.podCIDR ?? []));
      const cidr = firstFreeCidr(context.clusterCidr, used);
      if (cidr === undefined) {
        recorder.record(node, 'Normal', 'CIDRNotAvailable', `Node ${name} status is now: CIDRNotAvailable`);
        return undefined;
      }
      const { uid, resourceVersion } = node.metadata;
      await client.patch(NODES, undefined, name, {
        type: 'merge',
        body: { metadata: { uid, resourceVersion }, spec: { podCIDR: cidr, podCIDRs: [cidr] } },
      });
      return undefined;
    },
  });
}
