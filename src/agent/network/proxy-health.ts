import type { Server } from 'node:http';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { SharedNode, SharedService } from '../../wire/messages.ts';
import { closeHealthPort, type HealthAnswer, openHealthPort } from './health-port.ts';

const RETRY_MS = 30_000;

export interface ProxyState {
  /** What Services are is what the kernel was told, or is being told in time. */
  healthy: boolean;
  /** Wall time of the last write; 0: there was none. */
  lastUpdated: number;
}

/**
 * What kube-proxy answers at its health port (KEP-3836): `/livez` is about the proxy, `/healthz` also about the node, which
 * takes no new connections while it is being removed. A proxy that is well says that it was updated now, as kube-proxy.
 */
export function proxyAnswer(
  path: string,
  state: ProxyState & { eligible: boolean; now: number },
): HealthAnswer {
  const { healthy, eligible, lastUpdated, now } = state;
  const text = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' };
  if (path !== '/healthz' && path !== '/livez')
    return { status: 404, headers: text, body: '404 page not found\n' };
  const ready = healthy && (path === '/livez' || eligible);
  const times = `"lastUpdated": "${goTime(ready ? now : lastUpdated)}","currentTime": "${goTime(now)}"`;
  return {
    status: ready ? 200 : 503,
    headers: { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' },
    body: path === '/livez' ? `{${times}}` : `{${times}, "nodeEligible": ${eligible}}`,
  };
}

/** As Go writes a time. */
function goTime(milliseconds: number): string {
  return milliseconds === 0
    ? '0001-01-01 00:00:00 +0000 UTC'
    : `${new Date(milliseconds).toISOString().replace('T', ' ').replace('Z', '')} +0000 UTC`;
}

/**
 * kube-proxy's health port, 10256: what balancers outside of the cluster ask before they send a board connections for
 * Services whose external traffic may go to any board. It is open while a Service has node ports: a board that nobody
 * can reach from outside has nothing to say there, and opens nothing.
 */
export class ProxyHealth {
  private readonly address: { host: string; port: number } | undefined;
  private readonly nodeName: string;
  private readonly state: () => ProxyState;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly onFailure: (message: string) => void;
  private server: Server | undefined;
  private retry: Timer | undefined;
  private known = false;
  private eligible = true;
  private wanted = false;
  private complained = false;
  private work: Promise<void> = Promise.resolve();

  constructor(options: {
    /** `0.0.0.0:10256`; empty: never. */
    address: string;
    nodeName: string;
    state: () => ProxyState;
    clock: Clock;
    logger: Logger;
    onFailure: (message: string) => void;
  }) {
    this.address = parseAddress(options.address);
    this.nodeName = options.nodeName;
    this.state = options.state;
    this.clock = options.clock;
    this.logger = options.logger;
    this.onFailure = options.onFailure;
  }

  /** Returns at once. */
  apply(services: readonly SharedService[], nodes: readonly SharedNode[]): void {
    // Before the server has told of this node it is eligible, as with kube-proxy.
    const own = nodes.find(({ name }) => name === this.nodeName);
    this.known ||= own !== undefined;
    if (this.known) this.eligible = own !== undefined && own.leaving !== true;
    this.want(services.some(({ type }) => type === 'NodePort' || type === 'LoadBalancer'));
  }

  settled(): Promise<void> {
    return this.work;
  }

  async stop(): Promise<void> {
    this.want(false);
    await this.work;
  }

  private want(wanted: boolean): void {
    if (wanted === this.wanted || this.address === undefined) return;
    this.wanted = wanted;
    this.retry?.cancel();
    this.retry = undefined;
    this.work = this.work.then(() => this.reconcile());
  }

  private async reconcile(): Promise<void> {
    const { server, address, wanted } = this;
    if (!wanted && server) {
      this.server = undefined;
      await closeHealthPort(server);
    }
    if (!wanted || server || !address) return;
    try {
      this.server = await openHealthPort({
        ...address,
        answer: (path) =>
          proxyAnswer(path, { ...this.state(), eligible: this.eligible, now: this.clock.now() }),
        onError: (error) => this.logger.warn({ err: error }, 'the health port of the proxy'),
      });
      this.complained = false;
    } catch (error) {
      const { host, port } = address;
      const message = `failed to start proxy healthz on ${host}:${port}: ${(error as Error).message}`;
      if (!this.complained) this.onFailure(message);
      this.complained = true;
      this.retry = this.clock.after(RETRY_MS, () => {
        this.work = this.work.then(() => this.reconcile());
      });
    }
  }
}

/** As the setting `proxy-healthz-bind-address` allows it. */
function parseAddress(text: string): { host: string; port: number } | undefined {
  const colon = text.lastIndexOf(':');
  return colon < 0
    ? undefined
    : { host: text.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(colon + 1)) };
}
