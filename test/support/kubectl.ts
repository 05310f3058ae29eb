import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { findProgram } from '../../scripts/lib/debian.mjs';
import type { Place } from './boards.ts';

export interface KubectlResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface KubectlOptions {
  stdin?: string;
  timeoutMs?: number;
}

/** The unmodified kubectl of this machine, with the given kubeconfig. */
export class Kubectl {
  private readonly kubeconfig: string;
  private readonly cacheDir: string;
  private readonly place: Place | undefined;
  private readonly program: string | undefined;
  private readonly environment: Readonly<Record<string, string>>;

  constructor(options: {
    kubeconfig: string;
    cacheDir: string;
    /** Where it runs; absent: this machine. */
    place?: Place | undefined;
    /** Absent: the one on the PATH. */
    program?: string;
    /** Besides this process's own. */
    environment?: Readonly<Record<string, string>>;
  }) {
    this.program = options.program;
    this.environment = options.environment ?? {};
    this.kubeconfig = options.kubeconfig;
    this.cacheDir = options.cacheDir;
    this.place = options.place;
  }

  /** Runs to the end, whatever the exit code. Rejects only when it does not end in time (then it is killed). */
  run(args: readonly string[], options: KubectlOptions = {}): Promise<KubectlResult> {
    return this.finish(this.spawn(args), args, options);
  }

  /** Like `run`, on a terminal (made by util-linux' `script`): what is typed is echoed, lines end in CR LF. */
  runOnTerminal(args: readonly string[], options: KubectlOptions = {}): Promise<KubectlResult> {
    const quoted = this.command(args).map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    const script = ['--quiet', '--return', '--command', quoted.join(' '), '/dev/null'];
    return this.finish(spawn('script', script, { stdio: ['pipe', 'pipe', 'pipe'] }), args, options);
  }

  private finish(
    child: ChildProcessWithoutNullStreams,
    args: readonly string[],
    { stdin = '', timeoutMs = 60_000 }: KubectlOptions,
  ): Promise<KubectlResult> {
    return new Promise((resolve, reject) => {
      let stdout = '';
      let stderr = '';
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`kubectl ${args.join(' ')}: not done after ${timeoutMs} ms\n${stdout}\n${stderr}`));
      }, timeoutMs);
      child.stdout.on('data', (chunk: Buffer) => {
        stdout += chunk.toString();
      });
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? -1, stdout, stderr });
      });
      child.stdin.on('error', () => {});
      child.stdin.end(stdin);
    });
  }

  /** Runs, expects success, resolves to what it printed. */
  async ok(args: readonly string[], options: KubectlOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, options);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}\n${stderr}${stdout}`);
    return stdout;
  }

  /** `ok` on the words of a line: `kubectl.line('get pods -n kube-system')`. */
  line(words: string, options: KubectlOptions = {}): Promise<string> {
    return this.ok(words.split(' '), options);
  }

  /** The parsed object of `get … -o json`. */
  async get<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.ok(['get', ...args, '-o', 'json'])) as T;
  }

  apply(manifest: object | string): Promise<string> {
    return this.ok(['apply', '-f', '-'], {
      stdin: typeof manifest === 'string' ? manifest : JSON.stringify(manifest),
    });
  }

  /** Started and left running: `logs -f`, `port-forward`, `get -w`. The caller kills it. */
  spawn(args: readonly string[]): ChildProcessWithoutNullStreams {
    const [command = '', ...rest] = this.command(args);
    return spawn(command, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...this.environment },
    });
  }

  private command(args: readonly string[]): string[] {
    const program = this.program ?? findProgram('kubectl');
    if (!program) throw new Error('kubectl is not installed: apt-get install kubernetes-client');
    const global = [`--kubeconfig=${this.kubeconfig}`, `--cache-dir=${this.cacheDir}`];
    return [...(this.place?.enter ?? []), program, ...global, ...args];
  }
}
