import type { Cluster, JoinedAgent } from './cluster.ts';

/** Of a log: what happened at the end of a test is there. */
const LOG_LINES = 80;
const EVENTS = 60;

/** What somebody would look at first when a test has failed. Rejects never: what cannot be had is said. */
export async function explain(cluster: Cluster, agents: readonly JoinedAgent[]): Promise<string> {
  const ask = async (words: string, last = Number.POSITIVE_INFINITY): Promise<string> => {
    const answer = await cluster.kubectl
      .run([...words.split(' '), '--request-timeout=5s'], { timeoutMs: 15_000 })
      .then(
        ({ stdout, stderr }) => stdout + stderr,
        (error: Error) => error.message,
      );
    const [head = '', ...lines] = answer.trimEnd().split('\n');
    return [`--- kubectl ${words}`, head, ...lines.slice(-last)].join('\n');
  };
  const answers = await Promise.all([
    ask('get nodes -o wide'),
    ask('get pods -A -o wide'),
    ask('get events -A --sort-by=.metadata.creationTimestamp', EVENTS),
  ]);
  const logs = [cluster, ...agents].map(({ process }) => process.logTail(LOG_LINES));
  return [...answers, ...logs].join('\n\n');
}
