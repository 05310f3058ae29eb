// A small client of the API for the scripts and the test harness, by a kubeconfig that copepod wrote.
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

/** Reads the one cluster and user of such a kubeconfig. */
export function readKubeconfig(path) {
  const text = readFileSync(path, 'utf8');
  const value = (key) => {
    const match = new RegExp(`^\\s*-?\\s*${key}:\\s*(\\S+)\\s*$`, 'm').exec(text);
    if (!match) throw new Error(`${path}: no ${key}`);
    return match[1];
  };
  const pem = (key) => Buffer.from(value(key), 'base64').toString();
  return {
    server: value('server'),
    ca: pem('certificate-authority-data'),
    cert: pem('client-certificate-data'),
    key: pem('client-key-data'),
  };
}

/** A client with its own connections. `close` ends them. */
export function connect({ server, ca, cert, key }, { connections = 4 } = {}) {
  const agent = new Agent({ ca, cert, key, keepAlive: true, maxSockets: connections });
  const url = new URL(server);
  /** Resolves to {status, body} with the body parsed; rejects when the connection fails or nothing comes in time. */
  const send = (method, path, object, { timeoutMs = 30_000, contentType = 'application/json' } = {}) =>
    new Promise((resolve, reject) => {
      const body = object === undefined ? undefined : JSON.stringify(object);
      const headers =
        body === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(body) };
      const options = {
        agent,
        host: url.hostname,
        port: url.port,
        method,
        path,
        headers,
        timeout: timeoutMs,
      };
      const asked = request(options, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json = (answer.headers['content-type'] ?? '').startsWith('application/json');
          resolve({ status: answer.statusCode ?? 0, body: json && text !== '' ? JSON.parse(text) : text });
        });
      });
      asked.on('timeout', () =>
        asked.destroy(new Error(`${method} ${path}: no answer within ${timeoutMs} ms`)),
      );
      asked.on('error', reject);
      asked.end(body);
    });
  return { send, close: () => agent.destroy() };
}

/**
 * Is the node Ready, and has it been heard at `since` (milliseconds since 1970) or later? What a server read from its store
 * on start says nothing about now; the node's Lease, which is never stored, tells when its last heartbeat came.
 */
export async function nodeReadySince(client, name, since) {
  const get = (path) => client.send('GET', path, undefined, { timeoutMs: 5000 });
  const lease = await get(`/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${name}`);
  if (lease.status !== 200 || !(Date.parse(lease.body.spec?.renewTime) >= since)) return false;
  const { status, body } = await get(`/api/v1/nodes/${name}`);
  return (
    status === 200 &&
    body.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
  );
}
