import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { closeSync, cpSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import { pinnedNode } from '../../scripts/lib/dependencies.mjs';
import { NODE_OPTIONS } from '../../scripts/lib/runtime-options.mjs';
import { freePort } from '../support/cluster.ts';
import { emulation } from '../support/emulation.ts';
import { Kubectl } from '../support/kubectl.ts';
import { waitFor } from '../support/wait.ts';

// What goes onto the boards, run by user-mode emulation: Node, the bundle and the native part of each architecture.
const BOARDS = [
  { board: 'arm64', machine: 183, node: /Node\.js v24\.\S+, linux\/arm64/ },
  { board: 'armv7', machine: 40, node: /Node\.js v20\.11\.0, linux\/arm/ },
] as const;

/** An emulated start takes about ten times as long as a native one. */
const START_MS = 150_000;

beforeAll(() => {
  execFileSync(pinnedNode(), [join(root, 'scripts/build.mjs'), '--all'], { cwd: root, stdio: 'inherit' });
}, 600_000);

// Both beside each other, each case after case.
describe.concurrent.each(BOARDS)('the bundle for $board', (kind) => {
  describe('on its emulated board', { concurrent: false }, () => cases(kind));
});

function cases({ board, machine, node }: (typeof BOARDS)[number]): void {
  let work: string;
  let folder: string;
  let child: ChildProcess | undefined;
  const ended: Promise<number | null>[] = [];

  const command = (...args: string[]): string[] => [
    ...emulation(board),
    join(folder, 'node'),
    ...NODE_OPTIONS,
    join(folder, 'copepod.js'),
    ...args,
  ];
  const run = async ([program = '', ...args]: readonly string[]): Promise<string> =>
    (await promisify(execFile)(program, args, { timeout: 120_000 })).stdout;
  const start = (args: readonly string[], log: string): void => {
    const output = openSync(log, 'a');
    const [program = '', ...rest] = command(...args);
    const started = spawn(program, rest, { stdio: ['ignore', output, output] });
    closeSync(output);
    ended.push(new Promise((resolve) => started.once('exit', (code) => resolve(code))));
    child = started;
  };
  const stop = async (): Promise<number | null> => {
    child?.kill('SIGTERM');
    return (await ended.at(-1)) ?? null;
  };

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), `copepod-${board}-`));
    // As on a board: nothing of the checkout lies around it.
    folder = join(work, 'build');
    cpSync(join(root, 'deploy', board, 'build'), folder, { recursive: true });
  });
  afterAll(async () => {
    child?.kill('SIGKILL');
    await Promise.all(ended);
    rmSync(work, { recursive: true, force: true });
  });

  it('is whole and of that architecture', () => {
    for (const name of ['node', 'better_sqlite3.node']) {
      expect(readFileSync(join(folder, name)).readUInt16LE(18), name).toBe(machine);
    }
    for (const name of ['copepod', 'copepod.js', 'LICENSES.txt', 'LICENSE.node.txt']) {
      expect(existsSync(join(folder, name)), name).toBe(true);
    }
  });

  it('answers `copepod version`', async () => {
    expect(await run(command('version'))).toMatch(node);
  });

  it('has a native part that keeps data, also in a worker thread and over garbage collections', async () => {
    const script = join(root, 'test/support/exercise-sqlite.mjs');
    const addon = join(folder, 'better_sqlite3.node');
    const library = pathToFileURL(join(root, 'node_modules/better-sqlite3/lib/index.js')).href;
    const words = [
      ...emulation(board),
      join(folder, 'node'),
      '--expose-gc',
      script,
      library,
      addon,
      join(work, 'db'),
    ];
    expect(JSON.parse(await run(words))).toEqual({
      main: 500,
      worker: 1000,
      code: 'SQLITE_ERROR',
      big: '9007199254740993',
    });
  });

  it('serves the API: an object is created, read, and still there after a restart', async () => {
    const kubeconfig = join(work, 'kubeconfig');
    const log = join(work, 'log');
    const ports = [
      '--https-listen-port',
      String(await freePort()),
      '--mqtt-listen-port',
      String(await freePort()),
    ];
    const args = [
      'server',
      '--data-dir',
      join(work, 'data'),
      '--disable-agent',
      '--write-kubeconfig',
      kubeconfig,
      ...ports,
    ];
    const kubectl = new Kubectl({ kubeconfig, cacheDir: join(work, 'cache') });
    const ready = (): Promise<unknown> =>
      waitFor(
        `the ${board} server to be ready`,
        async () => {
          if (child?.exitCode !== null) throw new Error(`the server ended with ${child?.exitCode}`);
          return existsSync(kubeconfig) && (await kubectl.run(['get', '--raw', '/readyz'])).code === 0;
        },
        { timeoutMs: START_MS, intervalMs: 500, details: () => readFileSync(log, 'utf8').slice(-4000) },
      );

    start(args, log);
    await ready();
    const created = await kubectl.run([
      'create',
      'configmap',
      'emulated',
      '--from-literal',
      `board=${board}`,
    ]);
    expect(created).toMatchObject({ code: 0 });
    const get = ['get', 'configmap', 'emulated', '-o', 'jsonpath={.data.board}'];
    expect(await kubectl.run(get)).toMatchObject({ code: 0, stdout: board });
    expect(await stop()).toBe(0);

    start(args, log);
    await ready();
    expect(await kubectl.run(get)).toMatchObject({ code: 0, stdout: board });
    expect(await stop()).toBe(0);
  }, 420_000);
}
