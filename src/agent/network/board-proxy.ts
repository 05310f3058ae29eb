import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import type { SharedNode, SharedService } from '../../wire/messages.ts';
import type { ServiceProxy } from '../ports.ts';
import { type NetCommands, NetworkError } from './commands.ts';
import type { Vantage } from './endpoint-choice.ts';
import type { ForwardRules } from './forward.ts';
import type { LoopbackService } from './frame.ts';
import { HealthCheckPorts } from './health-checks.ts';
import { nftRefusal } from './prerequisites.ts';
import { ProxyHealth } from './proxy-health.ts';
import { NftServiceProxy } from './service-proxy.ts';
import type { NetTable } from './table.ts';
import type { UserspaceProxy } from './userspace/proxy.ts';

/** `--proxy-mode`. */
export type ProxyMode = 'auto' | 'nftables' | 'userspace';

/** What is worth an event of the node or of a Service (`namespace/name`). */
export interface ProxyNotice {
  service?: string;
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

/**
 * The Services of this board: by nftables, or, where the kernel or the system has none, by sockets in userspace. Which of
 * the two is decided once, on start; whoever installs nftables later starts the agent again.
 */
export class BoardServiceProxy implements ServiceProxy {
  private readonly options: {
    nodeName: string;
    mode: ProxyMode;
    commands: NetCommands;
    clock: Clock;
    random: Random;
    logger: Logger;
    table: NetTable;
    forward: ForwardRules;
    notify: (notice: ProxyNotice) => void;
    /** Where kube-proxy's health is told; empty: nowhere. */
    healthAddress: string;
    /** The port of this board's loopback that the API is at, when the server runs here. */
    localApiPort?: number | undefined;
  };
  private readonly nft: NftServiceProxy;
  private readonly checks: HealthCheckPorts;
  private readonly health: ProxyHealth;
  private userspace: UserspaceProxy | undefined;
  private dns: { address: string; port: number } | undefined;
  private services: readonly SharedService[] = [];
  private nodes: readonly SharedNode[] = [];

  constructor(options: BoardServiceProxy['options']) {
    this.options = options;
    const { commands, logger, table, nodeName, notify, clock } = options;
    this.nft = new NftServiceProxy({ commands, logger, table });
    const healthy = (): boolean => this.userspace !== undefined || table.healthy;
    this.checks = new HealthCheckPorts({
      nodeName,
      logger,
      healthy,
      onFailure: (service, message) =>
        notify({ service, type: 'Warning', reason: 'FailedToStartServiceHealthcheck', message }),
    });
    this.health = new ProxyHealth({
      address: options.healthAddress,
      nodeName,
      state: () => ({ healthy: healthy(), lastUpdated: table.lastUpdated }),
      clock,
      logger,
      onFailure: (message) => {
        logger.warn({}, message);
        notify({ type: 'Warning', reason: 'FailedToStartProxierHealthcheck', message });
      },
    });
  }

  /** Decides the mode. Throws NetworkError when nftables is asked for and cannot be had. */
  async start(): Promise<void> {
    const { mode, commands, logger } = this.options;
    if (mode === 'userspace') return this.fallBack('asked for with --proxy-mode');
    const refusal = await nftRefusal(commands);
    if (refusal === undefined) return this.nft.start();
    if (mode === 'auto') return this.fallBack(refusal);
    logger.error({ refusal }, 'nftables was asked for with --proxy-mode and cannot be had');
    throw new NetworkError('Unsupported', `--proxy-mode=nftables: ${refusal}`);
  }

  async stop(): Promise<void> {
    await this.checks.stop();
    await this.health.stop();
    await this.userspace?.stop();
    await this.nft.stop();
  }

  /** The way in which Services are served. */
  get mode(): 'nftables' | 'userspace' {
    return this.userspace ? 'userspace' : 'nftables';
  }

  /** Where on 127.0.0.1 this board answers for the cluster's DNS address. */
  serveDns(dns: { address: string; port: number } | undefined): void {
    this.dns = dns;
    this.tell();
  }

  /** Level-triggered; returns at once. */
  apply(services: readonly SharedService[], nodes: readonly SharedNode[] = this.nodes): void {
    this.services = services;
    this.nodes = nodes;
    this.tell();
    this.checks.apply(services);
    this.health.apply(services, nodes);
  }

  /** Resolves when everything said so far has been tried. */
  async settled(): Promise<void> {
    await this.userspace?.settled();
    await this.checks.settled();
    await this.health.settled();
  }

  private tell(): void {
    const loopback = this.loopback();
    const { userspace } = this;
    if (!userspace) {
      this.nft.serveLoopback(loopback);
      this.nft.apply(this.services);
      return;
    }
    const { nodeName, table } = this.options;
    const own = this.nodes.find(({ name }) => name === nodeName);
    const vantage: Vantage = { nodeName, ...(own?.zone ? { zone: own.zone } : {}) };
    userspace.apply({
      services: this.services,
      hostPorts: table.hostPortPods,
      loopback,
      vantage,
      others: new Set(this.nodes.filter(({ name }) => name !== nodeName).map(({ internalIP }) => internalIP)),
    });
  }

  /** What this board answers for at its own loopback: the cluster's DNS, and the API while it has no address that pods could reach. */
  private loopback(): LoopbackService[] {
    const { dns } = this;
    const { localApiPort } = this.options;
    const services: LoopbackService[] = [];
    if (dns) {
      for (const protocol of ['udp', 'tcp'] as const)
        services.push({ address: dns.address, protocol, port: 53, to: dns.port });
    }
    const api = this.services.find(({ namespace, name }) => namespace === 'default' && name === 'kubernetes');
    const [address] = api?.clusterIPs ?? [];
    const [port] = api?.ports ?? [];
    if (localApiPort !== undefined && address && port && port.endpoints.length === 0)
      services.push({ address, protocol: 'tcp', port: port.port, to: localApiPort });
    return services;
  }

  private async fallBack(why: string): Promise<void> {
    const { commands, clock, random, logger, table, forward, notify } = this.options;
    const message = `Services by the userspace proxy (${why}): endpoints see this board as the client; no SCTP, no NetworkPolicy, at most 1024 connections`;
    logger.warn({}, message);
    notify({ type: 'Warning', reason: 'UserspaceProxy', message });
    const [{ UserspaceProxy }, { optimizeHotCode }] = await Promise.all([
      import('./userspace/proxy.ts'),
      import('../../lib/hot-code.ts'),
    ]);
    optimizeHotCode();
    table.suspend({
      onHostPorts: () => this.tell(),
      onPolicies: () => {
        const unenforced = 'this board has no nftables: NetworkPolicies are not enforced for its pods';
        logger.error({}, unenforced);
        notify({ type: 'Warning', reason: 'NetworkPolicyNotEnforced', message: unenforced });
      },
    });
    forward.masquerade((problem) => {
      logger.error({ problem }, 'pods of this board do not reach what is outside of the cluster');
      notify({ type: 'Warning', reason: 'NoMasquerade', message: problem });
    });
    const onUnserved = (what: string, why: string): void =>
      notify({ type: 'Warning', reason: 'ServiceNotServed', message: `${what} of this node: ${why}` });
    this.userspace = new UserspaceProxy({ commands, clock, random, logger, onUnserved });
    this.tell();
  }
}

/** The port of a server that is reached by this machine's own loopback; undefined: it is elsewhere. */
export function loopbackPort(server: string): number | undefined {
  const { hostname, port } = new URL(server);
  return hostname === '127.0.0.1' ? Number(port || 443) : undefined;
}
