import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../scripts/lib/debian.mjs';
import { dockerRequest } from '../../scripts/lib/docker-api.mjs';
import { endAtExit, forgetAtExit } from './at-exit.ts';
import { waitFor } from './wait.ts';

export interface KubeSocketAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever object the API answers with; each caller knows which.
  body: any;
}

/**
 * The API of a board's server on a unix socket, by `kubectl proxy` on the board: for tests that ask too often to start
 * a kubectl each time. It outlives restarts of the server.
 */
export class KubeSocket {
  private readonly directory: string;
  private readonly command: readonly string[];
  private child: ChildProcess | undefined;
  private readonly onExit = (): void => {
    this.child?.kill('SIGKILL');
  };

  /** `enter` runs a command on the board. */
  constructor(options: { kubeconfig: string; enter: readonly string[] }) {
    this.directory = mkdtempSync(join(tmpdir(), 'copepod-proxy-'));
    const program = findProgram('kubectl');
    if (!program) throw new Error('kubectl is not installed: apt-get install kubernetes-client');
    const { enter, kubeconfig } = options;
    this.command = [...enter, program, `--kubeconfig=${kubeconfig}`, 'proxy', `--unix-socket=${this.socket}`];
  }

  async start(): Promise<void> {
    const [program = '', ...args] = this.command;
    endAtExit(this.onExit);
    this.child = spawn(program, args, { stdio: 'ignore' });
    await waitFor('kubectl proxy', async () => (await this.send('GET', '/readyz')).status === 200);
  }

  /** One request. Rejects when the proxy does not answer; an API that is away answers 502. */
  async send(method: string, path: string, object?: object): Promise<KubeSocketAnswer> {
    const body = object === undefined ? {} : { body: Buffer.from(JSON.stringify(object)) };
    const { status, body: text } = await dockerRequest(this.socket, method, path, body);
    const json = text.startsWith('{');
    return { status, body: json ? JSON.parse(text) : text };
  }

  /** `send` until the server has answered; an object that is there already, or gone already, is as good as made or deleted. */
  async insist(method: 'POST' | 'DELETE' | 'GET', path: string, object?: object): Promise<KubeSocketAnswer> {
    return await waitFor(`${method} ${path}`, async () => {
      const answer = await this.send(method, path, object);
      // 502 by kubectl proxy: the server is away. 500, 503: it is starting.
      if (answer.status >= 500) return undefined;
      const done =
        answer.status < 300 ||
        (method === 'POST' && answer.status === 409) ||
        (method === 'DELETE' && answer.status === 404);
      // A service account or a class that a controller has not made yet.
      if (!done && answer.status === 403) return undefined;
      if (!done) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer;
    });
  }

  async items<T>(path: string): Promise<T[]> {
    return (await this.insist('GET', path)).body.items as T[];
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (child) {
      forgetAtExit(this.onExit);
      child.kill('SIGKILL');
      await waitFor('kubectl proxy to end', () => child.exitCode !== null || child.signalCode !== null);
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  private get socket(): string {
    return join(this.directory, 'api.sock');
  }
}
