// A client of the ingress for tests, run where no pod network is. argv: a JSON object with `op` and what it needs; prints
// JSON. `load` runs until its standard input ends.
import { createHash } from 'node:crypto';
import { Agent, request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { request as tlsRequest } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';

const asked = JSON.parse(process.argv[2]);
const { op, address, host, path = '/', tls = false } = asked;
const TIMEOUT_MS = 20_000;

async function bytes(message) {
  const hash = createHash('sha256');
  let length = 0;
  let text = '';
  for await (const chunk of message) {
    hash.update(chunk);
    length += chunk.length;
    // Bulk is told by its hash.
    text = length < 65_536 ? text + chunk : '';
  }
  return { length, hash: hash.digest('hex'), text };
}

function ask({ method = 'GET', body, agent }) {
  return new Promise((resolve, reject) => {
    const options = { host: address, method, path, agent, headers: { host }, timeout: TIMEOUT_MS };
    const call = tls
      ? tlsRequest({ ...options, servername: host, rejectUnauthorized: false })
      : request(options);
    call.on('timeout', () => call.destroy(new Error('timed out')));
    call.on('error', reject);
    call.on('response', (answer) => {
      bytes(answer).then(
        (got) => resolve({ status: answer.statusCode, headers: answer.headers, ...got }),
        reject,
      );
    });
    call.end(body);
  });
}

const OPS = {
  get: () => ask({}),
  upload: () => ask({ method: 'PUT', body: Buffer.alloc(20 * 1024 * 1024, 7) }),
  certificate: () =>
    new Promise((resolve, reject) => {
      const socket = connectTls(
        { host: address, port: 443, servername: host, rejectUnauthorized: false },
        () => {
          resolve(socket.getPeerCertificate().subjectaltname);
          socket.destroy();
        },
      );
      socket.on('error', reject);
    }),
  websocket: () =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://${address}/`, {
        headers: { host },
        servername: host,
        rejectUnauthorized: false,
        handshakeTimeout: TIMEOUT_MS,
      });
      socket.on('open', () => socket.send('hello'));
      socket.on('message', (data) => resolve(String(data)));
      socket.on('error', reject);
    }),
  http2: async () => {
    const session = connectHttp2(`https://${address}`, { servername: host, rejectUnauthorized: false });
    const stream = session.request({ ':authority': host, ':path': path });
    const status = new Promise((resolve, reject) => {
      stream.on('response', (headers) => resolve(headers[':status']));
      session.on('error', reject);
    });
    const got = await bytes(stream);
    return { protocol: session.alpnProtocol, status: await status, ...got };
  },
  load: async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const pods = {};
    const failures = [];
    let running = true;
    let count = 0;
    process.stdin.on('end', () => {
      running = false;
    });
    process.stdin.resume();
    const worker = async (method) => {
      while (running) {
        try {
          const { status, text } = await ask({ agent, method, ...(method === 'POST' ? { body: 'x' } : {}) });
          const { pod } = status === 200 ? JSON.parse(text) : {};
          if (pod) pods[pod] = (pods[pod] ?? 0) + 1;
          else failures.push(`${method}: ${status} ${text}`);
        } catch (error) {
          failures.push(`${method}: ${error.message}`);
        }
        count += 1;
        // Some hundred requests a second are enough to meet every moment of a rollout.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    await Promise.all(['GET', 'GET', 'GET', 'POST'].map(worker));
    return { count, pods: Object.keys(pods), failures: failures.slice(0, 20) };
  },
};

process.stdout.write(JSON.stringify(await OPS[op]()), () => process.exit());
