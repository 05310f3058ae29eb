import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { SharedPolicy, SharedService } from '../../wire/messages.ts';
import type { HostPort } from '../ports.ts';
import { CommandError, type NetCommands, NetworkError, nftScript } from './commands.ts';
import { UdpFlows } from './conntrack.ts';
import { isIPv4 } from './ipv4.ts';
import { buildRuleset } from './ruleset.ts';
import { type Ruleset, removeTable, renderChange, renderRuleset, TABLE } from './ruleset-text.ts';

/** How long a first change waits for others to come along. */
const COALESCE_MS = 50;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

/**
 * The table of this board: knows what it shall be, what was applied last, and brings one to the other in a single
 * transaction. Shared by the pod network and the Service proxy, whose rules meet in the same chains.
 */
export class NetTable {
  private readonly commands: NetCommands;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly nodeName: string;

  private readonly flows: UdpFlows;

  private clusterCidr: string | undefined;
  private serviceCidr: string | undefined;
  private dns: { address: string; port: number } | undefined;
  private services: readonly SharedService[] = [];
  private policies: readonly SharedPolicy[] = [];
  private pods = new Map<string, Pod>();
  private addresses: ReadonlyMap<string, string> = new Map();
  private hostPorts: readonly { ip: string; ports: readonly HostPort[] }[] = [];

  /** What the kernel holds as far as we know; undefined: unknown, the next write replaces everything. */
  private applied: Ruleset | undefined;
  private tail: Promise<void> = Promise.resolve();
  private timer: Timer | undefined;
  private retryMs = FIRST_RETRY_MS;
  private lastFailure = '';
  private stopped = false;

  constructor(options: { commands: NetCommands; clock: Clock; logger: Logger; nodeName: string }) {
    this.commands = options.commands;
    this.clock = options.clock;
    this.logger = options.logger;
    this.nodeName = options.nodeName;
    this.flows = new UdpFlows({ commands: options.commands, logger: options.logger });
  }

  setCidrs(clusterCidr: string | undefined, serviceCidr: string | undefined): void {
    if (clusterCidr === this.clusterCidr && serviceCidr === this.serviceCidr) return;
    this.clusterCidr = clusterCidr;
    this.serviceCidr = serviceCidr;
    this.schedule();
  }

  /** Where this board answers for the cluster's DNS address. */
  setDns(dns: { address: string; port: number } | undefined): void {
    if (dns?.address === this.dns?.address && dns?.port === this.dns?.port) return;
    this.dns = dns;
    this.schedule();
  }

  setServices(services: readonly SharedService[]): void {
    this.services = services;
    this.schedule();
  }

  setPolicies(policies: readonly SharedPolicy[]): void {
    const any = policies.length + this.policies.length > 0;
    this.policies = policies;
    if (any) this.schedule();
  }

  /** The pods that policies of this board may select, by their labels. */
  setPods(pods: readonly Pod[]): void {
    this.pods = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
    if (this.policies.length > 0) this.schedule();
  }

  addPod(pod: Pod): void {
    this.pods.set(pod.metadata.uid ?? '', pod);
  }

  /** By pod uid, of those that have an interface. True: policies depend on it, and the change should be waited for. */
  setAddresses(addresses: ReadonlyMap<string, string>): boolean {
    this.addresses = addresses;
    if (this.policies.length === 0) return false;
    this.schedule();
    return true;
  }

  setHostPorts(hostPorts: readonly { ip: string; ports: readonly HostPort[] }[]): void {
    this.hostPorts = hostPorts;
    this.schedule();
  }

  /** Writes what has changed soon; failures are logged and tried again. */
  schedule(delayMs = COALESCE_MS): void {
    if (this.timer || this.stopped) return;
    this.timer = this.clock.after(delayMs, () => {
      this.timer = undefined;
      void this.flush().catch(() => {});
    });
  }

  /** Resolves when everything set so far is in the kernel. Throws NetworkError. */
  flush(): Promise<void> {
    this.timer?.cancel();
    this.timer = undefined;
    const done = this.tail.then(() => this.write());
    this.tail = done.catch(() => {});
    return done.catch((error: unknown) => {
      const failure = describe(error);
      // The same cause every minute is one line, not one each.
      if (failure.message !== this.lastFailure)
        this.logger.error({ error: failure.message }, 'cannot program nftables');
      this.lastFailure = failure.message;
      this.schedule(this.retryMs);
      this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
      throw failure;
    });
  }

  /** Puts the table back if another program removed it (`nft flush ruleset` is what a reload of nftables.service does). */
  async verify(): Promise<void> {
    if (this.applied === undefined) return;
    try {
      await this.commands.run({ file: 'nft', args: ['list', 'chain', 'ip', TABLE, 'guard'] });
    } catch (error) {
      this.logger.warn(
        { error: String(error) },
        'the nftables table was removed by another program; writing it again',
      );
      this.applied = undefined;
      this.schedule(0);
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.timer = undefined;
    await this.tail;
  }

  /** Removes the table, for an uninstall. */
  async remove(): Promise<void> {
    await this.stop();
    await this.commands.run(nftScript(removeTable()));
    this.applied = undefined;
  }

  private async write(): Promise<void> {
    const { services } = this;
    const next = buildRuleset({
      nodeName: this.nodeName,
      services,
      hostPorts: this.hostPorts,
      policies: this.policies,
      pods: this.policies.length === 0 ? [] : this.localPods(),
      ...(this.clusterCidr ? { clusterCidr: this.clusterCidr } : {}),
      ...(this.serviceCidr ? { serviceCidr: this.serviceCidr } : {}),
      ...(this.dns && isIPv4(this.dns.address) ? { dns: this.dns } : {}),
    });
    const script = this.applied ? renderChange(this.applied, next) : renderRuleset(next);
    if (script !== '') await this.transact(script, next);
    this.applied = next;
    await this.flows.applied(services);
    this.retryMs = FIRST_RETRY_MS;
    this.lastFailure = '';
  }

  private localPods(): { ip: string; pod: Pod }[] {
    return [...this.addresses].flatMap(([uid, ip]) => {
      const pod = this.pods.get(uid);
      return pod ? [{ ip, pod }] : [];
    });
  }

  private async transact(script: string, next: Ruleset): Promise<void> {
    const incremental = this.applied !== undefined;
    this.applied = undefined;
    try {
      await this.commands.run(nftScript(script));
    } catch (error) {
      if (!incremental) throw error;
      // The kernel does not hold what we thought: start from nothing.
      this.logger.warn({ error: String(error) }, 'an nftables change did not apply; replacing the table');
      await this.commands.run(nftScript(renderRuleset(next)));
    }
  }
}

function describe(error: unknown): NetworkError {
  if (error instanceof CommandError && error.missing) {
    return new NetworkError(
      'CommandMissing',
      'nft is not installed: Services, hostPorts and pod access to the outside do not work (apt-get install nftables)',
    );
  }
  return NetworkError.from(error);
}
