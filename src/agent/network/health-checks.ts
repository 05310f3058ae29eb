import type { Server } from 'node:http';
import type { Logger } from '../../lib/logger.ts';
import type { SharedService } from '../../wire/messages.ts';
import { closeHealthPort, type HealthAnswer, openHealthPort } from './health-port.ts';

interface Check {
  port: number;
  /** Of this board, ready. */
  endpoints: number;
}

/** What a load balancer asks each board: has it an endpoint of its own for this Service? By `namespace/name`. */
export function healthChecks(services: readonly SharedService[], nodeName: string): Map<string, Check> {
  const checks = new Map<string, Check>();
  for (const { namespace, name, healthCheckNodePort, ports } of services) {
    if (!healthCheckNodePort) continue;
    const here = ports
      .flatMap(({ endpoints }) => endpoints)
      .filter(({ node, leaving }) => node === nodeName && !leaving);
    checks.set(`${namespace}/${name}`, {
      port: healthCheckNodePort,
      endpoints: new Set(here.map(({ ip }) => ip)).size,
    });
  }
  return checks;
}

/** As kube-proxy writes it, byte for byte. */
export function healthAnswer(key: string, endpoints: number, healthy: boolean): HealthAnswer {
  const [namespace, name] = key.split('/');
  return {
    status: endpoints > 0 && healthy ? 200 : 503,
    headers: {
      'Content-Type': 'application/json',
      'X-Content-Type-Options': 'nosniff',
      'X-Load-Balancing-Endpoint-Weight': String(endpoints),
    },
    body: `{\n\t"service": {\n\t\t"namespace": ${JSON.stringify(namespace)},\n\t\t"name": ${JSON.stringify(name)}\n\t},\n\t"localEndpoints": ${endpoints},\n\t"serviceProxyHealthy": ${healthy}\n}`,
  };
}

/** Answers at the health check node ports of Services whose external traffic stays on the board (externalTrafficPolicy: Local). */
export class HealthCheckPorts {
  private readonly nodeName: string;
  private readonly logger: Logger;
  private readonly healthy: () => boolean;
  private readonly onFailure: (service: string, message: string) => void;
  private checks = new Map<string, Check>();
  private readonly servers = new Map<string, { port: number; server: Server }>();
  private work: Promise<void> = Promise.resolve();

  constructor(options: {
    nodeName: string;
    logger: Logger;
    /** Does the proxy do what it should? */
    healthy: () => boolean;
    onFailure: (service: string, message: string) => void;
  }) {
    this.nodeName = options.nodeName;
    this.logger = options.logger;
    this.healthy = options.healthy;
    this.onFailure = options.onFailure;
  }

  /** Returns at once. A port that was taken is tried again with the next change. */
  apply(services: readonly SharedService[]): void {
    this.checks = healthChecks(services, this.nodeName);
    if (this.checks.size === 0 && this.servers.size === 0) return;
    this.work = this.work.then(() => this.reconcile());
  }

  /** Resolves when everything that was said has been tried. */
  settled(): Promise<void> {
    return this.work;
  }

  async stop(): Promise<void> {
    this.checks = new Map();
    this.work = this.work.then(() => this.reconcile());
    await this.work;
  }

  private async reconcile(): Promise<void> {
    for (const [key, { port, server }] of this.servers) {
      if (this.checks.get(key)?.port === port) continue;
      this.servers.delete(key);
      await closeHealthPort(server);
    }
    for (const [key, { port }] of this.checks) {
      if (this.servers.has(key)) continue;
      try {
        this.servers.set(key, { port, server: await this.open(key, port) });
      } catch (error) {
        const message = `node ${this.nodeName} failed to start healthcheck "${key}" on port ${port}: ${(error as Error).message}`;
        this.logger.warn({ service: key, port }, message);
        this.onFailure(key, message);
      }
    }
  }

  private open(key: string, port: number): Promise<Server> {
    return openHealthPort({
      host: '0.0.0.0',
      port,
      answer: () => healthAnswer(key, this.checks.get(key)?.endpoints ?? 0, this.healthy()),
      onError: (error) => this.logger.warn({ service: key, err: error }, 'health check port'),
    });
  }
}
