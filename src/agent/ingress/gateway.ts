import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Secret } from '../../api/types/core-v1.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import type { SharedIngress, SharedService } from '../../wire/messages.ts';
import { Backends } from './backends.ts';
import { Certificates } from './certificates.ts';
import { defaultCertificate } from './default-certificate.ts';
import { plainEntrance, TlsEntrance } from './entrances.ts';
import { ExternalNames } from './external-names.ts';
import { PortHolder } from './port-holder.ts';
import { IngressProxy } from './proxy.ts';
import { buildRoutes, type RouteTable } from './routes.ts';
import { Upstream } from './upstream.ts';

/** How long requests under way have when the last Ingress goes or the agent stops. */
const GRACE_MS = 2_000;

export interface GatewayState {
  ingresses: readonly SharedIngress[];
  services: readonly SharedService[];
  secret(namespace: string, name: string): Secret | undefined;
}

export interface GatewayOptions {
  /** 0: none. */
  httpPort: number;
  httpsPort: number;
  clock: Clock;
  random: Random;
  logger: Logger;
  onPortOpen: (port: number) => void;
  /** A port could not be had; tried again. */
  onPortTrouble: (port: number, error: NodeJS.ErrnoException) => void;
}

/** The ingress of this board while it serves: two ports, the rules, the certificates. Loaded with the first Ingress. */
export class Gateway {
  private readonly clock: Clock;
  private readonly backends: Backends;
  private readonly upstream: Upstream;
  private readonly certificates: Certificates;
  private readonly tls: TlsEntrance | undefined;
  private readonly servers: Server[] = [];
  private readonly holders: PortHolder[] = [];
  private readonly sockets = new Set<Socket>();
  private routes: RouteTable = buildRoutes([]);

  constructor(options: GatewayOptions) {
    const { clock, logger, httpPort, httpsPort, onPortOpen, onPortTrouble } = options;
    this.clock = clock;
    const externalNames = new ExternalNames();
    this.backends = new Backends(clock, externalNames);
    this.upstream = new Upstream(clock, externalNames);
    this.certificates = new Certificates({ fallback: defaultCertificate(options.random), logger });
    const proxy = new IngressProxy({
      clock,
      logger,
      backends: this.backends,
      upstream: this.upstream,
      routes: () => this.routes,
      tlsPort: httpsPort,
    });
    const open = (server: Server, port: number): void => {
      this.servers.push(server);
      server.on('connection', (socket: Socket) => {
        this.sockets.add(socket);
        socket.once('close', () => this.sockets.delete(socket));
      });
      this.holders.push(
        new PortHolder({
          server,
          port,
          clock,
          onOpen: () => onPortOpen(port),
          onTrouble: (error) => onPortTrouble(port, error),
        }),
      );
    };
    if (httpPort !== 0) open(plainEntrance(proxy, httpPort), httpPort);
    if (httpsPort !== 0) {
      this.tls = new TlsEntrance(proxy, this.certificates, httpsPort);
      open(this.tls.server, httpsPort);
    }
  }

  start(): void {
    for (const holder of this.holders) holder.start();
  }

  /** Level-triggered: always given everything. */
  update({ ingresses, services, secret }: GatewayState): void {
    const before = this.certificates.pairForAny;
    this.routes = buildRoutes(ingresses);
    this.backends.update(services);
    this.upstream.retain((host, port) => this.backends.has(host, port));
    this.certificates.update(ingresses, secret);
    if (this.certificates.pairForAny !== before) this.tls?.certificateChanged(this.certificates);
  }

  /** Gives the ports back at once, and those who are being served a moment. */
  async stop(): Promise<void> {
    for (const holder of this.holders) holder.stop();
    for (const server of this.servers) server.closeIdleConnections();
    if (this.sockets.size > 0) await sleep(this.clock, GRACE_MS);
    for (const socket of this.sockets) socket.destroy();
    this.upstream.close();
  }
}
