// The API over HTTPS from 16 connections, then lists and 200 watchers of 10,000 objects, against the built bundle: `node bench/api.ts [--json FILE]`.
// For comparison, Kubernetes v1.36 with etcd on the same kind of machine: 1300 creates, 2700 gets, 1400 patches a second.
import { Agent, get } from 'node:https';
import { type KubeClient, readKubeconfig } from '../scripts/lib/kube.mjs';
import { Cluster } from '../test/support/cluster.ts';
import { type Figure, peakMemory, processUsage, publish, quantile, resetPeak } from './report.ts';

const CONNECTIONS = 16;
const OBJECTS = 5000;
const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';

const cluster = await Cluster.start();
const client = cluster.client(CONNECTIONS);
const config = readKubeconfig(cluster.kubeconfig);
const takers = new Agent({
  ca: config.ca,
  cert: config.cert,
  key: config.key,
  keepAlive: true,
  maxSockets: CONNECTIONS,
});
const figures: Figure[] = [];
let cutOff = 0;
try {
  // The first thousand warm the compiler up and are not counted.
  await each('warm-up', 1000, (index) => create(`warm-${index}`));
  await each('create', OBJECTS, (index) => create(`c-${index}`), 1300);
  await each(
    'get',
    OBJECTS * 2,
    (index) => expectStatus(200, client.send('GET', `${CONFIG_MAPS}/c-${index % OBJECTS}`)),
    2700,
  );
  await each(
    'patch (merge)',
    OBJECTS,
    (index) =>
      expectStatus(
        200,
        client.send(
          'PATCH',
          `${CONFIG_MAPS}/c-${index}`,
          { data: { changed: String(index) } },
          { contentType: 'application/merge-patch+json' },
        ),
      ),
    1400,
  );
  await each('list, 500 a page', 20, () => expectStatus(200, client.send('GET', `${CONFIG_MAPS}?limit=500`)));
  await each('create up to 10,000', 10_000 - OBJECTS, (index) => create(`d-${index}`));
  memory('resident memory with 10,000 objects of 500 bytes');
  await peak('list of 10,000, whole', 48, () => take({}));
  await peak('list of 10,000, whole, gzip', 48, () => take({ 'accept-encoding': 'gzip' }));
  await peak('list of 10,000, as Table', 48, () =>
    take({ accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' }),
  );
  await peak('list of 10,000, metadata alone', 48, () =>
    take({ accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' }),
  );
  await peak('watch of 10,000 with initial events', 48, watchInitial);
  figures.push({ name: 'watch of 10,000 with initial events: cut off', value: cutOff, unit: 'of 48' });
  await each('list of 10,000, none selected by label', 50, () =>
    expectStatus(200, client.send('GET', `${CONFIG_MAPS}?labelSelector=app%3Dnone`)),
  );
  memory('resident memory after these lists');
  await fanOut();
  await each('delete', OBJECTS, (index) =>
    expectStatus(200, client.send('DELETE', `${CONFIG_MAPS}/c-${index}`)),
  );
  memory('resident memory after it');
} finally {
  client.close();
  takers.destroy();
  await cluster.dispose();
}
publish('api', figures.slice(2), Date.now());

function memory(name: string): void {
  figures.push({ name, value: processUsage(cluster.process.pid).resident / 2 ** 20, unit: 'MiB' });
}

/** `each`, and how much memory the server had at most meanwhile. */
async function peak(name: string, count: number, act: () => Promise<void>): Promise<void> {
  const { pid } = cluster.process;
  resetPeak(pid);
  await each(name, count, act);
  figures.push({ name: `${name}: peak memory`, value: peakMemory(pid) / 2 ** 20, unit: 'MiB' });
}

/** Reads a whole list and throws it away: parsing it would be the client's time. */
function take(headers: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    get(new URL(CONFIG_MAPS, config.server), { agent: takers, headers }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`list: ${response.statusCode}`));
      response.on('error', reject).on('end', resolve).resume();
    }).on('error', reject);
  });
}

