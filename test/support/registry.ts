import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Board } from './boards.ts';
import { waitFor } from './wait.ts';

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json';
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

/** In the board's network: what connects to the port there is passed on to the test's socket. */
const RELAY = `
const net = require('node:net');
const [path, port] = process.argv.slice(1);
net.createServer((near) => {
  const far = net.connect(path);
  near.pipe(far); far.pipe(near);
  near.on('error', () => far.destroy()); far.on('error', () => near.destroy());
  near.on('close', () => far.destroy()); far.on('close', () => near.destroy());
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('listening'));
`;

export interface Account {
  username: string;
  password: string;
}

export interface TestImage {
  /** Tars, the lowest first. */
  layers: Buffer[];
  /** GOARCH. */
  architecture: string;
  entrypoint: string[];
}

/** What a repository does instead of answering. */
export type Misbehaviour =
  | { status: number; code?: string; message?: string }
  /** Blobs are begun and never ended. */
  | 'hangs';

/**
 * A registry (Distribution API v2) in the test's process, reached on a board at 127.0.0.1:`port`, which Docker trusts
 * without TLS. Only what a pull needs; what is not there is 404.
 */
export class TestRegistry {
  readonly port: number;
  /** `GET /v2/…` with the user, if one was told, newest last. */
  readonly requests: string[] = [];
  /** Repositories that need an account, by prefix. */
  readonly accounts = new Map<string, Account>();
  readonly misbehaving = new Map<string, Misbehaviour>();
  auth: 'basic' | 'bearer' = 'basic';
  private readonly manifests = new Map<string, { type: string; body: Buffer }>();
  private readonly blobs = new Map<string, Buffer>();
  private readonly board: Board;
  private readonly folder = mkdtempSync(join(tmpdir(), 'copepod-registry-'));
  private server: Server | undefined;
  private relay: ChildProcess | undefined;

  constructor(options: { board: Board; port: number }) {
    this.board = options.board;
    this.port = options.port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const path = join(this.folder, 'socket');
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise<void>((resolve) => this.server?.listen(path, resolve));
    const [command = '', ...rest] = [
      ...this.board.enter,
      process.execPath,
      '-e',
      RELAY,
      path,
      String(this.port),
    ];
    const relay = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.relay = relay;
    let listening = false;
    relay.stdout?.once('data', () => {
      listening = true;
    });
    await waitFor('the registry to listen', async () => existsSync(path) && listening);
  }

  async stop(): Promise<void> {
    this.relay?.kill('SIGKILL');
    this.server?.closeAllConnections();
    await new Promise((resolve) => (this.server ? this.server.close(resolve) : resolve(undefined)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Makes `repository:tag` the image; returns the manifest's digest. */
  push(repository: string, tag: string, image: TestImage): string {
    const packed = image.layers.map((layer) => gzipSync(layer));
    const config = imageConfig(image);
    for (const blob of [config, ...packed]) this.blobs.set(digestOf(blob), blob);
    const descriptor = (mediaType: string, blob: Buffer) => ({
      mediaType,
      size: blob.length,
      digest: digestOf(blob),
    });
    return this.put(repository, tag, MANIFEST, {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: descriptor(CONFIG, config),
      layers: packed.map((layer) => descriptor(LAYER, layer)),
    });
  }

  /** Makes `repository:tag` the choice among images that were pushed to the repository before. */
  pushIndex(repository: string, tag: string, images: { digest: string; architecture: string }[]): string {
    return this.put(repository, tag, INDEX, {
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: images.map(({ digest, architecture }) => ({
        mediaType: MANIFEST,
        size: this.manifests.get(`${repository}/${digest}`)?.body.length,
        digest,
        platform: { os: 'linux', architecture },
      })),
    });
  }

  /** How often a manifest of the repository was asked for. */
  pulls(repository: string): number {
    return this.requests.filter((request) => request.includes(`/v2/${repository}/manifests/`)).length;
  }

  private put(repository: string, tag: string, type: string, manifest: object): string {
    const body = Buffer.from(JSON.stringify(manifest));
    for (const name of [tag, digestOf(body)]) this.manifests.set(`${repository}/${name}`, { type, body });
    return digestOf(body);
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://registry');
    if (url.pathname === '/token') return this.token(url, request, response);
    const [, repository = '', kind, reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname) ?? [];
    const account = [...this.accounts].find(([prefix]) => repository.startsWith(prefix))?.[1];
    const who = this.who(request);
    this.requests.push(`${request.method} ${url.pathname}${who ? ` as ${who}` : ''}`);
    // Docker learns from its first question, which is about nothing, how to log in.
    const asks = kind === undefined ? this.accounts.size > 0 && !who : account !== undefined;
    if (asks && (kind === undefined || who !== `${account?.username}:${account?.password}`)) {
      return this.refuse(repository, response);
    }
    if (kind === undefined) return void response.writeHead(200).end('{}');
    const misbehaviour = this.misbehaving.get(repository);
    if (misbehaviour && misbehaviour !== 'hangs') {
      const { status, code = 'UNKNOWN', message = 'it does not work today' } = misbehaviour;
      return void response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(JSON.stringify({ errors: [{ code, message }] }));
    }
    if (kind === 'manifests') {
      const manifest = this.manifests.get(`${repository}/${reference}`);
      if (!manifest) return notFound(response, 'MANIFEST_UNKNOWN', 'manifest unknown');
      response.writeHead(200, {
        'content-type': manifest.type,
        'content-length': manifest.body.length,
        'docker-content-digest': digestOf(manifest.body),
      });
      return void response.end(request.method === 'HEAD' ? undefined : manifest.body);
    }
    const blob = this.blobs.get(reference);
    if (!blob) return notFound(response, 'BLOB_UNKNOWN', 'blob unknown');
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': blob.length });
    if (misbehaviour === 'hangs') return void response.write(blob.subarray(0, 1));
    response.end(blob);
  }

  private who(request: IncomingMessage): string | undefined {
    const [scheme, value = ''] = (request.headers.authorization ?? '').split(' ');
    if (scheme !== 'Basic' && scheme !== 'Bearer') return undefined;
    return Buffer.from(value, 'base64').toString();
  }

  /** A token of this registry is nothing but the account that it was given to. */
  private token(url: URL, request: IncomingMessage, response: ServerResponse): void {
    const who = this.who(request);
    this.requests.push(`token ${url.searchParams.get('scope') ?? ''}${who ? ` as ${who}` : ''}`);
    const token = Buffer.from(who ?? 'anonymous').toString('base64');
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token }));
  }

  private refuse(repository: string, response: ServerResponse): void {
    const challenge =
      this.auth === 'basic'
        ? 'Basic realm="test"'
        : `Bearer realm="http://${this.host}/token",service="test"${repository ? `,scope="repository:${repository}:pull"` : ''}`;
    response
      .writeHead(401, { 'www-authenticate': challenge, 'content-type': 'application/json' })
      .end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] }));
  }
}

/** What an image says of itself, as it is stored. */
export function imageConfig({ layers, architecture, entrypoint }: TestImage): Buffer {
  return Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Entrypoint: entrypoint },
      rootfs: { type: 'layers', diff_ids: layers.map(digestOf) },
      history: [],
    }),
  );
}

export function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

function notFound(response: ServerResponse, code: string, message: string): void {
  response
    .writeHead(404, { 'content-type': 'application/json' })
    .end(JSON.stringify({ errors: [{ code, message }] }));
}
