import { expect, it } from 'vitest';
import type { KubeAnswer, KubeClient } from '../../scripts/lib/kube.mjs';
import type { ConfigMap } from '../../src/api/types/core-v1.ts';
import { Cluster } from '../support/cluster.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { untilRandomMoment } from '../support/wait.ts';

// SIGKILL at random moments under load: what was acknowledged is there, and revisions never go back.
const ROUNDS = Number(process.env.COPEPOD_TEST_KILL_ROUNDS ?? 50);
/** Each has a server of its own, and half of the rounds. */
const LANES = ['one', 'two'];
const WRITERS = 16;
const NAMES_PER_WRITER = 8;
const PATH = '/api/v1/namespaces/default/configmaps';
const seeds = new SeededRandom(process.env.COPEPOD_TEST_SEED ?? 'server-kill');

/** What is known of one object. Its one writer is the only one to touch it, one request at a time. */
interface Known {
  name: string;
  /** As last acknowledged: absent, or the counter in its data. */
  counter: number | undefined;
  /** The revision of that acknowledgement. */
  revision: number;
  /** A request without an answer: what the object may have become. */
  attempt?: { counter: number | undefined };
}

const revisionOf = (object: ConfigMap): number => Number(object.metadata?.resourceVersion);
const counterOf = (object: ConfigMap): number => Number(object.data?.counter);

async function write(client: KubeClient, known: Known, counter: number | undefined): Promise<void> {
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: known.name },
    data: { counter: String(counter), padding: 'x'.repeat(200) },
  };
  known.attempt = { counter };
  let answer: KubeAnswer;
  if (counter === undefined) answer = await client.send('DELETE', `${PATH}/${known.name}`);
  else if (known.counter === undefined) answer = await client.send('POST', PATH, object);
  else answer = await client.send('PUT', `${PATH}/${known.name}`, object);
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  // A deletion answers with a Status, which has no revision; the object's absence is what counts.
  known.revision = counter === undefined ? known.revision : revisionOf(answer.body);
  known.counter = counter;
  delete known.attempt;
}

/** Writes until the server is gone. Returns how many writes were acknowledged. */
async function writeUntilGone(cluster: Cluster, objects: Known[], writer: SeededRandom): Promise<number> {
  const client = cluster.client(1);
  let acknowledged = 0;
  try {
    for (;;) {
      const known = writer.pick(objects);
      const remove = known.counter !== undefined && writer.chance(0.15);
      await write(client, known, remove ? undefined : acknowledged + 1);
      acknowledged += 1;
    }
  } catch (error) {
    // Connections break when the server is killed; anything else is a failure of the test.
    if (!/ECONN|socket|EPIPE|network|TLS/i.test((error as Error).message)) throw error;
    return acknowledged;
  } finally {
    client.close();
  }
}

function check(known: Known, found: ConfigMap | undefined): void {
  const allowed = [known.counter, ...(known.attempt ? [known.attempt.counter] : [])];
  const counter = found && counterOf(found);
  expect(allowed, `${known.name}: counter found`).toContain(counter);
  if (found) {
    expect(revisionOf(found), `${known.name}: revision`).toBeGreaterThanOrEqual(known.revision);
    if (counter === known.counter && !known.attempt) expect(revisionOf(found)).toBe(known.revision);
  }
  known.counter = counter;
  if (found) known.revision = revisionOf(found);
  delete known.attempt;
}

/** How many writes were acknowledged. */
async function killAgainAndAgain(lane: string): Promise<number> {
  const random = seeds.fork(lane);
  const cluster = await Cluster.start();
  try {
    return await rounds(cluster, random);
  } finally {
    await cluster.dispose();
  }
}

async function rounds(cluster: Cluster, random: SeededRandom): Promise<number> {
  const owned = Array.from({ length: WRITERS }, (_, writer) =>
    Array.from(
      { length: NAMES_PER_WRITER },
      (_, index): Known => ({
        name: `w${writer}-${index}`,
        counter: undefined,
        revision: 0,
      }),
    ),
  );
  let newest = 0;
  let total = 0;
  for (let round = 0; round < ROUNDS / LANES.length; round += 1) {
    const streams = owned.map((_, writer) => random.fork(`${round}/${writer}`));
    const writing = owned.map((objects, writer) =>
      writeUntilGone(cluster, objects, streams[writer] as SeededRandom),
    );
    await untilRandomMoment(50 + random.integer(500));
    await cluster.process.kill();
    for (const count of await Promise.all(writing)) total += count;
    newest = Math.max(newest, ...owned.flat().map(({ revision }) => revision));

    await cluster.start();
    const client = cluster.client(1);
    const { body } = await client.send('GET', PATH);
    client.close();
    const found = new Map((body.items as ConfigMap[]).map((object) => [object.metadata?.name, object]));
    for (const known of owned.flat()) check(known, found.get(known.name));
    expect(Number(body.metadata.resourceVersion), 'revision of the list').toBeGreaterThanOrEqual(newest);
    newest = Number(body.metadata.resourceVersion);
  }
  return total;
}

it(`finds every acknowledged object after each of ${ROUNDS} kills (seed ${seeds.seed})`, async () => {
  const totals = await Promise.all(LANES.map(killAgainAndAgain));
  // Without load the test would prove nothing.
  expect(totals.reduce((sum, count) => sum + count)).toBeGreaterThan(ROUNDS * WRITERS);
}, 600_000);
