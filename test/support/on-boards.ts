import { afterAll, afterEach, beforeAll } from 'vitest';
import { type Board, BoardNetwork } from './boards.ts';
import { Cluster, type ClusterOptions, JoinedAgent } from './cluster.ts';
import { explain } from './explain.ts';
import { lookAt } from './look-at.ts';

type AsMany<Names extends readonly unknown[], T> = { [Index in keyof Names]: T };
type Joined<Names extends readonly unknown[]> = Names extends readonly [unknown, ...infer Rest] ? Rest : [];

export interface OnBoardsOptions<Others extends readonly string[]> {
  /** Further flags of `copepod server`, or what gives them once the boards stand. */
  flags?: ClusterOptions['flags'];
  /** Boards of the same network that have no part in the cluster. */
  others?: Others;
  /** Called when the boards stand, before the server starts. */
  prepare?: () => Promise<void> | void;
  /** Called when all nodes are Ready: what the first test finds there. */
  begin?: () => Promise<unknown>;
  /** Called when the cluster has stopped, before its boards do. */
  end?: () => Promise<unknown>;
}

/**
 * A cluster for the tests of this file, or of this `describe`: it stands when the first test begins, and nothing of it is
 * left after the last. The server runs on the first board, an agent on each of the others. What is returned may be taken
 * apart at once, and is used from `prepare` on. A test that fails is followed by what the cluster tells of itself.
 */
export function onBoards<
  const Names extends readonly [string, ...string[]],
  const Others extends readonly string[] = [],
>(names: Names, options: OnBoardsOptions<Others> = {}) {
  const network = new BoardNetwork();
  const [first, ...rest] = names.map((name) => network.add(name)) as [Board, ...Board[]];
  const others = (options.others ?? []).map((name) => network.add(name));
  const cluster = Cluster.on(first, options.flags);
  const agents = rest.map((board) => new JoinedAgent({ board, cluster }));

  beforeAll(async () => {
    try {
      await network.start();
      await options.prepare?.();
      const since = Date.now();
      await cluster.start();
      for (const agent of agents) agent.process.start();
      await Promise.all(rest.map(({ name }) => cluster.nodeReady(name, since)));
      await options.begin?.();
    } catch (error) {
      console.error(await explain(cluster, agents));
      throw error;
    }
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') console.error(await explain(cluster, agents));
  });
  afterAll(async () => {
    await Promise.all([cluster, ...agents].map((each) => each.dispose()));
    await options.end?.();
    await network.stop();
  });

  return {
    network,
    boards: [first, ...rest] as unknown as AsMany<Names, Board>,
    others: others as unknown as AsMany<Others, Board>,
    agents: agents as unknown as AsMany<Joined<Names>, JoinedAgent>,
    cluster,
    ...lookAt(cluster),
  };
}
