import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';
import type { Logger } from '../../lib/logger.ts';
import { SerialByKey } from '../../lib/serial.ts';
import type { ClusterInfo, SharedNode, SharedPolicy } from '../../wire/messages.ts';
import type { HostPort, PodNetwork } from '../ports.ts';
import { listPodAddresses } from './attach.ts';
import { planBridge, ROUTE_PROTOCOL } from './bridge.ts';
import { ipBatch, type NetCommands, NetworkError } from './commands.ts';
import type { ForwardRules } from './forward.ts';
import { claimHostPorts, hostPortsOf } from './host-ports.ts';
import { Ipam } from './ipam.ts';
import { BRIDGE, LIST_LINKS, LIST_PORTS, type Link, parseLinks, vethName } from './links.ts';
import { applyOverlay, OVERLAY, OVERLAY_OVERHEAD, planOverlay, readOverlay } from './overlay.ts';
import { LIST_ROUTES, parseRoutes, planRoutes } from './routes.ts';
import type { NetTable } from './table.ts';
import { Wiring } from './wiring.ts';

const VERIFY_MS = 60_000;
const RETRY_MS = 5_000;
const DEFAULT_MTU = 1500;

interface Attached {
  ip: string;
  hostPorts: readonly HostPort[];
  /** The process whose namespace was seen with the address; absent after a restart. */
  pid?: number;
}

/**
 * Pods on this board's bridge. Invariants:
 * - a pod uid has one address until it is detached;
 * - what is in the kernel is the memory: a restarted agent reads its pods from the aliases of their interfaces;
 * - the node's pod CIDR may come late (the server gives it): until then `attach` waits, at most `cidrDeadlineMs`.
 */
export class LinuxPodNetwork implements PodNetwork {
  private readonly commands: NetCommands;
  private readonly wiring: Wiring;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly nodeName: string;
  private readonly table: NetTable;
  private readonly forward: ForwardRules;
  private readonly cidrDeadlineMs: number;

  private readonly attached = new Map<string, Attached>();
  private readonly serial = new SerialByKey<string>();
  /** By pod uid, the addresses of pods that are to be started anew. */
  private former: ReadonlyMap<string, string> = new Map();
  private nodes: readonly SharedNode[] = [];
  private cluster: ClusterInfo | undefined;
  private ipam: Ipam | undefined;
  private mtu = DEFAULT_MTU;
  private ready = false;
  private running = false;
  private waiters: (() => void)[] = [];
  /** False until it is known that there is none. */
  private overlaid = true;
  private overlayFailure = '';
  private verifyTimer: Timer | undefined;
  private retryTimer: Timer | undefined;

  constructor(options: {
    commands: NetCommands;
    clock: Clock;
    logger: Logger;
    nodeName: string;
    table: NetTable;
    forward: ForwardRules;
    cidrDeadlineMs?: number;
  }) {
    this.commands = options.commands;
    this.wiring = new Wiring({ commands: options.commands, logger: options.logger });
    this.clock = options.clock;
    this.logger = options.logger;
    this.nodeName = options.nodeName;
    this.table = options.table;
    this.forward = options.forward;
    this.cidrDeadlineMs = options.cidrDeadlineMs ?? 30_000;
  }

  /** Throws NetworkError when iproute2 is missing. */
  async start(): Promise<void> {
    const ports = await this.commands.run(LIST_PORTS).catch((error: unknown) => {
      throw NetworkError.from(error);
    });
    this.running = true;
    for (const port of parseLinks(ports)) {
      if (port.pod && port.master === BRIDGE && vethName(port.pod.uid) === port.name) {
        this.attached.set(port.pod.uid, { ip: port.pod.ip, hostPorts: [] });
      }
    }
    this.publishAddresses();
    this.verifyTimer = this.clock.every(VERIFY_MS, () => void this.verify());
    await this.reconcile();
  }

  /** Stops acting; pods keep their network. */
  async stop(): Promise<void> {
    this.running = false;
    this.verifyTimer?.cancel();
    this.retryTimer?.cancel();
    await this.serial.settled();
    await this.table.stop();
  }

