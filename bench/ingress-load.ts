// Requests a second from 16 connections, for bench/ingress.ts, which runs it where the client shall be. argv: JSON.
import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';

const { protocol, address, port, host, seconds } = JSON.parse(process.argv[2] ?? '{}') as {
  protocol: 'http' | 'https' | 'h2';
  address: string;
  port: number;
  host: string;
  seconds: number;
};
const CONNECTIONS = 16;
const tls = { servername: host, rejectUnauthorized: false };
const agent =
  protocol === 'http'
    ? new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
    : new TlsAgent({ keepAlive: true, maxSockets: CONNECTIONS, ...tls });

function overHttp1(): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { host: address, port, agent, headers: { host } };
    const call = protocol === 'http' ? request(options) : tlsRequest({ ...options, ...tls });
    call.on('error', reject);
    call.on('response', (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`status ${answer.statusCode}`));
      answer.on('end', resolve).resume();
    });
    call.end();
  });
}

function overHttp2(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':authority': host, ':path': '/' });
    stream.on('response', (headers) => {
      if (headers[':status'] !== 200) reject(new Error(`status ${headers[':status']}`));
    });
    stream.on('error', reject).on('end', resolve).resume();
  });
}

const latencies: number[] = [];
const end = performance.now() + seconds * 1000;
const worker = async (): Promise<void> => {
  const session = protocol === 'h2' ? connect(`https://${address}:${port}`, tls) : undefined;
  while (performance.now() < end) {
    const begun = performance.now();
    await (session ? overHttp2(session) : overHttp1());
    latencies.push(performance.now() - begun);
  }
  session?.close();
};
await Promise.all(Array.from({ length: CONNECTIONS }, worker));
latencies.sort((a, b) => a - b);
process.stdout.write(
  JSON.stringify({
    rate: latencies.length / seconds,
    p50: latencies[latencies.length >> 1],
    count: latencies.length,
  }),
);
process.exit();
