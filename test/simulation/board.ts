import { AgentConnection } from '../../src/agent/connection.ts';
import { DesiredStore } from '../../src/agent/desired.ts';
import { HeartbeatSender } from '../../src/agent/heartbeat.ts';
import { ImageManager } from '../../src/agent/images/image-manager.ts';
import { Limiter } from '../../src/agent/limiter.ts';
import { Handlers } from '../../src/agent/pods/handlers.ts';
import { PodManager } from '../../src/agent/pods/manager.ts';
import { PodEvents } from '../../src/agent/pods/pod-events.ts';
import type { NodeFacts } from '../../src/agent/ports.ts';
import { StatusReporter } from '../../src/agent/reporter.ts';
import type { ObservedContainer } from '../../src/agent/runtime.ts';
import type { BoardMeasurements } from '../../src/api/board.ts';
import { FakeFiles, FakeVolumes } from '../support/fake-node.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SimulatedBroker, SimulatedBus } from '../support/simulated-broker.ts';
import type { VirtualClock, VirtualClockView } from '../support/virtual-clock.ts';
import { JournalDisk, SimulatedJournal } from './journal-disk.ts';
import { Life } from './life.ts';
import { Machine, SimulatedNetwork } from './machine.ts';
import type { Trace } from './trace.ts';

const MIB = 1024 * 1024;

/** What one agent process consists of. */
interface AgentProcess {
  life: Life;
  clock: VirtualClockView;
  bus: SimulatedBus;
  connection: AgentConnection;
  manager: PodManager;
  journal: SimulatedJournal;
  reporter: StatusReporter;
  desired: DesiredStore;
}

/** A board: the machine and what lies on it, and the agent process that comes and goes. */
export class Board {
  readonly name: string;
  readonly machine: Machine;
  readonly journalDisk = new JournalDisk();
  /** In the kernel and on tmpfs. */
  readonly addresses = new Map<string, string>();
  files = new FakeFiles();
  /** Pods that have directories. */
  volumes = new Set<string>();
  powered = true;
  /** The board's wall clock against true time. */
  clockOffset = 0;
  linkUp = true;
  private readonly index: number;
  private readonly clock: VirtualClock;
  private readonly random: SeededRandom;
  private readonly broker: SimulatedBroker;
  private readonly trace: Trace;
  private readonly violation: (what: string) => void;
  private process: AgentProcess | undefined;
  private boots = 0;

  constructor(options: {
    name: string;
    index: number;
    clock: VirtualClock;
    random: SeededRandom;
    broker: SimulatedBroker;
    trace: Trace;
    violation: (what: string) => void;
    onStart: (board: string, container: ObservedContainer) => void;
  }) {
    this.name = options.name;
    this.index = options.index;
    this.clock = options.clock;
    this.random = options.random;
    this.broker = options.broker;
    this.trace = options.trace;
    this.violation = options.violation;
    this.machine = new Machine({
      name: this.name,
      clock: options.clock,
      random: options.random.fork('machine'),
      violation: options.violation,
      onStart: (container) => options.onStart(this.name, container),
    });
  }

  get agent(): AgentProcess | undefined {
    return this.process;
  }

  get bus(): SimulatedBus | undefined {
    return this.process?.bus;
  }

