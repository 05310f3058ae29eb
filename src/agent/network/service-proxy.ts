import type { Logger } from '../../lib/logger.ts';
import type { SharedService } from '../../wire/messages.ts';
import type { ServiceProxy } from '../ports.ts';
import { CommandError, type NetCommands } from './commands.ts';
import type { LoopbackService } from './frame.ts';
import { isIPv4 } from './ipv4.ts';
import type { NetTable } from './table.ts';

/** Services by nftables: service-rules.ts decides everything, the table that the pod network shares writes it. */
export class NftServiceProxy implements ServiceProxy {
  private readonly commands: NetCommands;
  private readonly logger: Logger;
  private readonly table: NetTable;
  private readonly unserved = new Set<string>();
  private readonly seen = new WeakSet<SharedService>();

  constructor(options: { commands: NetCommands; logger: Logger; table: NetTable }) {
    this.commands = options.commands;
    this.logger = options.logger;
    this.table = options.table;
  }

  async start(): Promise<void> {
    const version = await nftVersion(this.commands);
    if (version === undefined) {
      this.logger.error(
        {},
        'nft is not installed: Services do not answer on this board (apt-get install nftables)',
      );
    } else {
      this.logger.debug({ version }, 'Services by nftables');
    }
  }

  async stop(): Promise<void> {
    await this.table.stop();
  }

  get healthy(): boolean {
    return this.table.healthy;
  }

  serveLoopback(services: readonly LoopbackService[]): void {
    this.table.setLoopback(services);
  }

  /** Returns at once; written together with other changes within 50 ms, tried again when that fails. */
  apply(services: readonly SharedService[]): void {
    for (const service of services) {
      if (this.seen.has(service)) continue;
      this.seen.add(service);
      const other = service.clusterIPs.filter((ip) => ip !== 'None' && ip !== '' && !isIPv4(ip));
      if (other.length === 0) continue;
      const key = `${service.namespace}/${service.name}`;
      if (!this.unserved.has(key)) {
        this.unserved.add(key);
        this.logger.warn({ service: key, clusterIPs: other }, 'IPv6 cluster addresses are not served');
      }
    }
    this.table.setServices(services);
  }
}

/** `1.0.6`, or undefined where nft is not installed. */
export async function nftVersion(commands: NetCommands): Promise<string | undefined> {
  try {
    return (await commands.run({ file: 'nft', args: ['--version'] })).match(/v(\S+)/)?.[1] ?? 'unknown';
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