  update(nodes: readonly SharedNode[], cluster: ClusterInfo | undefined): void {
    const known = sameJson([nodes, cluster], [this.nodes, this.cluster]);
    this.nodes = nodes;
    this.cluster = cluster;
    // Told with every change of a Service too.
    if (known) return;
    const own = nodes.find((node) => node.name === this.nodeName);
    const podCidr = own?.podCIDR || undefined;
    const clusterCidr = cluster?.clusterCidr ?? podCidr;
    this.table.setFacts({
      ...(clusterCidr ? { clusterCidr } : {}),
      ...(cluster ? { serviceCidr: cluster.serviceCidr } : {}),
      ...(podCidr ? { podCidr } : {}),
      ...(own ? { address: own.internalIP } : {}),
      ...(own?.zone ? { zone: own.zone } : {}),
    });
    if (this.running) void this.reconcile();
  }

  /** All NetworkPolicies, and the pods of this board whose labels they look at. Level-triggered; returns at once. */
  updatePolicies(policies: readonly SharedPolicy[], pods: readonly Pod[]): void {
    this.table.setPods(pods);
    this.table.setPolicies(policies);
  }

  attach(pod: Pod, pid: number): Promise<{ ips: string[] }> {
    const uid = pod.metadata.uid ?? '';
    return this.serial.run(uid, async () => {
      try {
        return await this.attachNow(uid, pod, pid);
      } catch (error) {
        throw NetworkError.from(error);
      }
    });
  }

  detach(podUid: string): Promise<void> {
    return this.serial.run(podUid, () => this.detachNow(podUid));
  }

  async adopt(
    pods: readonly { uid: string; ips: string[]; hostPorts: readonly HostPort[] }[],
    former: ReadonlyMap<string, string> = new Map(),
  ): Promise<void> {
    const living = new Map(pods.map((pod) => [pod.uid, pod]));
    await Promise.all(
      [...this.attached.keys()].filter((uid) => !living.has(uid)).map((uid) => this.detach(uid)),
    );
    for (const pod of pods) {
      const ip = pod.ips[0];
      // The kernel's word goes before what somebody remembers.
      const known = this.attached.get(pod.uid);
      if (known) known.hostPorts = pod.hostPorts;
      else if (ip && this.reserve(pod.uid, ip)) this.attached.set(pod.uid, { ip, hostPorts: pod.hostPorts });
    }
    this.former = former;
    this.rememberFormer();
    this.publishAddresses();
    this.publishHostPorts();
  }

  /** Puts back what another program took away; runs once a minute by itself. */
  async verify(): Promise<void> {
    await this.table.verify();
    if (this.ready) await this.reconcile();
  }

  /** Resolves when all that is known so far is in the kernel. Throws NetworkError. */
  async settled(): Promise<void> {
    await this.serial.settled();
    await this.table.flush();
  }

  /** Removes everything of ours from the board, for an uninstall. Pods lose their network. */
  async cleanup(): Promise<void> {
    const ports = parseLinks(await this.commands.run(LIST_PORTS)).filter((link) => link.pod);
    for (const port of ports) await this.tolerate({ file: 'ip', args: ['link', 'del', port.name] });
    await this.tolerate({ file: 'ip', args: ['-4', 'route', 'flush', 'proto', String(ROUTE_PROTOCOL)] });
    await this.tolerate({ file: 'ip', args: ['link', 'del', BRIDGE] });
    await this.tolerate({ file: 'ip', args: ['link', 'del', OVERLAY] });
    await this.forward.cleanup();
    await this.table.remove();
    this.attached.clear();
  }