  async startAgent(): Promise<void> {
    if (this.process || !this.powered) return;
    this.boots += 1;
    const random = this.random.fork(`agent-${this.boots}`);
    const boot = random.uuid();
    const node = this.name;
    const life = new Life();
    const clock = this.clock.view({ offset: this.clockOffset });
    const logger = this.trace.logger(node, (message) => this.violation(`logged an error: ${message}`));
    const bus = this.broker.bus({ clientId: node, node, will: AgentConnection.lastWill(node, boot) });
    if (!this.linkUp) bus.setLink(false);
    const journal = new SimulatedJournal({ disk: this.journalDisk, clock });
    const desired = new DesiredStore({ node, journal, logger });
    const reporter = new StatusReporter({
      node,
      bus,
      clock,
      random,
      logger,
      journal,
      isDesired: (uid) => desired.pod(uid) !== undefined,
    });
    const events = new PodEvents(reporter);
    const runtime = life.guard(this.machine.runtime());
    const network = new SimulatedNetwork({ clock, node, attached: this.addresses });
    const manager = new PodManager({
      services: {
        clock,
        logger,
        runtime,
        network: life.guard(network),
        volumes: life.guard(new BoardVolumes(this.volumes, desired)),
        files: life.guard(this.files),
        images: new ImageManager({ runtime, clock, desired, events, parallelPulls: 2 }),
        handlers: new Handlers({ runtime, clock }),
        events,
        reporter,
        desired,
        sandboxImage: { reference: 'sim/pause:1', ensure: async () => {} },
        node: () => ({
          name: node,
          ips: [this.address],
          memoryCapacityBytes: 1024 * MIB,
          allocatable: { cpu: '4', memory: '900Mi' },
          oomScoreFloor: -1000,
        }),
        clusterDomain: () => 'cluster.local',
        lastStatus: (uid) => reporter.lastStatus(uid),
        startLimiter: new Limiter(10),
        removeLimiter: new Limiter(4),
        imageNames: new Map(),
      },
      onRuntime: () => void heartbeat.now(),
    });
    const heartbeat = new HeartbeatSender({
      node,
      bus,
      clock,
      random,
      logger,
      measure: async () => this.measurements(random),
      conditions: (): Record<string, string> =>
        manager.runtimeAvailable ? {} : { Ready: 'the container engine does not answer' },
    });
    const connection = new AgentConnection({
      node,
      boot,
      bus,
      desired,
      reporter,
      heartbeat,
      facts: async () => this.facts(boot),
      onStream: () => {},
      clock,
      logger,
    });
    this.process = { life, clock, bus, connection, manager, journal, reporter, desired };
    desired.load();
    desired.onChange(({ kind }) => {
      if (kind === 'network') network.update(desired.nodes(), desired.cluster());
    });
    network.update(desired.nodes(), desired.cluster());
    await life.gate(connection.start());
    void life.gate(manager.start());
  }

  /** SIGKILL: containers live on. What the journal has not written is lost, what it has written the kernel keeps. */
  killAgent(): void {
    const { process } = this;
    if (!process) return;
    this.process = undefined;
    process.life.end();
    process.clock.stop();
    process.bus.kill();
  }

  async stopAgent(): Promise<void> {
    const { process } = this;
    if (!process) return;
    this.process = undefined;
    await process.connection.stop();
    await process.manager.stop();
    await process.journal.stop();
    process.life.end();
    process.clock.stop();
  }

  powerCut(options: { engineLost: boolean }): void {
    this.killAgent();
    this.powered = false;
    this.machine.powerCut(options.engineLost);
    this.addresses.clear();
    this.files = new FakeFiles();
    this.journalDisk.powerCut((unsynced) => this.random.integer(unsynced + 1));
  }

  async powerOn(clockOffset: number): Promise<void> {
    this.powered = true;
    this.clockOffset = clockOffset;
    await this.startAgent();
  }

  jumpClock(offset: number): void {
    this.process?.clock.jump(offset - this.clockOffset);
    this.clockOffset = offset;
  }

  /** The cable; noticed at once on both sides. */
  setLink(up: boolean): void {
    this.linkUp = up;
    this.bus?.setLink(up);
  }

  private get address(): string {
    return `192.168.1.${10 + this.index}`;
  }

  private async measurements(random: SeededRandom): Promise<BoardMeasurements> {
    return {
      cpu: random.number() * 0.5,
      load: random.number(),
      memTotal: 1024 * MIB,
      memAvailable: 600 * MIB,
      diskTotal: 16_000 * MIB,
      diskAvailable: 8_000 * MIB,
    };
  }

  private facts(boot: string): NodeFacts {
    const resources = { cpu: '4', memory: '921600Ki', 'ephemeral-storage': '16000000Ki', pods: '110' };
    return {
      labels: {},
      taints: [],
      addresses: [
        { type: 'InternalIP', address: this.address },
        { type: 'Hostname', address: this.name },
      ],
      capacity: resources,
      allocatable: resources,
      nodeInfo: {
        architecture: 'arm64',
        bootID: boot,
        containerRuntimeVersion: 'docker://20.10.24',
        kernelVersion: '6.1',
        kubeProxyVersion: '',
        kubeletVersion: 'v1.36.0+copepod.0',
        machineID: this.name,
        operatingSystem: 'linux',
        osImage: 'Debian',
        systemUUID: this.name,
      },
    };
  }
}

/** FakeVolumes whose directories outlive the agent. */
class BoardVolumes extends FakeVolumes {
  constructor(prepared: Set<string>, desired: DesiredStore) {
    super(desired);
    (this as { prepared: Set<string> }).prepared = prepared;
  }
}
