import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readlinkSync } from 'node:fs';
import { endAtExit, forgetAtExit } from './at-exit.ts';
import { DockerDaemon } from './docker-daemon.ts';
import { waitFor } from './wait.ts';

/**
 * Several boards on one machine: each a network namespace and a mount namespace with its own Docker Engine, joined by a
 * bridge that lives in a namespace of its own (in the root namespace Docker's FORWARD policy would drop its frames).
 *
 * The namespaces are held by a sleeping process each and have no names: when the processes end, everything is gone.
 */
export class BoardNetwork {
  private readonly holder = new NamespaceHolder('switch');
  private readonly boards: Board[] = [];
  private readonly routers: NamespaceHolder[] = [];

  /** Starts the network, and the boards that it has already, at the same time. */
  async start(): Promise<void> {
    await this.holder.start();
    this.holder.ip('link', 'add', 'br0', 'type', 'bridge');
    this.holder.ip('address', 'add', '10.77.0.254/24', 'dev', 'br0');
    this.holder.ip('link', 'set', 'br0', 'up');
    await Promise.all(this.boards.map((board) => board.start()));
  }

  /** A board that starts with the network. */
  add(name: string, options: { dockerArguments?: readonly string[] } = {}): Board {
    const board = new Board({ name, number: this.boards.length + 1, network: this.holder, ...options });
    this.boards.push(board);
    return board;
  }

  /** A started board, with Docker. */
  async board(...options: Parameters<BoardNetwork['add']>): Promise<Board> {
    const board = this.add(...options);
    await board.start();
    return board;
  }

  /** A board of its own network, behind a router that hides it: it reaches the others, and they cannot reach it. */
  async boardBehindNat(name: string): Promise<Board> {
    const router = new NamespaceHolder(`router of ${name}`);
    this.routers.push(router);
    await router.start();
    const number = this.boards.length + 1;
    const outside = `10.77.0.${200 + number}`;
    this.holder.ip(
      ...['link', 'add', `nat${number}`, 'type', 'veth', 'peer', 'name', 'wan', 'netns', String(router.pid)],
    );
    this.holder.ip('link', 'set', `nat${number}`, 'master', 'br0', 'up');
    router.ip('address', 'add', `${outside}/24`, 'dev', 'wan');
    router.ip('link', 'set', 'wan', 'up');
    router.ip('link', 'add', 'br0', 'type', 'bridge');
    router.ip('address', 'add', '192.168.77.254/24', 'dev', 'br0');
    router.ip('link', 'set', 'br0', 'up');
    router.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    router.run(
      'nft',
      'table ip nat { chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }; }; table ip filter { chain in { type filter hook forward priority 0; iifname "wan" ct state new drop; }; }',
    );
    const board = new Board({ name, number, network: router, subnet: '192.168.77' });
    this.boards.push(board);
    await board.start();
    return board;
  }

  /** Ends every board (Docker included) and the network. */
  async stop(): Promise<void> {
    const results = await Promise.allSettled(this.boards.map((board) => board.stop()));
    for (const router of this.routers) await router.stop();
    await this.holder.stop();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }
}

/** Where a command may run: on a board, say. */
export interface Place {
  /** Put before a command, runs it there. The command keeps the pid. */
  readonly enter: readonly string[];
}

export class Board implements Place {
  readonly name: string;
  readonly ip: string;
  get enter(): readonly string[] {
    return this.holder.enter;
  }
  get docker(): DockerDaemon {
    if (!this.daemon) throw new Error('not started');
    return this.daemon;
  }
  private readonly holder: NamespaceHolder;
  private readonly network: NamespaceHolder;
  private readonly port: string;
  private readonly subnet: string;
  private readonly dockerArguments: readonly string[];
  private daemon: DockerDaemon | undefined;

  constructor(options: {
    name: string;
    number: number;
    network: NamespaceHolder;
    /** Further arguments of its dockerd. */
    dockerArguments?: readonly string[];
    /** Of the network: its first three numbers. */
    subnet?: string;
  }) {
    this.name = options.name;
    this.subnet = options.subnet ?? '10.77.0';
    this.ip = `${this.subnet}.${options.number}`;
    this.port = `port${options.number}`;
    this.network = options.network;
    this.dockerArguments = options.dockerArguments ?? [];
    this.holder = new NamespaceHolder(options.name);
  }

