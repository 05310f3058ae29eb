import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';
import type { Logger } from '../../lib/logger.ts';
import type { SharedPolicy, SharedService } from '../../wire/messages.ts';
import { BoardRules, type ServiceChange } from './board-rules.ts';
import { CommandError, type NetCommands, NetworkError, nftScript } from './commands.ts';
import { UdpFlows } from './conntrack.ts';
import type { HostPortPod, LoopbackService } from './frame.ts';
import type { LocalPod } from './policies.ts';
import { removeTable, TABLE } from './ruleset-text.ts';

/** How long a first change waits for others to come along. */
const COALESCE_MS = 50;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
/** As kube-proxy: twice its sync period. */
const LATE_MS = 60_000;

/** What of the cluster and of this board the rules depend on. */
export interface ClusterFacts {
  clusterCidr?: string;
  serviceCidr?: string;
  /** Of this board's pods. */
  podCidr?: string;
  /** This board's own address and zone. */
  address?: string;
  zone?: string;
}

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

  private facts: ClusterFacts = {};
  private loopback: readonly LoopbackService[] = [];
  private services: readonly SharedService[] = [];
  private policies: readonly SharedPolicy[] = [];
  private pods = new Map<string, Pod>();
  private addresses: ReadonlyMap<string, string> = new Map();
  private hostPorts: readonly HostPortPod[] = [];
  /** Made anew when the pods, their addresses or the policies change. */
  private policedPods: readonly LocalPod[] | undefined;

  private readonly rules = new BoardRules();
  /** Services that came, changed or went since the last write that went well. */
  private changed: ServiceChange[] = [];
  /** Does the kernel hold what the rules were when they last settled? If not, the next write replaces everything. */
  private applied = false;
  private tail: Promise<void> = Promise.resolve();
  private timer: Timer | undefined;
  private retryMs = FIRST_RETRY_MS;
  private lastFailure = '';
  /** Monotonic time since which the kernel lacks something that it shall know. */
  private behindSince: number | undefined;
  private lastWritten = 0;
  private stopped = false;
  private instead: { onHostPorts: () => void; onPolicies: () => void } | undefined;

  constructor(options: { commands: NetCommands; clock: Clock; logger: Logger; nodeName: string }) {
    this.commands = options.commands;
    this.clock = options.clock;
    this.logger = options.logger;
    this.nodeName = options.nodeName;
    this.flows = new UdpFlows({ commands: options.commands, logger: options.logger });
  }

  setFacts(facts: ClusterFacts): void {
    if (sameJson(facts, this.facts)) return;
    this.facts = facts;
    this.schedule();
  }

  /** Which Services' addresses this board's loopback answers for. */
  setLoopback(loopback: readonly LoopbackService[]): void {
    if (sameJson(loopback, this.loopback)) return;
    this.loopback = loopback;
    this.schedule();
  }

  /** There is no nftables on this board: nothing is written any more, and who does it instead is told what changes. */
  suspend(instead: { onHostPorts: () => void; onPolicies: () => void }): void {
    this.instead = instead;
    this.timer?.cancel();
    this.timer = undefined;
    if (this.policies.length > 0) instead.onPolicies();
  }

  get hostPortPods(): readonly HostPortPod[] {
    return this.hostPorts;
  }

  /** False when the kernel has lacked something for a minute: kube-proxy's word for its own health. */
  get healthy(): boolean {
    return this.behindSince === undefined || this.clock.monotonic() - this.behindSince < LATE_MS;
  }

  /** Wall time of the last write that went well; 0: none yet. */
  get lastUpdated(): number {
    return this.lastWritten;
  }

  setServices(services: readonly SharedService[]): void {
    this.services = services;
    this.schedule();
  }

  setPolicies(policies: readonly SharedPolicy[]): void {
    const any = policies.length + this.policies.length > 0;
    if (policies.length > 0 && this.policies.length === 0) this.instead?.onPolicies();
    this.policies = policies;
    if (any) this.podsChange();
  }

  /** The pods that policies of this board may select, by their labels. */
  setPods(pods: readonly Pod[]): void {
    this.pods = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
    if (this.policies.length > 0) this.podsChange();
  }

  addPod(pod: Pod): void {
    this.pods.set(pod.metadata.uid ?? '', pod);
    this.policedPods = undefined;
  }

  /** By pod uid, of those that have an interface. True: policies depend on it, and the change should be waited for. */
  setAddresses(addresses: ReadonlyMap<string, string>): boolean {
    this.addresses = addresses;
    if (this.policies.length === 0) return false;
    this.podsChange();
    return true;
  }

  setHostPorts(hostPorts: readonly HostPortPod[]): void {
    this.hostPorts = hostPorts;
    this.instead?.onHostPorts();
    this.schedule();
  }

  /** Writes what has changed soon; failures are logged and tried again. */
  schedule(delayMs = COALESCE_MS): void {
    if (this.stopped || this.instead) return;
    this.behindSince ??= this.clock.monotonic();
    if (this.timer) return;
    this.timer = this.clock.after(delayMs, () => {
      this.timer = undefined;
      void this.flush().catch(() => {});
    });
  }

  /** Resolves when everything set so far is in the kernel. Throws NetworkError. */
  flush(): Promise<void> {
    if (this.instead) return Promise.resolve();
    this.timer?.cancel();
    this.timer = undefined;
    this.behindSince ??= this.clock.monotonic();
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
    if (!this.applied) return;
    try {
      await this.commands.run({ file: 'nft', args: ['list', 'chain', 'ip', TABLE, 'guard'] });
    } catch (error) {
      this.logger.warn(
        { error: String(error) },
        'the nftables table was removed by another program; writing it again',
      );
      this.applied = false;
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
    if (this.instead) return;
    await this.commands.run(nftScript(removeTable())).catch((error: unknown) => {
      // Without the program there is no table of ours.
      if (!(error instanceof CommandError && error.missing)) throw error;
    });
    this.applied = false;
  }

  private async write(): Promise<void> {
    const { nodeName, facts, loopback, services, policies, hostPorts } = this;
    // Without policies nothing depends on pods: one that comes or goes shall not cost a look at all.
    this.policedPods ??= policies.length === 0 ? [] : this.localPods();
    const pods = this.policedPods;
    this.changed.push(
      ...this.rules.update({ nodeName, ...facts, loopback, services, policies, pods, hostPorts }),
    );
    const script = this.applied ? this.rules.change() : this.rules.whole();
    if (script !== '') await this.transact(script);
    this.applied = true;
    this.rules.settled();
    await this.flows.applied(this.changed.splice(0));
    this.retryMs = FIRST_RETRY_MS;
    this.lastFailure = '';
    this.lastWritten = this.clock.now();
    // What came meanwhile waits for its own write.
    if (!this.timer) this.behindSince = undefined;
  }

  private localPods(): LocalPod[] {
    return [...this.addresses].flatMap(([uid, ip]) => {
      const pod = this.pods.get(uid);
      return pod ? [{ ip, pod }] : [];
    });
  }

  private podsChange(): void {
    this.policedPods = undefined;
    this.schedule();
  }

  private async transact(script: string): Promise<void> {
    const incremental = this.applied;
    this.applied = false;
    try {
      await this.commands.run(nftScript(script));
    } catch (error) {
      if (!incremental) throw error;
      // The kernel does not hold what we thought: start from nothing.
      this.logger.warn({ error: String(error) }, 'an nftables change did not apply; replacing the table');
      await this.commands.run(nftScript(this.rules.whole()));
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
