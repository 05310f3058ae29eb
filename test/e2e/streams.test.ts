import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { type Board, BoardNetwork } from '../support/boards.ts';
import { Cluster } from '../support/cluster.ts';
import { holdings } from '../support/soak/census.ts';
import { waitFor } from '../support/wait.ts';

// Fifty streams at once, ended in every way that a client can end them; nothing of them is left.
const EXECS = 20;
const LOGS = 15;
const FORWARDS = 3;
const CONNECTIONS = 5;
const network = new BoardNetwork();
const folder = mkdtempSync(join(tmpdir(), 'copepod-streams-'));
let board: Board;
let cluster: Cluster;

beforeAll(async () => {
  await network.start();
  board = await network.board('pi');
  cluster = await Cluster.start({ board });
  await cluster.kubectl.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'target' },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: 'copepod.local/busybox',
          imagePullPolicy: 'IfNotPresent',
          command: [
            'sh',
            '-c',
            'httpd -p 8080 -h /etc; i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done',
          ],
        },
      ],
    },
  });
  await cluster.kubectl.line('wait --for=condition=Ready pod/target --timeout=60s');
  // What the first stream brings once: its code, a connection or two.
  await cluster.kubectl.line('exec target -- true');
});
afterAll(async () => {
  await cluster?.dispose();
  await network.stop();
  rmSync(folder, { recursive: true, force: true });
});

const held = () => holdings(board, cluster.process.pid);

/** The exec sessions that the engine still knows of in the pod's container. */
async function execs(): Promise<string[]> {
  const pod = await cluster.kubectl.get<Pod>('pod', 'target');
  const id = pod.status?.containerStatuses?.[0]?.containerID?.replace('docker://', '');
  const { ExecIDs } = (await board.docker.call('GET', `/containers/${id}/json`)) as {
    ExecIDs: string[] | null;
  };
  return ExecIDs ?? [];
}

/** `cat` in the container, with what it has echoed so far. */
function echo() {
  const child = cluster.kubectl.spawn(['exec', '-i', 'target', '--', 'cat']);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stdin.on('error', () => {});
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, ended, out: () => out };
}

function follow() {
  const child = cluster.kubectl.spawn(['logs', '-f', 'target']);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  return { child, ended, out: () => out };
}

/** A port-forward, and clients on the board that use it. */
function forward(number: number) {
  const port = 9000 + number;
  const child = cluster.kubectl.spawn(['port-forward', 'pod/target', `${port}:8080`]);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  return { child, ended, port, out: () => out };
}

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
    () => {
      after = held();
      // Keep-alive holds a few plain connections for a while.
      return (
        after.descriptors <= before.descriptors + 4 && after.engineConnections <= before.engineConnections + 4
      );
    },
    { timeoutMs: 60_000, details: () => JSON.stringify({ before, after }) },
  );
});

it('copies 50 MB there and back', async () => {
  const there = join(folder, 'there');
  const back = join(folder, 'back');
  const bytes = randomBytes(50 * 1024 * 1024);
  writeFileSync(there, bytes);
  const digest = createHash('sha256').update(bytes).digest('hex');
  await cluster.kubectl.ok(['cp', there, 'target:/tmp/file'], { timeoutMs: 120_000 });
  const [seen] = (await cluster.kubectl.line('exec target -- sha256sum /tmp/file')).split(' ');
  expect(seen).toBe(digest);
  await cluster.kubectl.ok(['cp', 'target:/tmp/file', back], { timeoutMs: 120_000 });
  expect(createHash('sha256').update(readFileSync(back)).digest('hex')).toBe(digest);
});