/** What client-go does instead of a list since 1.35: until the bookmark that ends the initial events. */
function watchInitial(): Promise<void> {
  const query =
    'watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan';
  return new Promise((resolve, reject) => {
    const request = get(new URL(`${CONFIG_MAPS}?${query}`, config.server), { agent: takers }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`watch: ${response.statusCode}`));
      let tail = '';
      // A watcher that the server thought too slow has to begin again.
      response.on('close', () => {
        if (!tail.includes('initial-events-end')) cutOff += 1;
        resolve();
      });
      response
        .on('error', () => {})
        .on('data', (chunk: Buffer) => {
          tail = (tail + chunk.toString('latin1')).slice(-500);
          if (!tail.includes('k8s.io/initial-events-end')) return;
          request.destroy();
        });
    });
    request.on('error', reject);
  });
}

/** 200 watchers of the 10,000 objects; how fast changes reach them all. */
async function fanOut(): Promise<void> {
  const WATCHERS = 200;
  const CHANGES = 200;
  const { body } = await client.send('GET', `${CONFIG_MAPS}?limit=1`);
  const { resourceVersion } = (body as { metadata: { resourceVersion: string } }).metadata;
  let received = 0;
  let all = (): void => {};
  const everything = new Promise<void>((resolve) => {
    all = resolve;
  });
  const agent = new Agent({ ca: config.ca, cert: config.cert, key: config.key, maxSockets: WATCHERS });
  const begin = performance.now();
  await Promise.all(
    Array.from(
      { length: WATCHERS },
      () =>
        new Promise<void>((resolve, reject) => {
          const path = `${CONFIG_MAPS}?watch=true&resourceVersion=${resourceVersion}`;
          get(new URL(path, config.server), { agent }, (response) => {
            if (response.statusCode !== 200) reject(new Error(`watch: ${response.statusCode}`));
            response.on('data', (chunk: Buffer) => {
              for (const byte of chunk) if (byte === 10) received += 1;
              if (received >= WATCHERS * CHANGES) all();
            });
            response.on('error', () => {});
            resolve();
          }).on('error', reject);
        }),
    ),
  );
  figures.push({ name: '200 watches opened', value: performance.now() - begin, unit: 'ms' });
  const changing = performance.now();
  for (let index = 0; index < CHANGES; index += CONNECTIONS) {
    await Promise.all(
      Array.from({ length: Math.min(CONNECTIONS, CHANGES - index) }, (_, offset) =>
        expectStatus(
          200,
          client.send(
            'PATCH',
            `${CONFIG_MAPS}/d-${index + offset}`,
            { data: { watched: 'yes' } },
            { contentType: 'application/merge-patch+json' },
          ),
        ),
      ),
    );
  }
  await everything;
  const seconds = (performance.now() - changing) / 1000;
  figures.push({
    name: 'watch fan-out, events delivered',
    value: (WATCHERS * CHANGES) / seconds,
    unit: '1/s',
  });
  memory('resident memory with 200 watchers');
  agent.destroy();
}

async function each(
  name: string,
  count: number,
  act: (index: number) => Promise<void>,
  budget?: number,
): Promise<void> {
  const latencies: number[] = [];
  let next = 0;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (next < count) {
        const index = next;
        next += 1;
        const started = performance.now();
        await act(index);
        latencies.push(performance.now() - started);
      }
    }),
  );
  const seconds = (performance.now() - begin) / 1000;
  figures.push(
    { name: `${name}`, value: count / seconds, unit: '1/s', ...(budget ? { budget, atLeast: true } : {}) },
    { name: `${name}: p99`, value: quantile(latencies, 0.99), unit: 'ms' },
  );
}

function create(name: string): Promise<void> {
  return expectStatus(
    201,
    client.send('POST', CONFIG_MAPS, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, labels: { app: 'bench' } },
      data: { text: 'x'.repeat(200) },
    }),
  );
}

async function expectStatus(wanted: number, answer: ReturnType<KubeClient['send']>): Promise<void> {
  const { status, body } = await answer;
  if (status !== wanted)
    throw new Error(`expected ${wanted}, got ${status}: ${JSON.stringify(body).slice(0, 300)}`);
}
