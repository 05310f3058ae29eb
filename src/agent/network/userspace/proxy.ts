import type { Clock, Timer } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Random } from '../../../lib/random.ts';
import { CommandError, ipBatch, type NetCommands } from '../commands.ts';
import { LIST_LINKS, parseLinks } from '../links.ts';
import { LOOPBACK_LABEL, SERVICE_DEVICE } from './addresses.ts';
import { Balancer } from './balancer.ts';
import { type Front, planUserspace } from './plan.ts';
import { Places, TcpFront } from './tcp-front.ts';
import { UdpFront } from './udp-front.ts';

/** TCP connections and UDP clients together. */
const MOST_CONNECTIONS = 1024;
const RETRY_MS = 5_000;
const COALESCE_MS = 50;
const VERIFY_MS = 60_000;

export type UserspaceInput = Omit<Parameters<typeof planUserspace>[0], 'own'>;

/**
 * Services for a board whose kernel or system has no nftables: sockets at the Services' own addresses, which the board
 * holds on a device of its own, and a copy of every byte. Slower, and endpoints see the board as the client.
 */
export class UserspaceProxy {
  private readonly commands: NetCommands;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly logger: Logger;
  private readonly onUnserved: (what: string, why: string) => void;
  private readonly places: Places;
  private readonly fronts = new Map<string, TcpFront | UdpFront>();
  private readonly told = new Map<string, string>();
  private input: UserspaceInput | undefined;
  private work: Promise<void> = Promise.resolve();
  private timer: Timer | undefined;
  private look: Timer | undefined;
  private stopped = false;
  private onLoopback = false;

  constructor(options: {
    commands: NetCommands;
    clock: Clock;
    random: Random;
    logger: Logger;
    mostConnections?: number;
    /** What is not served, and why; each cause once. */
    onUnserved?: (what: string, why: string) => void;
  }) {
    this.commands = options.commands;
    this.clock = options.clock;
    this.random = options.random;
    this.logger = options.logger;
    this.onUnserved = options.onUnserved ?? (() => {});
    this.places = new Places(options.mostConnections ?? MOST_CONNECTIONS);
  }

  /** Level-triggered; returns at once. */
  apply(input: UserspaceInput): void {
    this.input = input;
    // Another program may take an address away, or free a port.
    this.look ??= this.clock.every(VERIFY_MS, () => this.schedule(0));
    this.schedule(COALESCE_MS);
  }

  /** Resolves when all that was said so far has been tried. */
  async settled(): Promise<void> {
    this.timer?.cancel();
    this.timer = undefined;
    this.work = this.work.then(() => this.reconcile());
    await this.work;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.look?.cancel();
    await this.work;
    await Promise.all([...this.fronts.values()].map((front) => front.end()));
    this.fronts.clear();
  }

  private schedule(delayMs: number): void {
    if (this.timer || this.stopped) return;
    this.timer = this.clock.after(delayMs, () => {
      this.timer = undefined;
      this.work = this.work.then(() => this.reconcile());
    });
  }

  private async reconcile(): Promise<void> {
    if (!this.input || this.stopped) return;
    try {
      const links = parseLinks(await this.commands.run(LIST_LINKS));
      const own = new Set(
        links
          .filter(({ name }) => name !== SERVICE_DEVICE)
          .flatMap(({ addresses }) => addresses)
          .filter(({ label }) => label !== LOOPBACK_LABEL)
          .map(({ address }) => address),
      );
      const plan = planUserspace({ ...this.input, own });
      for (const what of plan.unserved) this.tell(what, 'not possible without nftables');
      await this.holdAddresses(plan.addresses, links);
      await this.listen(plan.fronts);
    } catch (error) {
      this.tell('the addresses of Services', String(error));
      this.schedule(RETRY_MS);
    }
  }

  private async holdAddresses(
    wanted: readonly string[],
    links: ReturnType<typeof parseLinks>,
  ): Promise<void> {
    const device = links.find(({ name }) => name === SERVICE_DEVICE) ?? (await this.device());
    const ofDevice = device !== undefined;
    const held = new Set(
      ofDevice
        ? device.addresses.map(({ address }) => address)
        : links
            .flatMap(({ addresses }) => addresses)
            .filter(({ label }) => label === LOOPBACK_LABEL)
            .map(({ address }) => address),
    );
    const where = ofDevice ? `dev ${SERVICE_DEVICE}` : 'dev lo';
    const lines = [
      ...wanted
        .filter((address) => !held.has(address))
        .map((address) => `addr add ${address}/32 ${where}${ofDevice ? '' : ` label ${LOOPBACK_LABEL}`}`),
      ...[...held]
        .filter((address) => !wanted.includes(address))
        .map((address) => `addr del ${address}/32 ${where}`),
    ];
    if (lines.length > 0) await this.commands.run(ipBatch(lines));
  }

  /** Makes it; undefined where the kernel has no dummy devices. */
  private async device(): Promise<{ addresses: { address: string }[] } | undefined> {
    if (this.onLoopback) return undefined;
    try {
      await this.commands.run(
        ipBatch([`link add ${SERVICE_DEVICE} type dummy`, `link set ${SERVICE_DEVICE} up`]),
      );
      return { addresses: [] };
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      // It is down or without an address, and `ip -4 addr` leaves those out.
      if (error.stderr.includes('File exists')) {
        await this.commands.run({ file: 'ip', args: ['link', 'set', SERVICE_DEVICE, 'up'] });
        return { addresses: [] };
      }
      if (!this.onLoopback)
        this.logger.info(
          { error: error.message },
          'no dummy devices: the loopback holds the addresses of Services',
        );
      this.onLoopback = true;
      return undefined;
    }
  }

  private async listen(wanted: readonly Front[]): Promise<void> {
    const keys = new Set(wanted.map(({ key }) => key));
    for (const [key, front] of this.fronts) {
      if (keys.has(key)) continue;
      this.fronts.delete(key);
      await front.close();
    }
    let failed = false;
    for (const front of wanted) {
      const held = this.fronts.get(front.key);
      if (held) {
        held.update(front);
        continue;
      }
      try {
        const opened = this.make(front);
        await opened.open();
        this.fronts.set(front.key, opened);
        this.told.delete(front.key);
      } catch (error) {
        failed = true;
        this.tell(front.key, `${front.owner}: ${(error as Error).message}`);
      }
    }
    if (failed) this.schedule(RETRY_MS);
  }

  private make(front: Front): TcpFront | UdpFront {
    const { clock, random, places } = this;
    const options = { clock, places, front, balancer: new Balancer({ clock, random, front }) };
    return front.protocol === 'TCP' ? new TcpFront(options) : new UdpFront(options);
  }

  /** The same cause is said once. */
  private tell(what: string, why: string): void {
    if (this.told.get(what) === why) return;
    this.told.set(what, why);
    this.logger.warn({ what, why }, 'a Service is not served in userspace mode');
    this.onUnserved(what, why);
  }
}
