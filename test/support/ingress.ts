import { createHash, generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Secret } from '../../src/api/types/core-v1.ts';
import { makeCertificate } from '../../src/server/identity/certificates.ts';
import type { SharedIngress, SharedService } from '../../src/wire/messages.ts';

/** A server on loopback that stands for a pod. */
export class Pod {
  readonly server: Server;
  port = 0;

  constructor(listener: RequestListener) {
    this.server = createServer(listener);
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A Service `d/<name>` with port 80 named `http` and these endpoints. */
export function sharedService(name: string, ports: readonly number[]): SharedService {
  return {
    v: 1,
    namespace: 'd',
    name,
    type: 'ClusterIP',
    clusterIPs: ['10.43.0.5'],
    ports: [
      {
        name: 'http',
        protocol: 'TCP',
        port: 80,
        endpoints: ports.map((port) => ({ ip: '127.0.0.1', port, node: 'n' })),
      },
    ],
  };
}

type Paths = Record<string, string>;

/** An Ingress `d/<name>`: host -> path -> Service; `=/path` is Exact, the host `*` any. */
export function sharedIngress(
  name: string,
  hosts: Record<string, Paths>,
  more: Partial<SharedIngress> = {},
): SharedIngress {
  return {
    v: 1,
    namespace: 'd',
    name,
    created: '2026-01-01T00:00:00Z',
    rules: Object.entries(hosts).map(([host, paths]) => ({
      ...(host === '*' ? {} : { host }),
      paths: Object.entries(paths).map(([path, service]) => ({
        path: path.replace(/^=/, ''),
        type: path.startsWith('=') ? ('Exact' as const) : ('Prefix' as const),
        backend: { service, port: 80 },
      })),
    })),
    tls: [],
    ...more,
  };
}

export interface TestPair {
  certificate: string;
  key: string;
}

/** A certificate that signed itself, for these names. */
export function selfSigned(...names: string[]): TestPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const commonName = names[0] ?? '';
  const certificate = makeCertificate(
    {
      usage: 'server',
      commonName,
      alternativeNames: names,
      serial: createHash('sha1')
        .update(privateKey.export({ type: 'sec1', format: 'der' }))
        .digest()
        .subarray(0, 16),
      publicKey,
      notAfter: Date.UTC(2050, 0, 1),
    },
    { commonName, key: privateKey },
  );
  return { certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

export function tlsSecret(name: string, { certificate, key }: TestPair): Secret {
  const encoded = (text: string): string => Buffer.from(text).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'd' },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': encoded(certificate), 'tls.key': encoded(key) },
  };
}

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  trailers: Record<string, string | undefined>;
  body: string;
}

/** One request over a connection of its own; `host` is the Host header. */
export function ask(
  port: number,
  host: string,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = options;
    const call = request({
      port,
      host: '127.0.0.1',
      path,
      method,
      agent: false,
      headers: { host, ...headers },
    });
    call.on('error', reject);
    call.on('response', (answer) => {
      void bodyOf(answer).then(
        (text) =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            trailers: answer.trailers,
            body: text.toString(),
          }),
        reject,
      );
    });
    call.end(body);
  });
}

export async function bodyOf(message: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
