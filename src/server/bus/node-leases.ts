import { isAlreadyExists, isConflict, isNotFound } from '../../api/errors.ts';
import { LEASES } from '../../api/kinds.ts';
import type { Lease } from '../../api/types/coordination-v1.ts';
import type { Node } from '../../api/types/core-v1.ts';
import type { Client } from '../../client/port.ts';
import { type Clock, microTimestamp } from '../../lib/clock.ts';

const NAMESPACE = 'kube-node-lease';
const DURATION_SECONDS = 40;
/** kubelet renews every ten seconds; a heartbeat that comes early does not. */
const RENEW_EVERY_MS = 9_000;

/**
 * The Lease of each node, as kubelet keeps it: `kubectl get lease -n kube-node-lease` shows when a board was last heard.
 * Nothing decides by it, and the store keeps it in memory only.
 */
export class NodeLeases {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly held = new Map<string, { lease: Lease; renewed: number }>();

  constructor(options: { client: Client; clock: Clock }) {
    this.client = options.client;
    this.clock = options.clock;
  }

  forget(node: string): void {
    this.held.delete(node);
  }

  /** Renews, or makes the lease. A lost race is put right by the next heartbeat; other failures reject. */
  async renew(node: Node): Promise<void> {
    const name = node.metadata.name ?? '';
    const held = this.held.get(name);
    const now = this.clock.monotonic();
    if (held && now - held.renewed < RENEW_EVERY_MS) return;
    try {
      const lease = await this.write(node, name, held?.lease);
      this.held.set(name, { lease, renewed: now });
    } catch (error) {
      this.held.delete(name);
      if (!isConflict(error) && !isAlreadyExists(error) && !isNotFound(error)) throw error;
    }
  }

  private async write(node: Node, name: string, held: Lease | undefined): Promise<Lease> {
    const existing = held ?? (await this.find(name));
    const spec = {
      ...existing?.spec,
      holderIdentity: name,
      leaseDurationSeconds: DURATION_SECONDS,
      renewTime: microTimestamp(this.clock.now()),
    };
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: node.metadata.uid ?? '' }];
    if (!existing) {
      return await this.client.create(LEASES, NAMESPACE, {
        metadata: { name, namespace: NAMESPACE, ownerReferences },
        spec,
      });
    }
    return await this.client.update(LEASES, {
      ...existing,
      metadata: { ...existing.metadata, ownerReferences },
      spec,
    });
  }

  private async find(name: string): Promise<Lease | undefined> {
    try {
      return await this.client.get(LEASES, NAMESPACE, name);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
