// The API over HTTPS from 16 connections, against the built bundle: `node bench/api.ts [--json FILE]`.
// For comparison, Kubernetes v1.36 with etcd on the same kind of machine: 1300 creates, 2700 gets, 1400 patches a second.
import type { KubeClient } from '../scripts/lib/kube.mjs';
import { Cluster } from '../test/support/cluster.ts';
import { type Figure, processUsage, publish, quantile } from './report.ts';

const CONNECTIONS = 16;
const OBJECTS = 5000;
const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';

const cluster = await Cluster.start();
const client = cluster.client(CONNECTIONS);
const figures: Figure[] = [];
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
  await each('delete', OBJECTS, (index) =>
    expectStatus(200, client.send('DELETE', `${CONFIG_MAPS}/c-${index}`)),
  );
  figures.push({
    name: 'resident memory after it',
    value: processUsage(cluster.process.pid).resident / 2 ** 20,
    unit: 'MiB',
  });
} finally {
  client.close();
  await cluster.dispose();
}
publish('api', figures.slice(2), Date.now());

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
