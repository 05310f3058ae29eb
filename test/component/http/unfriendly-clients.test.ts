// Clients that connect and say nothing, begin and do not go on, ask and do not read. Others must not notice them.
import { request } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { ApiFixture } from '../../support/api-fixture.ts';
import { waitFor } from '../../support/wait.ts';

const PATH = '/api/v1/namespaces/default/configmaps';
const MEBIBYTE = 2 ** 20;

let api: ApiFixture;
afterEach(() => api.stop(), 30_000);

function tls(): Promise<TLSSocket> {
  const { admin, caPem } = api.identity;
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      { host: '127.0.0.1', port: api.server.port, ca: caPem, cert: admin.certificate, key: admin.key },
      () => resolve(socket),
    );
    socket.on('error', reject);
  });
}

/** How long an ordinary client waits for an ordinary answer now. */
async function ordinaryMs(): Promise<number> {
  const begin = performance.now();
  expect((await api.client().get(`${PATH}/kube-root-ca.crt`)).status).toBe(404);
  return performance.now() - begin;
}

test('connections that never come to a request are closed, and hinder nobody', {
  timeout: 60_000,
}, async () => {
  api = await ApiFixture.start({ server: { limits: { headMs: 4000 } } });
  const silent: Socket[] = [];
  for (let index = 0; index < 400; index += 1) {
    const socket = connectTcp(api.server.port, '127.0.0.1');
    socket.on('error', () => {}).resume();
    silent.push(socket);
  }
  const begun = await Promise.all(Array.from({ length: 100 }, tls));
  for (const [index, socket] of begun.entries()) {
    socket.on('error', () => {});
    socket.resume();
    // Half a head, or nothing at all.
    if (index % 2 === 0) socket.write('GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\nx-slow: ');
  }
  expect(await ordinaryMs()).toBeLessThan(5000);
  const open = (): number => [...silent, ...begun].filter(({ closed }) => !closed).length;
  await waitFor('all of them to be closed', async () => open() === 0, {
    timeoutMs: 30_000,
    details: () => `${open()} are open`,
  });
});

test('a body that does not come holds one place of its user, and nobody else up', async () => {
  api = await ApiFixture.start();
  const sockets = await Promise.all(Array.from({ length: 60 }, tls));
  const head = `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"a`;
  for (const socket of sockets) socket.write(head);
  expect(await ordinaryMs()).toBeLessThan(5000);
  for (const socket of sockets) socket.destroy();
  // Their places are free again.
  await waitFor('the places to be free', async () => {
    const answers = await Promise.all(Array.from({ length: 90 }, () => api.client().get(`${PATH}/x`)));
    return answers.every(({ status }) => status === 404);
  });
});

test('who asks for much and reads nothing is cut off', { timeout: 60_000 }, async () => {
  api = await ApiFixture.start({ server: { limits: { stallMs: 1000 } } });
  const client = api.client();
  for (let index = 0; index < 24; index += 1) {
    await client.post(PATH, { metadata: { name: `big-${index}` }, data: { text: 'x'.repeat(900_000) } });
  }
  const sockets = await Promise.all(Array.from({ length: 4 }, tls));
  for (const socket of sockets) {
    socket.on('error', () => {});
    socket.pause();
    socket.write(`GET ${PATH} HTTP/1.1\r\nhost: x\r\n\r\n`);
  }
  expect(await ordinaryMs()).toBeLessThan(5000);
  // A paused socket does not see its end: writing to it does.
  await waitFor(
    'them to be cut off',
    async () => {
      for (const socket of sockets) if (!socket.destroyed) socket.write('\r\n');
      return sockets.every(({ destroyed, writable }) => destroyed || !writable);
    },
    { timeoutMs: 30_000 },
  );
});

test('two thousand watches, some of whom never read: every reader gets every change', {
  timeout: 120_000,
}, async () => {
  const READERS = 1800;
  const SLEEPERS = 200;
  const CHANGES = 60;
  api = await ApiFixture.start();
  const client = api.client();
  await client.post(PATH, { metadata: { name: 'watched' }, data: { n: '-' } });
  const counts: number[] = [];
  const destroyers: (() => void)[] = [];
  const watch = (reads: boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const { admin, caPem } = api.identity;
      const sent = request({
        host: '127.0.0.1',
        port: api.server.port,
        agent: false,
        ca: caPem,
        cert: admin.certificate,
        key: admin.key,
        path: `${PATH}?watch=true&resourceVersion=${api.store.revision}&fieldSelector=metadata.name%3Dwatched`,
      });
      destroyers.push(() => sent.destroy());
      sent.on('response', (response) => {
        resolve();
        response.on('error', () => {});
        if (!reads) return;
        const index = counts.push(0) - 1;
        response.setEncoding('latin1');
        response.on('data', (text: string) => {
          for (const character of text) if (character === '\n') counts[index] = (counts[index] ?? 0) + 1;
        });
      });
      sent.on('error', reject);
      sent.end();
    });
  // Handshakes in bunches: the machine may be small.
  for (let index = 0; index < READERS; index += 25)
    await Promise.all(Array.from({ length: 25 }, () => watch(true)));
  for (let index = 0; index < SLEEPERS; index += 25)
    await Promise.all(Array.from({ length: 25 }, () => watch(false)));
  const before = process.memoryUsage().rss;
  let slowest = 0;
  for (let change = 0; change < CHANGES; change += 1) {
    // Sleepers' kernel buffers take some megabytes; one in ten changes is big.
    const data = { n: String(change), text: change % 10 === 0 ? 'x'.repeat(20_000) : '' };
    const begin = performance.now();
    const answer = await client.ask('PATCH', `${PATH}/watched`, {
      headers: { 'content-type': 'application/merge-patch+json' },
      body: { data },
    });
    expect(answer.status).toBe(200);
    slowest = Math.max(slowest, performance.now() - begin);
  }
  await waitFor('every reader to have every change', async () => counts.every((count) => count >= CHANGES), {
    timeoutMs: 60_000,
    details: () => `${counts.filter((count) => count < CHANGES).length} have not`,
  });
  expect(slowest).toBeLessThan(10_000);
  expect(process.memoryUsage().rss - before).toBeLessThan(400 * MEBIBYTE);
  for (const destroy of destroyers) destroy();
});
