import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  CommandError,
  type NetCommand,
  type NetCommands,
  SystemNetCommands,
} from '../../../src/agent/network/commands.ts';

const ECHO_POD = fileURLToPath(new URL('./echo-pod.mjs', import.meta.url));

/** Runs every command inside a named network namespace: the board that the code under test believes to be on. */
export class NamespacedCommands implements NetCommands {
  private readonly system = new SystemNetCommands();
  private readonly namespace: string;

  constructor(namespace: string) {
    this.namespace = namespace;
  }

  async run(command: NetCommand): Promise<string> {
    try {
      return await this.system.run({
        ...command,
        file: 'nsenter',
        args: [`--net=/run/netns/${this.namespace}`, command.file, ...command.args],
      });
    } catch (error) {
      // nsenter is there; what it could not find is the program.
      if (error instanceof CommandError && error.stderr.includes('failed to execute')) {
        throw new CommandError(command.file, { missing: true, stderr: error.stderr });
      }
      throw error;
    }
  }

  async write(path: string, value: string): Promise<void> {
    await this.run({ file: 'sh', args: ['-c', 'printf %s "$1" > "$0"', path, value] });
  }

  async read(path: string): Promise<string | undefined> {
    return this.run({ file: 'cat', args: [path] }).catch(() => undefined);
  }
}

export function execute(file: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { timeout: 20_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(`${file} ${args.join(' ')}: ${stderr || error.message}`)) : resolve(stdout),
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Boards and clients on one Ethernet segment, each a network namespace; nothing of it touches the root namespace. */
export class TestLan {
  private readonly prefix: string;
  private readonly names: string[] = [];
  private readonly processes: ChildProcess[] = [];

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  namespace(name: string): string {
    return `${this.prefix}-${name}`;
  }

  async start(): Promise<void> {
    await this.add('lan');
    await this.in('lan', 'ip', 'link', 'add', 'lan0', 'type', 'bridge', 'forward_delay', '0');
    await this.in('lan', 'ip', 'link', 'set', 'lan0', 'up');
    // The segment is a cable here, not a firewall.
    await this.in(
      'lan',
      'sh',
      '-c',
      'for f in /proc/sys/net/bridge/bridge-nf-call-iptables; do [ ! -e $f ] || echo 0 > $f; done',
    );
  }

  /** A host on the segment with one interface `eth0`. */
  async host(name: string, cidr: string): Promise<void> {
    await this.add(name);
    const port = `p-${name}`;
    await this.in(
      'lan',
      'ip',
      'link',
      'add',
      port,
      'master',
      'lan0',
      'up',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      this.namespace(name),
    );
    await this.in(name, 'ip', 'link', 'set', 'lo', 'up');
    await this.in(name, 'ip', 'addr', 'add', cidr, 'dev', 'eth0');
    await this.in(name, 'ip', 'link', 'set', 'eth0', 'up');
  }

  /** A further interface, on this segment, of a host that was made on another: a router. */
  async connect(namespace: string, device: string, cidr: string): Promise<void> {
    const end = ['type', 'veth', 'peer', 'name', device, 'netns', namespace];
    await this.in('lan', 'ip', 'link', 'add', `p-${device}`, 'master', 'lan0', 'up', ...end);
    const enter = `--net=/run/netns/${namespace}`;
    await execute('nsenter', [enter, 'ip', 'addr', 'add', cidr, 'dev', device]);
    await execute('nsenter', [enter, 'ip', 'link', 'set', device, 'up']);
  }

  in(name: string, file: string, ...args: string[]): Promise<string> {
    return execute('nsenter', [`--net=/run/netns/${this.namespace(name)}`, file, ...args]);
  }

  /** A process with a network namespace of its own and no interface yet: what a sandbox of network `none` is. */
  pod(name: string, ...ports: number[]): Promise<number> {
    return this.serve('unshare', '--net', name, ports);
  }

  /** A process of a host, in the host's own network. */
  serveIn(host: string, name: string, ...ports: number[]): Promise<number> {
    return this.serve('nsenter', `--net=/run/netns/${this.namespace(host)}`, name, ports);
  }

  private async serve(enter: string, how: string, name: string, ports: readonly number[]): Promise<number> {
    const child = spawn(enter, [how, process.execPath, ECHO_POD, name, ...ports.map(String)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.processes.push(child);
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`pod ${name} ended with ${code}`)));
      child.stdout?.once('data', () => resolve());
    });
    return child.pid as number;
  }

  async stop(): Promise<void> {
    for (const child of this.processes) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGKILL')) await ended;
    }
    for (const name of this.names.reverse()) await execute('ip', ['netns', 'del', this.namespace(name)]);
  }

  private async add(name: string): Promise<void> {
    await execute('ip', ['netns', 'add', this.namespace(name)]);
    this.names.push(name);
  }
}

/** What the echo pod at the other end says: its name and the address it was called from. `enter` is nsenter's target. */
export async function tcp(
  enter: readonly string[],
  address: string,
  port: number,
): Promise<{ pod: string; from: string }> {
  return answer(await execute('nsenter', [...enter, 'busybox', 'nc', '-w', '3', address, String(port)]));
}

export async function udp(
  enter: readonly string[],
  address: string,
  port: number,
): Promise<{ pod: string; from: string }> {
  const script =
    "const s=require('dgram').createSocket('udp4');s.on('message',(m)=>{process.stdout.write(m);s.close();clearTimeout(t)});" +
    's.send("hello",Number(process.argv[2]),process.argv[1]);const t=setTimeout(()=>process.exit(1),3000)';
  return answer(await execute('nsenter', [...enter, process.execPath, '-e', script, address, String(port)]));
}

function answer(text: string): { pod: string; from: string } {
  const [pod = '', from = ''] = text.trim().split(' ');
  if (from === '') throw new Error(`no answer: ${JSON.stringify(text)}`);
  return { pod, from: from.replace('::ffff:', '') };
}
