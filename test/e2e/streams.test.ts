import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { busybox, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';
import { holdings } from '../support/soak/census.ts';
import { waitFor } from '../support/wait.ts';

// Fifty streams at once, ended in every way that a client can end them; nothing of them is left.
const EXECS = 20;
const LOGS = 15;
const FORWARDS = 3;
const CONNECTIONS = 5;
const folder = mkdtempSync(join(tmpdir(), 'copepod-streams-'));
const {
  boards: [board],
  cluster,
  kubectl,
  apply,
  getPod,
} = onBoards(['pi'], {
  async begin() {
    const script = 'httpd -p 8080 -h /etc; i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done';
    await apply(podOf('target', { terminationGracePeriodSeconds: 0, containers: [busybox(script)] }));
    await kubectl.line('wait --for=condition=Ready pod/target --timeout=60s');
    // What the first stream brings once: its code, a connection or two.
    await kubectl.line('exec target -- true');
  },
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const held = () => holdings(board, cluster.process.pid);

/** The exec sessions that the engine still knows of in the pod's container. */
async function execs(): Promise<string[]> {
  const pod = await getPod('target');
  const id = pod.status?.containerStatuses?.[0]?.containerID?.replace('docker://', '');
  const { ExecIDs } = (await board.docker.call('GET', `/containers/${id}/json`)) as {
    ExecIDs: string[] | null;
  };
  return ExecIDs ?? [];
}

/** A kubectl that goes on, with what it has printed so far. */
function started(...args: string[]) {
  const child = kubectl.spawn(args);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stdin.on('error', () => {});
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, ended, out: () => out };
}

/** `cat` in the container. */
const echo = () => started('exec', '-i', 'target', '--', 'cat');

const follow = () => started('logs', '-f', 'target');

/** A port-forward, for clients on the board. */
const forward = (number: number) => {
  const port = 9000 + number;
  return { ...started('port-forward', 'pod/target', `${port}:8080`), port };
};

it('serves fifty streams at once, and keeps nothing of them', async () => {
  const before = held();
  const cats = Array.from({ length: EXECS }, echo);
  const logs = Array.from({ length: LOGS }, follow);
  const forwards = Array.from({ length: FORWARDS }, (_, number) => forward(number));
  cats.forEach(({ child }, index) => {
    child.stdin.write(`hello ${index}\n`);
  });
  await waitFor(
    'all streams',
    () => {
      return (
        cats.every(({ out }, index) => out() === `hello ${index}\n`) &&
        logs.every(({ out }) => out().includes('line 0')) &&
        forwards.every(({ out }) => out().includes('Forwarding from'))
      );
    },
    { timeoutMs: 90_000 },
  );
  for (const { port } of forwards) {
    for (let count = 0; count < CONNECTIONS; count += 1) {
      expect(board.httpGet(`http://127.0.0.1:${port}/passwd`)).toContain('root:');
    }
  }
  // A third ends stdin and gets its end, a third is killed, a third is interrupted.
  cats.forEach(({ child }, index) => {
    if (index % 3 === 0) child.stdin.end();
    else child.kill(index % 3 === 1 ? 'SIGKILL' : 'SIGINT');
  });
  logs.forEach(({ child }, index) => {
    child.kill(index % 2 ? 'SIGKILL' : 'SIGINT');
  });
  for (const { child } of forwards) child.kill('SIGKILL');
  const codes = await Promise.all(cats.map(({ ended }) => ended));
  expect(codes.filter((_, index) => index % 3 === 0).every((code) => code === 0)).toBe(true);
  await Promise.all([...logs, ...forwards].map(({ ended }) => ended));
  await waitFor('the engine to have no session left', async () => (await execs()).length === 0);
  let after = held();
  await waitFor(
    'its connections to be closed',
    async () => {
      await board.docker.collect();
      after = held();
      // Keep-alive holds a few plain connections for a while.
      return (
        after.descriptors <= before.descriptors + 4 && after.engineConnections <= before.engineConnections + 4
      );
    },
    { timeoutMs: 60_000, intervalMs: 1000, details: () => JSON.stringify({ before, after }) },
  );
});

it('copies 50 MB there and back', async () => {
  const there = join(folder, 'there');
  const back = join(folder, 'back');
  const bytes = randomBytes(50 * 1024 * 1024);
  writeFileSync(there, bytes);
  const digest = createHash('sha256').update(bytes).digest('hex');
  await kubectl.ok(['cp', there, 'target:/tmp/file'], { timeoutMs: 120_000 });
  const [seen] = (await kubectl.line('exec target -- sha256sum /tmp/file')).split(' ');
  expect(seen).toBe(digest);
  await kubectl.ok(['cp', 'target:/tmp/file', back], { timeoutMs: 120_000 });
  expect(createHash('sha256').update(readFileSync(back)).digest('hex')).toBe(digest);
});

it('hands requests on to pods, services and the node', async () => {
  await kubectl.line('label pod target app=target');
  await kubectl.line('create service clusterip target --tcp=80:8080');
  const raw = (path: string) => kubectl.ok(['get', '--raw', `/api/v1/${path}`]);
  const here = 'namespaces/default';
  expect(await raw(`${here}/pods/target:8080/proxy/passwd`)).toContain('root:');
  await waitFor('the service to have its endpoint', () =>
    raw(`${here}/services/target:80/proxy/passwd`).then(
      (text) => text.includes('root:'),
      () => false,
    ),
  );
  const { metadata } = (await kubectl.get<{ items: { metadata: { name: string } }[] }>('nodes')).items[0] ?? {
    metadata: { name: '' },
  };
  const node = `nodes/${metadata.name}/proxy`;
  const summary = JSON.parse(await raw(`${node}/stats/summary`));
  const pod = summary.pods.find((each: { podRef: { name: string } }) => each.podRef.name === 'target');
  expect(pod.containers[0].memory.workingSetBytes).toBeGreaterThan(0);
  expect(await raw(`${node}/metrics/resource`)).toContain('pod_cpu_usage_seconds_total{');
  expect(await raw(`${node}/containerLogs/default/target/${pod.containers[0].name}?tailLines=1`)).toMatch(
    /^line \d+\n$/,
  );
});
