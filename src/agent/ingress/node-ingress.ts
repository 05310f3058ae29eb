import { INGRESS_UNAVAILABLE } from '../../api/ingress.ts';
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
  /** Why each port that cannot be had cannot. */
  private readonly troubles = new Map<number, string>();
  private readonly holderOf: (port: number) => Promise<string | undefined>;
  private readonly onCondition: () => void;
  private reported = '';
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
      /** The program that listens at a port of this board, if that can be told. */
      holderOf: (port: number) => Promise<string | undefined>;
      /** `condition` is another now. */
      onCondition: () => void;
    } & Omit<GatewayOptions, 'onPortTrouble' | 'onPortOpen'>,
  ) {
    const { httpPort, httpsPort, clock, random, logger } = options;
    this.node = options.node;
    this.desired = options.desired;
    this.reporter = options.reporter;
    this.clock = clock;
    this.logger = logger;
    this.holderOf = options.holderOf;
    this.onCondition = options.onCondition;
    this.ports = [httpPort, httpsPort].filter((port) => port !== 0);
    const onPortTrouble = (port: number, error: NodeJS.ErrnoException): void => {
      void this.portTrouble(port, error);
    };
    const onPortOpen = (port: number): void => {
      logger.info({ port }, 'Ingresses are served');
      this.troubles.delete(port);
      this.judge();
    };
    this.make = async () => {
      const [module, { optimizeHotCode }] = await Promise.all([
        import('./gateway.ts'),
        import('../../lib/hot-code.ts'),
      ]);
      optimizeHotCode();
      return new module.Gateway({ httpPort, httpsPort, clock, random, logger, onPortOpen, onPortTrouble });
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

  /** The node's condition while this board cannot serve as it is asked to; empty while it can, or need not. */
  get condition(): Record<string, string> {
    const { message } = this;
    return message === '' ? {} : { [INGRESS_UNAVAILABLE]: message };
  }

  private get message(): string {
    if (this.desired.ingresses().length === 0) return '';
    if (this.ports.length === 0) return 'this node has no port for Ingresses';
    const why = this.ports.flatMap((port) => {
      const trouble = this.troubles.get(port) ?? this.shadows.get(port);
      return trouble === undefined ? [] : [`port ${port}: ${trouble}`];
    });
    return why.join('; ');
  }

  private judge(): void {
    const { message } = this;
    if (message === this.reported) return;
    this.reported = message;
    this.onCondition();
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
      this.troubles.clear();
      this.shadows.clear();
      this.judge();
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
      const said = shadow && `it leads to ${shadow}`;
      if (said === this.shadows.get(port)) continue;
      if (said === undefined) this.shadows.delete(port);
      else {
        this.shadows.set(port, said);
        this.tell('IngressPortShadowed', `port ${port} of this node leads to ${shadow}, not to Ingresses`);
      }
    }
    this.judge();
  }

  private async portTrouble(port: number, error: NodeJS.ErrnoException): Promise<void> {
    const { gateway } = this;
    const holder = error.code === 'EADDRINUSE' ? await this.holderOf(port).catch(() => undefined) : undefined;
    // It may have been stopped in the meantime.
    if (!this.running || this.gateway !== gateway) return;
    const why = error.code === 'EADDRINUSE' ? `${holder ?? 'another program'} listens there` : error.message;
    this.troubles.set(port, why);
    this.logger.warn({ port, why }, 'Ingresses cannot be served at this port; trying again');
    this.tell('IngressPortTaken', `Ingresses are not served at port ${port} of this node: ${why}`);
    this.judge();
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
