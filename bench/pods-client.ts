// The measuring half of bench/pods.ts; its arguments are a kubeconfig and the engine's socket.
import { request } from 'node:https';
import { parseArgs } from 'node:util';
import { dockerCall } from '../scripts/lib/docker-api.mjs';
import { connect, readKubeconfig } from '../scripts/lib/kube.mjs';
import { pauseImage } from '../src/agent/docker/pause.ts';
import { waitFor } from '../test/support/wait.ts';
import { publish, quantile } from './report.ts';

const ROUNDS = 15;
const BURST = 20;
const IMAGE = 'copepod.local/busybox';
const PODS = '/api/v1/namespaces/default/pods';
const SANDBOX_IMAGE = pauseImage('x64').reference;
const LABEL = 'bench.copepod';

const { positionals } = parseArgs({ options: { json: { type: 'string' } }, allowPositionals: true });
const [kubeconfig = '', engine = ''] = positionals;
const credentials = readKubeconfig(kubeconfig);
const client = connect(credentials, { connections: BURST });

interface Pod {
  metadata: { name: string };
  status?: { conditions?: { type: string; status: string }[] };
}

const ready = new Set<string>();
await watchReady();

// Both ways once, not counted.
await plainPod('warm');
await createReady(['warm']);
const plain: number[] = [];
const ours: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  plain.push(await timed(() => plainPod(`plain-${round}`)));
  ours.push(await timed(() => createReady([`single-${round}`])));
}
await removePlain();
await removePods();
const plainBurst: number[] = [];
const oursBurst: number[] = [];
for (let round = 0; round < 3; round += 1) {
  const names = Array.from({ length: BURST }, (_, index) => `burst-${round}-${index}`);
  plainBurst.push(await timed(() => Promise.all(names.map(plainPod))));
  await removePlain();
  oursBurst.push(await timed(() => createReady(names)));
  await removePods();
}
client.close();
const middle = (values: number[]): number => quantile(values, 0.5);
publish(
  'pods',
  [
    { name: 'plain Docker calls, one at a time: p50', value: middle(plain), unit: 'ms' },
    { name: 'pod create -> Ready, one at a time: p50', value: middle(ours), unit: 'ms' },
    { name: 'pod create -> Ready, one at a time: p90', value: quantile(ours, 0.9), unit: 'ms' },
    { name: 'one at a time: ratio', value: middle(ours) / middle(plain), unit: 'x', budget: 1.4 },
    { name: `plain Docker calls, ${BURST} at once: last`, value: middle(plainBurst), unit: 'ms' },
    { name: `pod create -> Ready, ${BURST} at once: last`, value: middle(oursBurst), unit: 'ms' },
    {
      name: `${BURST} at once: ratio`,
      value: middle(oursBurst) / middle(plainBurst),
      unit: 'x',
      budget: 1.3,
    },
  ],
  Date.now(),
);
process.exit();

/** The four calls that a pod takes at the least. */
async function plainPod(name: string): Promise<void> {
  const sandbox = await plainContainer(`${name}-sandbox`, {
    Image: SANDBOX_IMAGE,
    HostConfig: { NetworkMode: 'none', IpcMode: 'shareable' },
  });
  await plainContainer(name, {
    Image: IMAGE,
    Cmd: ['sleep', '1000000'],
    HostConfig: { NetworkMode: `container:${sandbox}`, IpcMode: `container:${sandbox}` },
  });
}

async function plainContainer(name: string, body: object): Promise<string> {
  const labelled = { ...body, Labels: { [LABEL]: 'plain' } };
  const { Id } = (await docker('POST', `/containers/create?name=${name}`, labelled)) as { Id: string };
  await docker('POST', `/containers/${Id}/start`);
  return Id;
}

async function removePlain(): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`${LABEL}=plain`] }));
  const list = (await docker('GET', `/containers/json?all=true&filters=${filters}`)) as { Id: string }[];
  await Promise.all(list.map(({ Id }) => docker('DELETE', `/containers/${Id}?force=true&v=true`)));
}

function docker(method: string, path: string, body?: object): Promise<unknown> {
  const options = body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) };
  return dockerCall(engine, method, path, { ...options, timeoutMs: 120_000 });
}

/** Creates the pods, one request each, and resolves when all are Ready. */
async function createReady(names: readonly string[]): Promise<void> {
  await Promise.all(
    names.map(async (name) => {
      const { status, body } = await client.send('POST', PODS, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          containers: [
            { name: 'main', image: IMAGE, command: ['sleep', '1000000'], imagePullPolicy: 'Never' },
          ],
        },
      });
      if (status !== 201) throw new Error(`pod ${name}: ${JSON.stringify(body)}`);
    }),
  );
  await waitFor(`pods ${names.join(', ')} to be Ready`, () => names.every((name) => ready.has(name)), {
    intervalMs: 1,
    timeoutMs: 120_000,
  });
}

async function removePods(): Promise<void> {
  await client.send('DELETE', PODS, { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 1 });
  await waitFor(
    'the pods to be gone',
    async () => ((await client.send('GET', PODS)).body as { items: unknown[] }).items.length === 0,
    { timeoutMs: 120_000 },
  );
}

/** Follows the pods of the namespace from now on, into `ready`. Resolves when the watch stands. */
function watchReady(): Promise<void> {
  const url = new URL(`${PODS}?watch=true`, credentials.server);
  return new Promise((resolve, reject) => {
    request(url, { ca: credentials.ca, cert: credentials.cert, key: credentials.key }, (answer) => {
      resolve();
      let text = '';
      answer.on('data', (chunk: Buffer) => {
        const lines = (text + chunk.toString()).split('\n');
        text = lines.pop() ?? '';
        for (const line of lines) {
          const { object } = JSON.parse(line) as { object: Pod };
          const conditions = object.status?.conditions ?? [];
          if (conditions.some(({ type, status }) => type === 'Ready' && status === 'True')) {
            ready.add(object.metadata.name);
          }
        }
      });
    })
      .on('error', reject)
      .end();
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}