  async start(): Promise<void> {
    const { holder, network, port } = this;
    await holder.start();
    network.ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(holder.pid));
    network.ip('link', 'set', port, 'master', 'br0', 'up');
    holder.ip('address', 'add', `${this.ip}/24`, 'dev', 'eth0');
    holder.ip('link', 'set', 'eth0', 'up');
    holder.ip('route', 'add', 'default', 'via', `${this.subnet}.254`);
    // A board's own /var/log: the links to containers' logs of two boards must not meet.
    holder.run('mount', '-t', 'tmpfs', 'tmpfs', '/var/log');
    // And a machine of its own.
    if (existsSync('/etc/machine-id')) {
      holder.run('sh', '-c', 'tr -d - < /proc/sys/kernel/random/uuid > /var/log/.machine-id');
      holder.run('mount', '--bind', '/var/log/.machine-id', '/etc/machine-id');
    }
    this.daemon = new DockerDaemon({ prefix: holder.enter, extraArguments: this.dockerArguments });
    await this.daemon.start();
  }

  /** As if its cable were pulled. */
  cutOff(): void {
    this.network.ip('link', 'set', this.port, 'down');
  }

  bringBack(): void {
    this.network.ip('link', 'set', this.port, 'up');
  }

  /** Runs a command on the board; throws when it fails. */
  run(...command: string[]): string {
    return this.holder.run(...command);
  }

  /** The body of what answers at `url`, asked for on the board; throws when nothing does within 3 s. */
  httpGet(url: string): string {
    const script =
      'fetch(process.argv[1], { signal: AbortSignal.timeout(3000) }).then(async (r) => process.stdout.write(await r.text()))';
    return this.run(process.execPath, '-e', script, url);
  }

  async stop(): Promise<void> {
    await this.daemon?.stop();
    await this.holder.stop();
  }
}

/** A process that does nothing but hold a network and a mount namespace. */
class NamespaceHolder {
  private readonly name: string;
  private child: ChildProcess | undefined;
  /** Open: its network and its mount namespace. */
  private files: readonly number[] | undefined;
  private readonly onExit = (): void => {
    this.child?.kill('SIGKILL');
  };

  constructor(name: string) {
    this.name = name;
  }

  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error(`namespaces of ${this.name}: not started`);
    return pid;
  }

  get enter(): readonly string[] {
    if (!this.files) throw new Error(`namespaces of ${this.name}: not started, or ended`);
    // By files of this process and not by the holder's pid: that of one which somebody has killed may be another
    // program's by now, and what is meant for the board would happen to the machine itself.
    const [net, mount] = this.files.map((file) => `/proc/${process.pid}/fd/${file}`);
    // Without --wd a new mount namespace begins in its root folder.
    return ['nsenter', `--net=${net}`, `--mount=${mount}`, `--wd=${process.cwd()}`, '--'];
  }

  async start(): Promise<void> {
    const ours = readlinkSync('/proc/self/ns/net');
    endAtExit(this.onExit);
    this.child = spawn('unshare', ['--net', '--mount', '--propagation=private', 'sleep', 'infinity'], {
      stdio: 'ignore',
    });
    await waitFor(`the namespaces of ${this.name}`, () => readlinkSync(`/proc/${this.pid}/ns/net`) !== ours, {
      timeoutMs: 5000,
      intervalMs: 5,
    });
    // unshare makes the network namespace before the mount namespace; `sleep` runs when both stand.
    await waitFor(
      `the namespaces of ${this.name}`,
      () => readlinkSync(`/proc/${this.pid}/exe`).endsWith('sleep'),
      {
        timeoutMs: 5000,
        intervalMs: 5,
      },
    );
    this.files = ['net', 'mnt'].map((kind) => openSync(`/proc/${this.pid}/ns/${kind}`, 'r'));
    this.ip('link', 'set', 'lo', 'up');
  }

  run(...command: string[]): string {
    const [program = '', ...args] = [...this.enter, ...command];
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  ip(...args: string[]): void {
    this.run('ip', ...args);
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (!child) return;
    forgetAtExit(this.onExit);
    for (const file of this.files ?? []) closeSync(file);
    this.files = undefined;
    child.kill('SIGKILL');
    await waitFor(
      `the holder of ${this.name} to end`,
      () => child.signalCode !== null || child.exitCode !== null,
    );
  }
}