  private async attachNow(uid: string, pod: Pod, pid: number): Promise<{ ips: string[] }> {
    if (pod.spec?.hostNetwork)
      throw new NetworkError('Unsupported', 'a pod of the host network needs no interface');
    const hostPorts = hostPortsOf(pod);
    const ipam = await this.addresses();
    const known = this.attached.get(uid);
    claimHostPorts(uid, hostPorts, this.attached);
    if (known && (await this.holds(known, pid))) {
      known.pid = pid;
      if (hostPorts.length > 0) await this.openHostPorts(known, hostPorts);
      return { ips: [known.ip] };
    }
    // A new sandbox of the same pod: the old one's interface may linger until its namespace is gone.
    if (known) await this.wiring.detach(uid);
    const ip = ipam.allocate(uid);
    const record: Attached = { ip, hostPorts: [], pid };
    this.attached.set(uid, record);
    try {
      await this.wiring.attach({ podUid: uid, pid, ip, gateway: ipam.gateway, mtu: this.mtu });
      this.table.addPod(pod);
      // No packet of a pod before its policies stand.
      if (this.publishAddresses()) await this.table.flush();
      if (hostPorts.length > 0) await this.openHostPorts(record, hostPorts);
    } catch (error) {
      await this.detachNow(uid);
      throw error;
    }
    return { ips: [ip] };
  }

  private async detachNow(uid: string): Promise<void> {
    const record = this.attached.get(uid);
    this.attached.delete(uid);
    await this.wiring.detach(uid);
    this.ipam?.release(uid);
    this.publishAddresses();
    if (record && record.hostPorts.length > 0) this.publishHostPorts();
  }

  private async openHostPorts(record: Attached, hostPorts: readonly HostPort[]): Promise<void> {
    record.hostPorts = hostPorts;
    this.publishHostPorts();
    await this.table.flush();
  }

  private publishAddresses(): boolean {
    return this.table.setAddresses(new Map([...this.attached].map(([uid, { ip }]) => [uid, ip])));
  }

  private publishHostPorts(): void {
    const pods = [...this.attached.values()].filter((record) => record.hostPorts.length > 0);
    this.table.setHostPorts(pods.map((record) => ({ ip: record.ip, ports: record.hostPorts })));
  }

  /** Does the namespace of `pid` have the address already? */
  private async holds(record: Attached, pid: number): Promise<boolean> {
    if (record.pid === pid) return true;
    if (record.pid !== undefined) return false;
    try {
      const [link] = parseLinks(await this.commands.run(listPodAddresses(pid)));
      return link?.addresses.some((entry) => entry.address === record.ip) ?? false;
    } catch {
      return false;
    }
  }

  private reserve(uid: string, ip: string): boolean {
    return this.ipam === undefined || this.ipam.reserve(uid, ip);
  }

  private podCidr(): string | undefined {
    return this.nodes.find((node) => node.name === this.nodeName)?.podCIDR || undefined;
  }

  private async addresses(): Promise<Ipam> {
    if (this.ready && this.ipam) return this.ipam;
    await new Promise<void>((resolve, reject) => {
      const timer = this.clock.after(this.cidrDeadlineMs, () => {
        this.waiters = this.waiters.filter((waiter) => waiter !== arrived);
        reject(
          new NetworkError(
            'NoPodCIDR',
            this.podCidr()
              ? `the bridge ${BRIDGE} could not be set up; see the agent's log`
              : 'the node has no pod CIDR yet: the server has not given it one',
          ),
        );
      });
      const arrived = (): void => {
        timer.cancel();
        resolve();
      };
      this.waiters.push(arrived);
    });
    return this.addresses();
  }

  /** Bridge, routes and forwarding as they shall be. Failures are logged and tried again. */
  private reconcile(): Promise<void> {
    return this.serial.run('', async () => {
      const podCidr = this.podCidr();
      if (!podCidr || !this.running) return;
      try {
        this.adoptCidr(podCidr);
        await this.setUp();
      } catch (error) {
        this.logger.error({ error: String(error) }, 'cannot set up the pod network; trying again');
        this.retryTimer?.cancel();
        this.retryTimer = this.clock.after(RETRY_MS, () => void this.reconcile());
        return;
      }
      this.ready = true;
      for (const arrived of this.waiters.splice(0)) arrived();
    });
  }

  private adoptCidr(podCidr: string): void {
    const ipam = new Ipam({ podCidr });
    if (this.ipam?.prefix.base === ipam.prefix.base && this.ipam.prefix.length === ipam.prefix.length) return;
    for (const [uid, record] of this.attached) {
      if (!ipam.reserve(uid, record.ip)) {
        this.logger.warn(
          { uid, ip: record.ip, podCidr },
          'a pod keeps an address outside the pod CIDR until it is replaced',
        );
      }
    }
    this.ipam = ipam;
    this.rememberFormer();
  }

