import type { Catalogue } from '../../src/api/catalogue.ts';
import type { JsonObject } from '../../src/api/object.ts';
import { groupResource } from '../../src/api/resource.ts';
import type { Schemas } from '../../src/api/schema.ts';
import type { Client } from '../../src/client/port.ts';
import { timestamp } from '../../src/lib/clock.ts';
import { ControlPlane } from '../../src/server/control-plane.ts';
import { LocalClient } from '../../src/server/registry/local-client.ts';
import { MemoryDisk, MemoryEngine } from '../../src/server/store/memory-engine.ts';
import type { StoreEvent } from '../../src/server/store/port.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SimulatedBroker, SimulatedBus } from '../support/simulated-broker.ts';
import type { VirtualClock, VirtualClockView } from '../support/virtual-clock.ts';
import { Life } from './life.ts';
import type { Trace } from './trace.ts';

export interface Facts {
  catalogue: Catalogue;
  schemas: Schemas;
  bootstrapObjects: readonly JsonObject[];
}

interface ServerProcess {
  life: Life;
  clock: VirtualClockView;
  bus: SimulatedBus;
  plane: ControlPlane;
  client: Client;
  ready: boolean;
}

/** The server: its disk, and the process that comes and goes. The broker is inside it and dies with it, or outlives it. */
export class Server {
  readonly disk = new MemoryDisk();
  /** The newest revision that anybody has seen. */
  seenRevision = 0;
  private readonly clock: VirtualClock;
  private readonly random: SeededRandom;
  private readonly broker: SimulatedBroker;
  private readonly facts: Facts;
  private readonly externalBroker: boolean;
  private readonly trace: Trace;
  private readonly violation: (what: string) => void;
  private readonly onEvent: (bucket: string, event: StoreEvent) => void;
  private readonly onRecovered: (
    plane: ControlPlane,
    mayBeGone: (bucket: string, key: string) => boolean,
  ) => void;
  /** The process dies right after its next fsync, before it tells anyone. */
  crashAtSync = false;
  onCrash: () => void = () => {};
  private process: ServerProcess | undefined;
  private starts = 0;
  /** Rows that were synced and perhaps never shown. */
  private readonly unshown = new Set<string>();
  private offset = 0;

  constructor(options: {
    clock: VirtualClock;
    random: SeededRandom;
    broker: SimulatedBroker;
    facts: Facts;
    /** The broker is another process and outlives this one. */
    externalBroker: boolean;
    trace: Trace;
    violation: (what: string) => void;
    onEvent: (bucket: string, event: StoreEvent) => void;
    /** The store was read back, and nobody has written yet. */
    onRecovered: (plane: ControlPlane, mayBeGone: (bucket: string, key: string) => boolean) => void;
  }) {
    this.clock = options.clock;
    this.random = options.random;
    this.broker = options.broker;
    this.facts = options.facts;
    this.externalBroker = options.externalBroker;
    this.trace = options.trace;
    this.violation = options.violation;
    this.onEvent = options.onEvent;
    this.onRecovered = options.onRecovered;
  }

  get up(): boolean {
    return this.process?.ready ?? false;
  }

  /** The running process; undefined while there is none or it still starts. */
  get plane(): ControlPlane | undefined {
    return this.process?.ready ? this.process.plane : undefined;
  }

  /** The user's client of this process; what is under way when it dies never comes back. */
  get client(): Client | undefined {
    return this.process?.ready ? this.process.client : undefined;
  }

  get bus(): SimulatedBus | undefined {
    return this.process?.bus;
  }

  /** Resolves when the process serves, or never when it dies first. */
  async start(): Promise<void> {
    if (this.process) return;
    this.starts += 1;
    const random = this.random.fork(`process-${this.starts}`);
    const life = new Life();
    const clock = this.clock.view({ offset: this.offset });
    const logger = this.trace.logger('server', (message) => {
      if (!EXPECTED.test(message)) this.violation(`logged an error: ${message}`);
    });
    if (!this.externalBroker) this.broker.restart();
    const bus = this.broker.bus({ clientId: 'server' });
    const engine = this.crashing(new MemoryEngine({ disk: this.disk, clock }));
    const plane = new ControlPlane({
      ...this.facts,
      engine: life.guard(engine),
      bus,
      clock,
      random,
      logger,
      clusterCidr: '10.42.0.0/16',
      serviceCidr: '10.43.0.0/16',
      clusterDns: '10.43.0.10',
      clusterDomain: 'cluster.local',
      ca: '-----BEGIN CERTIFICATE-----\n',
      advertise: { address: '192.168.1.2', port: 6443 },
      freeze: true,
      externalBroker: this.externalBroker,
    });
    const client = life.guard(
      new LocalClient({
        registry: plane.registry,
        user: { name: 'simulated-user', groups: ['system:masters'] },
        logger,
      }),
    );
    const process: ServerProcess = { life, clock, bus, plane, client, ready: false };
    this.process = process;
    const watching = this.watchStart(process);
    try {
      await life.gate(plane.start());
    } catch (error) {
      // A failing disk: the process ends, and its supervisor starts it again.
      this.trace.add('server', `start failed: ${(error as Error).message}`);
      if (this.process === process) this.kill();
      this.clock.after(5000, () => void this.start());
      return;
    }
    watching.check();
    process.ready = true;
    this.trace.add('server', `serves at revision ${plane.store.revision}, ${timestamp(clock.now())}`);
  }

  /** SIGKILL or a power cut: unsynced transactions are lost from some point on. */
  kill(): void {
    const { process } = this;
    if (!process) return;
    this.process = undefined;
    process.life.end();
    process.clock.stop();
    process.bus.kill();
    if (!this.externalBroker) this.broker.crash();
    this.disk.crash(this.random.integer(this.disk.unsynced + 1));
  }

  jumpClock(offset: number): void {
    this.process?.clock.jump(offset - this.offset);
    this.offset = offset;
  }

  private crashing(engine: MemoryEngine): MemoryEngine {
    const apply = engine.apply.bind(engine);
    engine.apply = async (rows, options) => {
      await apply(rows, options);
      if (!this.crashAtSync || !options.sync) return;
      this.crashAtSync = false;
      for (const { bucket, key } of rows) this.unshown.add(`${bucket} ${key}`);
      this.trace.add('server', '! crashes after its fsync');
      this.kill();
      this.onCrash();
    };
    return engine;
  }

  /** Follows every bucket from the moment at which the store is read. */
  private watchStart(process: ServerProcess): { check(): void } {
    const { store } = process.plane;
    const start = store.start.bind(store);
    let recovered = false;
    store.start = async () => {
      await start();
      recovered = true;
      if (store.revision < this.seenRevision) {
        this.violation(`revisions went back: ${store.revision} after ${this.seenRevision}`);
      }
      this.onRecovered(process.plane, (bucket, key) => this.unshown.has(`${bucket} ${key}`));
      this.unshown.clear();
      const buckets = new Set(this.facts.catalogue.all().map((info) => groupResource(info)));
      for (const bucket of buckets) {
        store.watch(bucket, undefined, (event) => {
          if (process.life.ended) return;
          if (event.revision <= this.seenRevision) {
            this.violation(
              `revision ${event.revision} of ${bucket} ${event.key} came after ${this.seenRevision}`,
            );
          }
          this.seenRevision = Math.max(this.seenRevision, event.revision);
          this.onEvent(bucket, event);
        });
      }
    };
    return {
      check: () => {
        if (!recovered) throw new Error('the store was not started by the control plane');
      },
    };
  }
}

/** What a server may complain of when its disk fails. */
const EXPECTED = /a batch failed/;
