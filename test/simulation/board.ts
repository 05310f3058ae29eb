import { AgentCore } from '../../src/agent/agent-core.ts';
import { AgentConnection } from '../../src/agent/connection.ts';
import type { NodeFacts } from '../../src/agent/ports.ts';
import type { ObservedContainer } from '../../src/agent/runtime.ts';
import type { BoardMeasurements } from '../../src/api/board.ts';
import { FakeFiles } from '../support/fake-node.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SimulatedBroker, SimulatedBus } from '../support/simulated-broker.ts';
import type { VirtualClock, VirtualClockView } from '../support/virtual-clock.ts';
import { BoardDisk, BoardVolumes } from './board-disk.ts';
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
  journal: SimulatedJournal;
  core: AgentCore;
}

/** A board: the machine and what lies on it, and the agent process that comes and goes. */
export class Board {
  readonly name: string;
  readonly machine: Machine;
  readonly journalDisk = new JournalDisk();
  /** In the kernel and on tmpfs. */
  readonly addresses = new Map<string, string>();
  files = new FakeFiles();
  readonly disk = new BoardDisk();
  /** Called when the sandbox of a new pod starts, before the agent hears of it. */
  onNewPod: () => void = () => {};
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
    /** The agent ends a running container. */
    onStop: (container: ObservedContainer) => void;
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
      onStart: (container) => {
        options.onStart(this.name, container);
        if (/^k8s_POD_.*_0$/.test(container.name)) this.onNewPod();
      },
      onStop: options.onStop,
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
    const network = new SimulatedNetwork({ clock, node, attached: this.addresses });
    const volumes = new BoardVolumes({
      node,
      disk: this.disk,
      desired: () => core.desired,
      running: () => this.machine.running,
      violation: this.violation,
    });
    const core: AgentCore = new AgentCore({
      node,
      boot,
      bus,
      journal,
      clock,
      random,
      logger,
      parallelStarts: 4,
      board: {
        runtime: life.guard(this.machine.runtime()),
        network: life.guard(network),
        volumes: life.guard(volumes),
        files: life.guard(this.files),
        sandboxImage: { reference: 'sim/pause:1', ensure: async () => {} },
        node: () => ({
          name: node,
          ips: [this.address],
          memoryCapacityBytes: 1024 * MIB,
          allocatable: { cpu: '4', memory: '900Mi' },
          oomScoreFloor: -1000,
        }),
        clusterDomain: () => 'cluster.local',
        measure: async () => this.measurements(random),
        conditions: () => ({}),
        facts: async () => this.facts(boot),
        onStream: () => {},
        usageMeter: async () => this.machine.usageMeter(),
        removeDirectory: (path) => life.guard(volumes).removeDirectory(path),
      },
    });
    this.process = { life, clock, bus, journal, core };
    core.load();
    const { desired } = core;
    desired.onChange(({ kind }) => {
      if (kind === 'network') network.update(desired.nodes(), desired.cluster());
    });
    network.update(desired.nodes(), desired.cluster());
    await life.gate(core.connection.start());
    void life.gate(core.start());
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
    await process.core.stop();
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