  private rememberFormer(): void {
    for (const [uid, ip] of this.former) this.ipam?.remember(uid, ip);
  }

  private async setUp(): Promise<void> {
    const ipam = this.ipam as Ipam;
    const links = parseLinks(await this.commands.run(LIST_LINKS));
    const routes = await this.commands.run(LIST_ROUTES);
    const known = { nodes: this.nodes, nodeName: this.nodeName, links, present: parseRoutes(routes) };
    const { offLink } = planRoutes(known);
    const uplinkMtu = this.uplinkMtu(links);
    const overlay = offLink.length > 0 && (await this.raiseOverlay(offLink, uplinkMtu - OVERLAY_OVERHEAD));
    // A packet of a pod may leave by either way.
    this.mtu = overlay ? uplinkMtu - OVERLAY_OVERHEAD : uplinkMtu;
    const serviceCidr = this.cluster?.serviceCidr;
    const bridge = planBridge(
      links.find((link) => link.name === BRIDGE),
      {
        gateway: ipam.gateway,
        prefixLength: ipam.prefix.length,
        mtu: this.mtu,
        serviceRoute: serviceCidr !== undefined && routes.includes(`"${serviceCidr}"`),
        ...(serviceCidr ? { serviceCidr } : {}),
      },
    );
    const plan = planRoutes({ ...known, overlay });
    const batch = [...bridge.batch, ...plan.batch];
    if (batch.length > 0) await this.commands.run(ipBatch(batch));
    for (const [path, value] of bridge.sysctls) await this.commands.write(path, value);
    for (const device of plan.devices) {
      await this.commands.write(`/proc/sys/net/ipv4/conf/${device}/route_localnet`, '1');
    }
    await this.forward.ensure(this.cluster?.clusterCidr);
    if (offLink.length === 0 && this.overlaid) {
      await applyOverlay(this.commands, planOverlay(await readOverlay(this.commands), undefined));
      this.overlaid = false;
    }
  }

  /** False where it cannot be had: the pods of this board get their network all the same. */
  private async raiseOverlay(nodes: readonly SharedNode[], mtu: number): Promise<boolean> {
    const local = this.nodes.find((node) => node.name === this.nodeName)?.internalIP ?? '';
    const gateway = (this.ipam as Ipam).gateway;
    try {
      const present = await readOverlay(this.commands);
      this.overlaid = true;
      await applyOverlay(this.commands, planOverlay(present, { local, gateway, mtu, nodes }));
      // A board that sees us on its own segment sends plainly what we send through the tunnel.
      await this.commands.write(`/proc/sys/net/ipv4/conf/${OVERLAY}/rp_filter`, '2');
      this.overlayFailure = '';
      return true;
    } catch (error) {
      const failure = String(error);
      if (failure !== this.overlayFailure) {
        const names = nodes.map((node) => `${node.name} (${node.internalIP})`).join(', ');
        this.logger.error(
          { nodes: names, error: failure },
          'no VXLAN: pods of boards behind a router cannot be reached from here',
        );
      }
      this.overlayFailure = failure;
      return false;
    }
  }

  /** The MTU of the device that has the node's own address, for the pods' packets leave by it. */
  private uplinkMtu(links: readonly Link[]): number {
    const own = this.nodes.find((node) => node.name === this.nodeName)?.internalIP;
    const uplink = links.find((link) => link.addresses.some((entry) => entry.address === own));
    return uplink && uplink.name !== 'lo' ? uplink.mtu : DEFAULT_MTU;
  }

  /** For what may be gone already. */
  private async tolerate(command: { file: string; args: readonly string[] }): Promise<void> {
    try {
      await this.commands.run(command);
    } catch (error) {
      this.logger.debug(
        { command: [command.file, ...command.args].join(' '), error: String(error) },
        'nothing to remove',
      );
    }
  }
}
