import { LABEL } from '../../src/agent/names.ts';
import type { ObservedContainer } from '../../src/agent/runtime.ts';
import { builtInResources, Catalogue } from '../../src/api/catalogue.ts';
import { loadBootstrapObjects, loadResourceFacts, loadSchemaFacts } from '../../src/api/facts.ts';
import { groupResource } from '../../src/api/resource.ts';
import { Schemas } from '../../src/api/schema.ts';
import { LOCAL_PATH_STORAGE_CLASS } from '../../src/server/controllers/storage/default-class.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { SimulatedBroker } from '../support/simulated-broker.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { Board } from './board.ts';
import { Mirror } from './mirror.ts';
import { Rules } from './rules.ts';
import { type Facts, Server } from './server.ts';
import { Trace } from './trace.ts';
import { Workload } from './workload.ts';

export const BOARDS = 5;

export async function loadFacts(): Promise<Facts> {
  const schemaFile = await loadSchemaFacts();
  // Loaded now: what is imported lazily while the clock stands still would come at an unknown moment.
  await import('node-cron');
  return {
    catalogue: new Catalogue(builtInResources(await loadResourceFacts(), schemaFile as never)),
    schemas: new Schemas(schemaFile),
    // Roles and flow schemas decide nothing here, and would be most of every start.
    bootstrapObjects: [
      ...(await loadBootstrapObjects()).filter(({ kind }) => kind === 'PriorityClass'),
      LOCAL_PATH_STORAGE_CLASS,
    ],
  };
}

/** One server, five boards and a user, in one process on one clock. All of it follows from the seed. */
export class Cluster {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly violations: string[] = [];
  readonly broker: SimulatedBroker;
  readonly server: Server;
  readonly boards: readonly Board[];
  readonly mirror: Mirror;
  readonly rules: Rules;
  readonly workload: Workload;

  constructor(options: { seed: string; facts: Facts; externalBroker: boolean }) {
    const { clock } = this;
    this.random = new SeededRandom(options.seed);
    const begin = clock.monotonic();
    this.trace = new Trace(() => clock.monotonic() - begin);
    const { trace, random } = this;
    const violation = (what: string): void => this.violation(what);
    this.mirror = new Mirror(violation);
    this.rules = new Rules({ now: () => clock.monotonic(), violation });
    this.broker = new SimulatedBroker({ clock, random: random.fork('broker') });
    this.server = new Server({
      clock,
      random: random.fork('server'),
      broker: this.broker,
      facts: options.facts,
      externalBroker: options.externalBroker,
      trace,
      violation,
      onEvent: (bucket, event) => {
        if (bucket !== 'events' && bucket !== 'leases.coordination.k8s.io') {
          trace.add('api', `${event.type} ${bucket} ${event.key} ${event.revision}${detail(event.object)}`);
        }
        this.mirror.event(bucket, event);
        this.rules.event(bucket, event);
      },
      onRecovered: (plane, mayBeGone) => {
        const buckets = new Set(options.facts.catalogue.all().map((info) => groupResource(info)));
        this.mirror.recovered(plane.store, buckets, mayBeGone);
        this.rules.recovered(plane.store);
        this.workload.verify(plane.store, violation);
      },
    });
    this.boards = Array.from({ length: BOARDS }, (_, index) => {
      const name = `board-${index + 1}`;
      return new Board({
        name,
        index,
        clock,
        random: random.fork(name),
        broker: this.broker,
        trace,
        violation: (what) => violation(`${name}: ${what}`),
        onStart: (board, container) => this.started(board, container),
        onStop: (container) => this.stopped(this.board(name), container),
      });
    });
    this.workload = new Workload({
      client: () => this.server.client,
      clock,
      random: random.fork('user'),
      trace,
      boards: this.boards.map(({ name }) => name),
    });
  }

  async start(): Promise<void> {
    void this.server.start();
    await this.clock.runUntil(() => this.server.up, 60_000, 'the first start of the server');
    for (const board of this.boards) void board.startAgent();
    void this.workload.prepare();
  }

  violation(what: string): void {
    this.violations.push(what);
    this.trace.add('VIOLATION', what);
  }

  /** Nothing of the cluster acts any more: for the sake of the process that runs the next one. */
  end(): void {
    this.workload.stop();
    for (const board of this.boards) board.killAgent();
    this.server.kill();
  }

  private started(board: string, container: ObservedContainer): void {
    const { labels } = container;
    const pod = `${labels[LABEL.podNamespace]}/${labels[LABEL.podName]}`;
    const uid = labels[LABEL.podUid] ?? '';
    this.trace.add(board, `runs ${container.name}`);
    if (!/\/state-\d+-\d+$/.test(pod)) return;
    for (const other of this.boards) {
      if (this.workload.givenUp.has(other.name)) continue;
      const twin = other.machine.running.find(
        ({ labels: theirs }) =>
          `${theirs[LABEL.podNamespace]}/${theirs[LABEL.podName]}` === pod && theirs[LABEL.podUid] !== uid,
      );
      if (twin)
        this.violation(
          `${pod} runs as ${uid} on ${board} and as ${twin.labels[LABEL.podUid]} on ${other.name}`,
        );
    }
  }

  private board(name: string): Board {
    return this.boards.find((board) => board.name === name) as Board;
  }

  /** Nobody ends a pod that serves and is wanted: not an agent that does not remember it either. */
  private stopped(board: Board, { name, labels }: ObservedContainer): void {
    this.trace.add(board.name, `ends ${name}`);
    const uid = labels[LABEL.podUid] ?? '';
    // Without its sandbox a pod has to begin anew.
    const whole = board.machine.running.some(
      (other) => other.labels[LABEL.podUid] === uid && other.labels[LABEL.type] === 'podsandbox',
    );
    if (whole && this.rules.serves(uid)) this.violation(`${board.name} ends ${name}, which is wanted`);
  }
}

function detail(object: object): string {
  const { metadata, spec, status } = object as {
    metadata: { deletionTimestamp?: string };
    spec?: { nodeName?: string };
    status?: { phase?: string; conditions?: { type: string; status: string; reason?: string }[] };
  };
  const conditions = Array.isArray(status?.conditions) ? status.conditions : [];
  const ready = conditions.find(({ type }) => type === 'Ready')?.status;
  const disruption = conditions.find(({ type }) => type === 'DisruptionTarget')?.reason;
  return [
    spec?.nodeName ? ` @${spec.nodeName}` : '',
    status?.phase ? ` ${status.phase}` : '',
    ready ? ` ready=${ready}` : '',
    disruption ? ` ${disruption}` : '',
    metadata.deletionTimestamp ? ' deleting' : '',
  ].join('');
}
