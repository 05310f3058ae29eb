import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Board, BoardNetwork } from '../support/boards.ts';
import { Cluster } from '../support/cluster.ts';
import { KubeSocket } from '../support/kube-socket.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { BoardRun, type Faults, NAMESPACE } from '../support/soak/board-run.ts';
import { type Census, census, compareCensus, ENGINE, holdings } from '../support/soak/census.ts';
import { heapOf } from '../support/soak/heap.ts';
import { SHAPE_NAMES } from '../support/soak/shapes.ts';

// Pods of all kinds come and go while containers, the process and Docker are killed; nothing is left of them in the end.
// `SOAK_PODS=500` is the long run; `COPEPOD_TEST_SEED` repeats one as far as the machine's timing lets it.
const PODS = Number(process.env.SOAK_PODS ?? 70);
const SETTLE_MS = 120_000;
/** A page of the heap here, a connection there: more than this is a leak. */
const DESCRIPTOR_SLACK = 6;
/** Events and the watches' history fill up to their bounds; a leak of 100 kB a pod is found by the long run. */
const MEMORY_SLACK_MIB = 12;
/** Buffers of what is under way. Slabs of 64 kB that one short Buffer each kept alive came to 6 MiB in 100 pods. */
const EXTERNAL_SLACK_MIB = 4;
/** What an engine that is killed may forget of the calls that were under way: as many as the agent makes at a time. */
const FORGOTTEN_A_KILL = 16;

const network = new BoardNetwork();
const random = new SeededRandom(process.env.COPEPOD_TEST_SEED ?? 'soak');
let board: Board;
let cluster: Cluster;
let api: KubeSocket;
let run: BoardRun;

beforeAll(async () => {
  await network.start();
  board = await network.board('pi');
  cluster = await Cluster.start({ board });
  api = new KubeSocket({ kubeconfig: cluster.kubeconfig, enter: board.enter });
  await api.start();
  await api.insist('POST', '/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE },
  });
  run = new BoardRun({ board, cluster, api, random });
});
afterAll(async () => {
  await api?.stop();
  await cluster?.dispose();
  await network.stop();
});

/** In the first half the process is killed; then it lives on, and what it holds has to stay as it is. */
function faultsOf(round: number, half: boolean): Faults {
  return { server: !half && round % 2 === 0, engine: round % 2 === 1 };
}

async function removeAll(): Promise<void> {
  for (const workload of [...run.workloads]) await run.unmake(workload);
  let left: unknown;
  await cluster
    .eventually(
      'all pods to be gone',
      async () => {
        const pods = await run.pods();
        const containers = await run.containers();
        left = [pods.map(({ metadata }) => metadata.name), containers.map(({ Names }) => Names[0])];
        return pods.length + containers.length === 0;
      },
      SETTLE_MS,
    )
    .catch((error: Error) => {
      throw new Error(`${JSON.stringify(left)}\n${error.message}`);
    });
}

it(`leaves exactly what is wanted after ${PODS} pods under faults (seed ${random.seed})`, async () => {
  const began = performance.now();
  const phases: Record<string, number> = {};
  const phase = (name: string): void => {
    phases[name] = Math.round((performance.now() - began) / 1000);
  };
  // What is made once and stays: bridge, table, chains, folders.
  for (const shape of SHAPE_NAMES) await run.make(shape);
  await removeAll();
  phase('warm');
  const before: Census = await census(board, cluster, run.uids);

  let fresh: Held | undefined;
  for (let round = 0; run.podsMade < PODS; round += 1) {
    const half = run.podsMade >= PODS / 2;
    await run.round(round, faultsOf(round, half));
    if (half) fresh ??= await held();
  }
  expect(run.violations).toEqual([]);
  phase('rounds');

  let lacking: string[] = ['nobody has looked'];
  await cluster
    .eventually(
      'exactly the desired containers',
      async () => {
        lacking = await run.unsettled();
        return lacking.length === 0;
      },
      SETTLE_MS,
    )
    .catch((error: Error) => {
      throw new Error(`${lacking.join('\n')}\n${error.message}`);
    });

  phase('settled');
  await removeAll();
  phase('removed');
  let leaked: string[] = ['nobody has looked'];
  await cluster
    .eventually('nothing to be left', async () => {
      leaked = compareCensus(before, await census(board, cluster, run.uids));
      return leaked.every((entry) => entry.startsWith(ENGINE));
    })
    .catch(() => {});
  phase('counted');
  // Connections that are kept for the next call are closed after some seconds without one.
  const most = (fresh?.descriptors ?? 0) + DESCRIPTOR_SLACK;
  await cluster
    .eventually('descriptors', async () => holdings(board, cluster.process.pid).descriptors <= most)
    .catch(() => {});
  const after = await held();
  if (process.env.SOAK_PODS) {
    console.table(run.rounds.map((each) => ({ ...each, kills: each.kills.join(' ') })));
    console.log({ pods: run.podsMade, phases, fresh, after, forgotten: leaked.length });
  }
  const kills = run.rounds.flatMap((round) => round.kills).filter((victim) => victim === 'engine').length;
  expect(leaked.filter((entry) => !entry.startsWith(ENGINE))).toEqual([]);
  expect(leaked.length, leaked.join('\n')).toBeLessThanOrEqual(kills * FORGOTTEN_A_KILL);
  expect(after.descriptors).toBeLessThanOrEqual(most);
  expect(after.engineConnections).toBeLessThanOrEqual(8);
  expect(after.live).toBeLessThanOrEqual((fresh?.live ?? 0) + MEMORY_SLACK_MIB);
  expect(after.external).toBeLessThanOrEqual((fresh?.external ?? 0) + EXTERNAL_SLACK_MIB);
  expect(errorLines()).toEqual([]);
}, 3_600_000);

type Held = Awaited<ReturnType<typeof held>>;

async function held() {
  const { pid } = cluster.process;
  await board.docker.collect();
  // First: the inspector, which tells of the heap, costs memory and connections itself.
  const now = holdings(board, pid);
  return { ...now, ...(await heapOf(board, pid)) };
}

/** Lines of level error or worse. */
function errorLines(): string[] {
  return cluster.process
    .log()
    .split('\n')
    .filter((line) => /"level":"(error|fatal)"/.test(line));
}
