import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { DesiredStore } from '../desired.ts';
import type { Reporter } from '../ports.ts';
import type { Gateway, GatewayOptions } from './gateway.ts';
import { shadowOf } from './shadows.ts';

type NodeIngressState = Pick<DesiredStore, 'ingresses' | 'services' | 'pods' | 'secret' | 'onChange'>;

/** Endpoints of a rollout come in bursts; a request that meets one that just left is sent to another. */
const DELAY_MS = 10;

/**
 * Serves Ingresses on this board while there is one to serve. Without, nothing of it is loaded and no port is taken.
 */
export class NodeIngress implements Service {
  private readonly node: string;
  private readonly desired: NodeIngressState;
  private readonly reporter: Pick<Reporter, 'event'>;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly make: () => Promise<Gateway>;
  private readonly ports: readonly number[];
  /** What was said of each port that leads elsewhere. */
  private readonly shadows = new Map<number, string>();
  private gateway: Gateway | undefined;
  private timer: Timer | undefined;
  private running = false;
  /** One step at a time: loading and stopping take their while. */
  private work: Promise<void> = Promise.resolve();

  constructor(
    options: {
      node: string;
      desired: NodeIngressState;
      reporter: Pick<Reporter, 'event'>;
    } & Omit<GatewayOptions, 'onPortTrouble'>,
  ) {
    const { httpPort, httpsPort, clock, random, logger } = options;
    this.node = options.node;
    this.desired = options.desired;
    this.reporter = options.reporter;
    this.clock = clock;
    this.logger = logger;
    this.ports = [httpPort, httpsPort].filter((port) => port !== 0);
    const onPortTrouble = (port: number, error: NodeJS.ErrnoException): void => this.portTrouble(port, error);
    this.make = async () => {
      const module = await import('./gateway.ts');
      return new module.Gateway({ httpPort, httpsPort, clock, random, logger, onPortTrouble });
    };
  }

  async start(): Promise<void> {
    this.running = true;
    this.desired.onChange(({ kind }) => {
      if (kind === 'ingress' || (this.gateway && kind !== 'whole')) this.soon();
    });
    this.soon();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.timer?.cancel();
    await this.work;
    await this.gateway?.stop();
    this.gateway = undefined;
  }

  private soon(): void {
    if (!this.running) return;
    this.timer ??= this.clock.after(DELAY_MS, () => {
      this.timer = undefined;
      this.work = this.work
        .then(() => this.apply())
        .catch((error: Error) => {
          this.logger.error({ err: error }, 'Ingresses cannot be served');
        });
    });
  }

  private async apply(): Promise<void> {
    if (this.ports.length === 0 || this.desired.ingresses().length === 0) {
      const { gateway } = this;
      this.gateway = undefined;
      await gateway?.stop();
      return;
    }
    if (!this.gateway) {
      const gateway = await this.make();
      if (!this.running) return;
      this.gateway = gateway;
      // The first connection can come only when this turn is over, and finds the rules of `update`.
      gateway.start();
    }
    this.gateway.update({
      ingresses: this.desired.ingresses(),
      services: this.desired.services(),
      secret: (namespace, name) => this.desired.secret(namespace, name),
    });
    this.tellShadows();
  }

  private tellShadows(): void {
    for (const port of this.ports) {
      const shadow = shadowOf(port, this.desired.services(), this.desired.pods());
      if (shadow === this.shadows.get(port)) continue;
      if (shadow === undefined) this.shadows.delete(port);
      else {
        this.shadows.set(port, shadow);
        this.tell('IngressPortShadowed', `port ${port} of this node leads to ${shadow}, not to Ingresses`);
      }
    }
  }

  private portTrouble(port: number, error: NodeJS.ErrnoException): void {
    const why = error.code === 'EADDRINUSE' ? 'another program listens there' : error.message;
    this.logger.warn({ port, error: error.message }, 'Ingresses cannot be served at this port; trying again');
    this.tell('IngressPortTaken', `Ingresses are not served at port ${port} of this node: ${why}`);
  }

  private tell(reason: string, message: string): void {
    this.reporter.event({
      namespace: '',
      name: this.node,
      // As kubelet does: kubectl describe looks for events of a node under its name.
      uid: this.node,
      kind: 'Node',
      type: 'Warning',
      reason,
      message,
      component: 'copepod-ingress',
    });
  }
}
