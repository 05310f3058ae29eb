import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import { dependenciesAreInstalled } from '../../scripts/lib/dependencies.mjs';
import { type Board, BoardNetwork } from '../support/boards.ts';
import { Kubectl } from '../support/kubectl.ts';
import { waitFor } from '../support/wait.ts';

// `npm start` on a machine where no Docker Engine runs, then Ctrl-C, then again.
const network = new BoardNetwork();
const folder = mkdtempSync(join(tmpdir(), 'copepod-start-'));
const dataDir = join(folder, 'data');
let board: Board;
let kubectl: Kubectl;
let started: Start | undefined;

beforeAll(async () => {
  // Otherwise `npm start` would run `npm ci`, which empties node_modules under this very test.
  if (!dependenciesAreInstalled())
    throw new Error('node_modules does not fit package-lock.json: run npm ci first');
  await network.start();
  board = await network.board('pi');
  // Without the machine's own sockets: neither a Docker nor a containerd that runs here may be found.
  board.run('mount', '-t', 'tmpfs', 'tmpfs', '/run');
  kubectl = new Kubectl({
    kubeconfig: join(dataDir, 'kubeconfig'),
    cacheDir: join(folder, 'cache'),
    place: board,
  });
});
afterAll(async () => {
  await started?.interrupt();
  board.run('sh', '-c', `cd ${root} && npm run --silent stop:docker -- --data-dir ${dataDir}`);
  board.run('sh', '-c', `mount | grep -o ' ${folder}/[^ ]*' | xargs -r umount --lazy`);
  await network.stop();
  rmSync(folder, { recursive: true, force: true });
});

class Start {
  output = '';
  private readonly child: ChildProcess;

  constructor() {
    const flags = ['--data-dir', dataDir, '--node-name', 'pi', '--node-ip', board.ip];
    const [command = '', ...args] = [...board.enter, 'npm', 'start', '--silent', '--', ...flags];
    const { DOCKER_HOST: _, ...env } = process.env;
    this.child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
  }

  /** Ctrl-C: a terminal sends SIGINT to the whole process group. */
  async interrupt(): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    process.kill(-(this.child.pid ?? 0), 'SIGINT');
    await waitFor('npm start to end', () => this.child.exitCode !== null, { details: () => this.output });
    return this.child.exitCode;
  }

  async ready(): Promise<void> {
    await waitFor('npm start to say Ready', () => this.output.includes('node pi is Ready after'), {
      timeoutMs: 120_000,
      details: () => this.output,
    });
  }
}

const containers = (): string =>
  board.run('sh', '-c', 'docker -H unix://$(ls /run/copepod-*/docker.sock) ps --no-trunc -q | sort');

it('starts an engine of its own, says what to do next, and what it says works', async () => {
  started = new Start();
  await started.ready();
  expect(started.output).toContain('started a private Docker Engine');
  expect(started.output).toContain(`export KUBECONFIG=${join(dataDir, 'kubeconfig')}`);
  const [, manifests] = /kubectl apply -f (\S+)/.exec(started.output) ?? [];
  await kubectl.ok(['apply', '-f', manifests ?? '']);
  await kubectl.line('rollout status deployment/web --timeout=60s');
});

it('ends on Ctrl-C with exit code 0; pods go on; a second start adopts them and the engine', async () => {
  // Only what lasts: the Job and the CronJob of the examples come and go.
  await kubectl.line('delete job,cronjob --all');
  await kubectl.line('wait --for=delete pod -l job-name --timeout=60s');
  const before = containers();
  expect(before.trim().split('\n')).toHaveLength(6);
  expect(await started?.interrupt()).toBe(0);
  expect(containers()).toBe(before);

  started = new Start();
  await started.ready();
  expect(started.output).toContain('found a private Docker Engine');
  await kubectl.line('rollout status deployment/web --timeout=60s');
  expect(containers()).toBe(before);
});

it('takes everything away again when asked to, though the engine was stopped', async () => {
  expect(await started?.interrupt()).toBe(0);
  const npm = (line: string): string => board.run('sh', '-c', `cd ${root} && npm run --silent ${line}`);
  npm(`stop:docker -- --data-dir ${dataDir}`);
  const flags = `--data-dir ${dataDir} --node-name pi`;
  const told = npm(`cleanup -- ${flags}`);
  expect(told).toContain('starting the private Docker Engine');
  expect(told).toMatch(/--yes would remove:\n {2}containers: 6\n/);
  expect(npm(`cleanup -- --yes ${flags}`)).toMatch(/Removed:\n {2}containers: 6\n/);
  expect(npm(`cleanup -- ${flags}`)).not.toContain('containers:');
  expect(board.run('ip', '-br', 'link')).not.toContain('cpod');
});
