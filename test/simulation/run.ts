import { SeededRandom } from '../support/seeded-random.ts';
import { Cluster } from './cluster.ts';
import { Faults } from './faults.ts';
import { problems } from './invariants.ts';
import type { Facts } from './server.ts';

const MINUTE = 60_000;
/** From the last fault until everything must be right: the longest back-offs, and what evictions bring. */
const DEADLINE_MS = 40 * MINUTE;
const LOOK_EVERY_MS = 5000;
/** Right once is not yet right. */
const STABLE_MS = MINUTE;

/** A quiet cluster of this size has less than a hundred. */
const MOST_TIMERS = 250;

export interface Outcome {
  seed: string;
  violations: readonly string[];
  digest: string;
  trace: string;
  virtualMs: number;
  /** Virtual time from the last fault until everything was right. */
  healedMs: number;
  acknowledged: number;
  refused: number;
  /** Timers that wait when all is quiet. */
  timers: number;
}

export interface RunOptions {
  seed: string;
  facts: Facts;
  /** Only these faults. */
  only?: readonly string[];
  /** Also when all is well. */
  keepTrace?: boolean;
}

/** One cluster's life: some minutes of work and faults, then quiet, then everything must be as asked. */
export async function runSeed({ seed, facts, only, keepTrace }: RunOptions): Promise<Outcome> {
  const style = new SeededRandom(`${seed}/style`);
  const externalBroker = style.chance(0.2);
  const cluster = new Cluster({ seed, facts, externalBroker });
  const { clock, random, trace, server, boards, workload, violations } = cluster;
  let healedMs = 0;
  try {
    await cluster.start();
    await clock.advance(20_000);
    const faults = new Faults({
      clock,
      random: random.fork('faults'),
      server,
      boards,
      trace,
      broker: externalBroker ? cluster.broker : undefined,
      ...(only === undefined ? {} : { only }),
    });
    // A few live long enough for evictions, with less to do in each minute.
    const long = style.chance(0.08);
    workload.start(long ? 12_000 : style.pick([1500, 3000, 6000]));
    faults.start(long ? 30_000 : style.pick([2500, 6000, 15_000]));
    const lasts = long ? 15 * MINUTE : 2 * MINUTE + style.number() * 3 * MINUTE;
    for (let spent = 0; spent < lasts && violations.length === 0; spent += 1000) await clock.advance(1000);

    if (violations.length === 0) {
      workload.stop();
      await faults.heal();
      // A node that a user deleted comes back with its agent.
      await clock.advance(30_000);
      for (const board of boards) {
        if (server.plane?.store.get('nodes', board.name)) continue;
        trace.add(board.name, 'agent is restarted: its node was deleted');
        board.killAgent();
        await board.startAgent();
      }
      let tidy = false;
      void workload.tidyUp().then(() => {
        tidy = true;
      });
      healedMs = await untilRight(cluster, () => tidy);
    }
    if (violations.length === 0 && clock.pending > MOST_TIMERS) {
      cluster.violation(`${clock.pending} timers wait for nothing`);
    }
    if (violations.length === 0 && server.plane) {
      workload.verify(server.plane.store, (what) => cluster.violation(what));
    }
  } catch (error) {
    cluster.violation((error as Error).stack ?? String(error));
  }
  const outcome: Outcome = {
    seed,
    violations: [...violations],
    digest: trace.digest(),
    trace: keepTrace || violations.length > 0 ? trace.text() : '',
    virtualMs: clock.monotonic(),
    healedMs,
    acknowledged: workload.acknowledged,
    refused: workload.refused,
    timers: clock.pending,
  };
  cluster.end();
  return outcome;
}

async function untilRight(cluster: Cluster, tidy: () => boolean): Promise<number> {
  const { clock, violations } = cluster;
  const begin = clock.monotonic();
  let rightSince: number | undefined;
  let last: string[] = [];
  while (violations.length === 0) {
    await clock.advance(LOOK_EVERY_MS);
    const now = clock.monotonic();
    last = tidy() ? problems(cluster) : ['the user could not tidy up'];
    if (last.length === 0) {
      rightSince ??= now;
      if (now - rightSince >= STABLE_MS) return rightSince - begin;
      continue;
    }
    rightSince = undefined;
    if (now - begin > DEADLINE_MS) {
      for (const problem of last.slice(0, 12)) cluster.violation(`not right in the end: ${problem}`);
    }
  }
  return clock.monotonic() - begin;
}
