// What the ingress costs: requests a second through it beside those straight to the endpoint, its CPU per request, and the
// memory of the process with and without it, as root: `node bench/ingress.ts [--json FILE] [--seconds N]` (default 5).
import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BoardNetwork } from '../test/support/boards.ts';
import { Cluster } from '../test/support/cluster.ts';
import { selfSigned, tlsSecret } from '../test/support/ingress.ts';
import { type Figure, processUsage, publish } from './report.ts';

const LOAD = fileURLToPath(new URL('./ingress-load.ts', import.meta.url));
const SETTLE_MS = 10_000;
const PORT = 9000;
const HOST = 'bench.test';
const ENDPOINT = `require('node:http').createServer((q, r) => r.end('hello')).listen(${PORT}, '0.0.0.0')`;
const { values } = parseArgs({ options: { seconds: { type: 'string' }, json: { type: 'string' } } });
const seconds = Number(values.seconds ?? 5);

const network = new BoardNetwork();
await network.start();
try {
  const board = await network.board('gate');
  const outside = await network.board('outside');
  const [program = '', ...enter] = board.enter;
  const endpoint = spawn(program, [...enter, process.execPath, '-e', ENDPOINT], { stdio: 'ignore' });
  const cluster = await Cluster.start({ board });
  try {
    const resident = (): number => processUsage(cluster.process.pid).resident / 2 ** 20;
    const figures: Figure[] = [];
    await pause(SETTLE_MS);
    figures.push({ name: 'resident memory without an Ingress', value: resident(), unit: 'MiB' });
    const { metadata, ...secret } = tlsSecret('cert', selfSigned(HOST));
    await cluster.kubectl.apply({ ...secret, metadata: { name: metadata.name } });
    for (const object of objects(board.ip)) await cluster.kubectl.apply(object);
    const load = (
      protocol: string,
      port: number,
      time: number,
    ): { rate: number; p50: number; count: number } => {
      const asked = JSON.stringify({ protocol, port, host: HOST, address: board.ip, seconds: time });
      return JSON.parse(outside.run(process.execPath, LOAD, asked));
    };
    await cluster.eventually('the ingress', async () => load('https', 443, 0.1).count > 0);
    await pause(SETTLE_MS);
    figures.push({ name: 'the same with one', value: resident(), unit: 'MiB' });
    const ways = [
      ['straight to the endpoint', 'http', PORT],
      ['through the ingress', 'http', 80],
      ['through it, TLS', 'https', 443],
      ['through it, TLS and HTTP/2', 'h2', 443],
    ] as const;
    let direct = 0;
    for (const [name, protocol, port] of ways) {
      load(protocol, port, 1);
      const before = processUsage(cluster.process.pid);
      const { rate, p50, count } = load(protocol, port, seconds);
      const cpu = processUsage(cluster.process.pid).cpuSeconds - before.cpuSeconds;
      direct ||= rate;
      figures.push({
        name,
        value: rate,
        unit: `requests/s, p50 ${p50.toFixed(2)} ms, ${(rate / direct).toFixed(2)} x`,
      });
      if (port !== PORT)
        figures.push({ name: '  CPU of the process', value: (cpu / count) * 1e6, unit: 'µs a request' });
    }
    figures.push({ name: 'resident memory after that', value: resident(), unit: 'MiB' });
    publish(`ingress, 16 connections, ${seconds} s each`, figures, Date.now());
  } finally {
    await cluster.dispose();
    endpoint.kill('SIGKILL');
  }
} finally {
  await network.stop();
}

/** A Service without selector: its endpoint is a process on the board. */
function objects(address: string): object[] {
  const metadata = { name: 'hello' };
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { ports: [{ name: 'http', port: 80, targetPort: PORT }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'hello' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: PORT, protocol: 'TCP' }],
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
    },
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata,
      spec: {
        tls: [{ hosts: [HOST], secretName: 'cert' }],
        rules: [
          {
            host: HOST,
            http: {
              paths: [
                {
                  path: '/',
                  pathType: 'Prefix',
                  backend: { service: { name: 'hello', port: { number: 80 } } },
                },
              ],
            },
          },
        ],
      },
    },
  ];
}
