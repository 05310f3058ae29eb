import { X509Certificate } from 'node:crypto';
import { NODES } from '../../api/kinds.ts';
import type { Node } from '../../api/types/core-v1.ts';
import type { Client } from '../../client/port.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { nodeNameOf } from '../../wire/join.ts';
import type { Store } from '../store/port.ts';

/**
 * On the Node: SHA-256 fingerprints of the certificates that are good for it, newest first, separated by commas. A Node
 * without it (made by hand) takes every certificate that the CA signed for its name. Taking one away revokes it.
 */
export const CERTIFICATES_ANNOTATION = 'copepod.io/certificates';
/** The present one, and the one before, which is in use until a renewed one is stored on the board. */
const MOST_FINGERPRINTS = 2;
/** Names that joined and have not registered, or that were removed; more boards do not come and go at once. */
const MOST_NAMES = 1000;

/** Why a node's certificate is not good: `removed` by this server process, or not known (any more). */
export type Refusal = 'removed' | 'unknown';

interface Claim {
  machineId: string;
  fingerprints: readonly string[];
}

/**
 * Which node certificates are good: a certificate lives no longer than its Node. So nothing has to be remembered of a
 * node that is gone, there is no revocation list that could be lost, and deleting the Node shuts its board out at once.
 */
export class NodeCertificates {
  private readonly store: Pick<Store, 'get' | 'watch'>;
  private readonly client: Pick<Client, 'patch'>;
  private readonly logger: Logger;
  private readonly queue: WorkQueue;
  /** By node name, until the Node carries what they say. */
  private readonly claims = new Map<string, Claim>();
  private readonly removed = new Set<string>();
  private readonly listeners: ((nodeName: string) => void)[] = [];
  private watch: { stop(): void } | undefined;

  constructor(options: {
    store: Pick<Store, 'get' | 'watch'>;
    client: Pick<Client, 'patch'>;
    clock: Clock;
    logger: Logger;
  }) {
    this.store = options.store;
    this.client = options.client;
    this.logger = options.logger;
    this.queue = new WorkQueue({
      clock: options.clock,
      process: (name) => this.record(name),
      onError: (name, error, retryInMs) =>
        this.logger.warn({ node: name, err: error, retryInMs }, 'the certificate of a node was not noted'),
    });
  }

  start(): void {
    this.queue.start();
    this.watch = this.store.watch('nodes', undefined, ({ type, key, object, previous }) => {
      if (type === 'DELETED') {
        this.claims.delete(key);
        bounded(this.removed.add(key));
        this.changed(key);
        return;
      }
      if (this.claims.has(key)) this.queue.add(key);
      if (previous && listed(object as Node) !== listed(previous as Node)) this.changed(key);
    });
  }

  async stop(): Promise<void> {
    this.watch?.stop();
    await this.queue.stop();
  }

  /** Called with a node's name whenever a certificate of it may have stopped being good. */
  onChange(listener: (nodeName: string) => void): void {
    this.listeners.push(listener);
  }

  /** The machine that holds a node's name, registered or about to be. */
  holderOf(nodeName: string): string | undefined {
    return this.node(nodeName)?.status?.nodeInfo?.machineID || this.claims.get(nodeName)?.machineId;
  }

  /** A certificate (PEM) was issued. A renewal leaves the one before good; a join by token ends all others of the name. */
  issued(nodeName: string, certificate: string, by: { machineId: string; renewing: boolean }): void {
    const fingerprint = fingerprintOf(new X509Certificate(certificate));
    const before = by.renewing ? this.fingerprints(nodeName) : [];
    const fingerprints = [fingerprint, ...before].slice(0, MOST_FINGERPRINTS);
    this.removed.delete(nodeName);
    bounded(this.claims.set(nodeName, { machineId: by.machineId, fingerprints }));
    if (this.node(nodeName)) this.queue.add(nodeName);
  }

  /** A certificate that was asked for by a signing request and approved: good for its node besides the others. */
  approved(certificate: string): void {
    const parsed = new X509Certificate(certificate);
    const name = nodeNameOf(/^CN=(.*)$/m.exec(parsed.subject)?.[1] ?? '');
    if (name === undefined || !/^O=system:nodes$/m.test(parsed.subject)) return;
    // A Node that lists none takes any.
    if (this.fingerprints(name).length === 0) return;
    const machineId = this.holderOf(name) ?? '';
    this.issued(name, certificate, { machineId, renewing: true });
  }

  /** Why a certificate that the CA signed for the node is not good; undefined when it is. */
  refusal(nodeName: string, fingerprint: string): Refusal | undefined {
    if (this.claims.get(nodeName)?.fingerprints.includes(fingerprint)) return undefined;
    const node = this.node(nodeName);
    if (!node) return this.removed.has(nodeName) ? 'removed' : 'unknown';
    const known = listed(node);
    // A claim that is not on the Node yet already ends what the Node still lists.
    if (this.claims.has(nodeName)) return 'unknown';
    return known === undefined || known.split(',').includes(fingerprint) ? undefined : 'removed';
  }

  private node(nodeName: string): Node | undefined {
    return this.store.get('nodes', nodeName)?.object as Node | undefined;
  }

  private fingerprints(nodeName: string): readonly string[] {
    const node = this.node(nodeName);
    const held = node && listed(node);
    return this.claims.get(nodeName)?.fingerprints ?? (held ? held.split(',') : []);
  }

  private async record(nodeName: string): Promise<void> {
    const claim = this.claims.get(nodeName);
    const node = this.node(nodeName);
    if (!claim || !node) return;
    const value = claim.fingerprints.join(',');
    if (listed(node) !== value) {
      const body = { metadata: { annotations: { [CERTIFICATES_ANNOTATION]: value } } };
      await this.client.patch(NODES, undefined, nodeName, { type: 'merge', body });
    }
    // The machine of a Node that has not told its machine id yet is known by the claim only.
    if (this.claims.get(nodeName) === claim && node.status?.nodeInfo?.machineID) this.claims.delete(nodeName);
  }

  private changed(nodeName: string): void {
    for (const listener of this.listeners) listener(nodeName);
  }
}

/** SHA-256 over the DER, in lower-case hex. */
export function fingerprintOf({ fingerprint256 }: Pick<X509Certificate, 'fingerprint256'>): string {
  return fingerprint256.replaceAll(':', '').toLowerCase();
}

function listed(node: Node): string | undefined {
  return node.metadata.annotations?.[CERTIFICATES_ANNOTATION];
}

/** Forgets the oldest when there are too many. */
function bounded(names: Map<string, unknown> | Set<string>): void {
  const oldest = names.keys().next();
  if (names.size > MOST_NAMES && !oldest.done) names.delete(oldest.value);
}
