import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type KubeClient, readKubeconfig } from '../../scripts/lib/kube.mjs';
import type { Lease } from '../../src/api/types/coordination-v1.ts';
import type { Node } from '../../src/api/types/core-v1.ts';
import type { Board } from './boards.ts';
import { CopepodProcess } from './copepod-process.ts';
import { Kubectl } from './kubectl.ts';
import { InVain, waitFor } from './wait.ts';

/**
 * `copepod server` from the built bundle, with a data directory of its own. With a board it runs pods there, inside the
 * board's namespaces; without, it is the API alone (--disable-agent) on this machine's loopback.
 */
export class Cluster {
  readonly directory: string;
  readonly kubeconfig: string;
  readonly kubectl: Kubectl;
  readonly nodeName: string | undefined;
  readonly process: CopepodProcess;
  readonly httpsPort: number;
  private readonly board: Board | undefined;
  private startedAt = 0;

  private constructor(options: ClusterOptions, httpsPort: number, mqttPort: number) {
    const { board, flags = [] } = options;
    this.directory = mkdtempSync(join(tmpdir(), 'copepod-cluster-'));
    this.kubeconfig = join(this.directory, 'kubeconfig');
    this.httpsPort = httpsPort;
    this.board = board;
    this.nodeName = board?.name;
    this.kubectl = new Kubectl({
      kubeconfig: this.kubeconfig,
      cacheDir: join(this.directory, 'cache'),
      place: board,
    });
    this.process = new CopepodProcess({
      logFile: join(this.directory, 'server.log'),
      place: board,
      args: () => [
        'server',
        `--data-dir=${this.dataDir}`,
        `--https-listen-port=${httpsPort}`,
        `--mqtt-listen-port=${mqttPort}`,
        `--write-kubeconfig=${this.kubeconfig}`,
        ...(board ? nodeFlags(board) : ['--disable-agent', '--bind-address=127.0.0.1']),
        ...(typeof flags === 'function' ? flags() : flags),
      ],
    });
  }

  /** One to start on a board, once that stands. It has its ports to itself there. */
  static on(board: Board, flags: ClusterOptions['flags'] = []): Cluster {
    return new Cluster({ board, flags }, 6443, 8883);
  }

  /** Started and ready. */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = options.board
      ? Cluster.on(options.board, options.flags)
      : new Cluster(options, await freePort(), await freePort());
    try {
      await cluster.start();
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
    return cluster;
  }

  get dataDir(): string {
    return join(this.directory, 'data');
  }

  /** Where its board's neighbours reach it. */
  get url(): string {
    return `https://${this.board?.ip ?? '127.0.0.1'}:${this.httpsPort}`;
  }

  /** The token that agents join with. */
  get token(): string {
    return readFileSync(join(this.dataDir, 'server', 'token'), 'utf8').trim();
  }

  /** Starts the process and waits until it answers, and until its own node, if any, is Ready. */
  async start(): Promise<void> {
    this.startedAt = Date.now();
    this.process.start();
    if (this.nodeName) await this.nodeReady(this.nodeName, this.startedAt);
    else await this.apiReady();
  }

  async restart(): Promise<void> {
    await this.process.stop();
    await this.start();
  }

  async killAndRestart(): Promise<void> {
    await this.process.kill();
    await this.start();
  }

  /** Waits until that node is Ready and was heard at `since` (milliseconds since 1970) or later. */
  async nodeReady(name: string, since: number, timeoutMs = 60_000): Promise<void> {
    await this.eventually(
      `node ${name} to be Ready`,
      async () => {
        const lease = await this.kubectl.get<Lease>(
          'lease',
          name,
          '-n',
          'kube-node-lease',
          '--request-timeout=5s',
        );
        if (!(Date.parse(lease.spec?.renewTime ?? '') >= since)) return false;
        const node = await this.kubectl.get<Node>('node', name, '--request-timeout=5s');
        return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
      },
      timeoutMs,
    );
  }

  /** Another kubectl, or with another environment, on the same cluster. */
  otherKubectl(name: string, options: { program?: string; environment?: Record<string, string> }): Kubectl {
    return new Kubectl({
      kubeconfig: this.kubeconfig,
      cacheDir: join(this.directory, `cache-${name}`),
      place: this.board,
      ...options,
    });
  }

  /** A client over this machine's loopback; only without a board. */
  client(connections?: number): KubeClient {
    if (this.board) throw new Error('the API of a board is not on this loopback: use kubectl');
    return connect(readKubeconfig(this.kubeconfig), connections === undefined ? {} : { connections });
  }

  private async apiReady(): Promise<void> {
    await this.eventually('the API to be ready', async () => {
      const client = this.client(1);
      try {
        return (await client.send('GET', '/readyz', undefined, { timeoutMs: 2000 })).status === 200;
      } finally {
        client.close();
      }
    });
  }

  /** waitFor that gives up when the server has ended, and shows the server's log. */
  async eventually<T>(what: string, condition: () => Promise<T>, timeoutMs = 60_000) {
    return waitFor(
      what,
      () => {
        if (!this.process.running) throw new InVain(`the server has ended\n${this.process.logTail()}`);
        return condition();
      },
      { timeoutMs, intervalMs: 100, details: () => this.process.logTail() },
    );
  }

  /** Ends the process and removes the data. The board and its containers are the caller's. */
  async dispose(): Promise<void> {
    await this.process.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface ClusterOptions {
  board?: Board;
  /** Further flags of `copepod server`, or what gives them when it is started. */
  flags?: readonly string[] | (() => readonly string[]);
}

export interface JoinedAgentOptions {
  board: Board;
  cluster: Cluster;
  /** Instead of the cluster's; undefined: none. */
  token?: string | undefined;
  /** Instead of the board's. */
  nodeName?: string;
  environment?: Readonly<Record<string, string>>;
  /** An earlier agent's, whose process has ended. */
  directory?: string;
}

/** `copepod agent` on a board of its own. */
export class JoinedAgent {
  readonly board: Board;
  readonly process: CopepodProcess;
  readonly directory: string;

  constructor(options: JoinedAgentOptions) {
    const { board, cluster, nodeName, environment = {} } = options;
    this.board = board;
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), 'copepod-agent-'));
    this.process = new CopepodProcess({
      logFile: join(this.directory, 'agent.log'),
      place: board,
      args: () => {
        const token = 'token' in options ? options.token : cluster.token;
        return [
          'agent',
          `--server=${cluster.url}`,
          ...(token === undefined ? [] : [`--token=${token}`]),
          `--data-dir=${join(this.directory, 'data')}`,
          ...nodeFlags(board, nodeName),
        ];
      },
      environment,
    });
  }

  async dispose(): Promise<void> {
    await this.process.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const nodeFlags = ({ name, ip, docker }: Board, nodeName = name): string[] => [
  `--node-name=${nodeName}`,
  `--node-ip=${ip}`,
  `--docker-host=${docker.dockerHost}`,
];

/** A TCP port that nobody uses now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}
