import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import { pinnedNode } from '../../scripts/lib/dependencies.mjs';
import { freePort } from '../support/cluster.ts';

// Bad input: one clear line that names what is wrong and how to mend it, and an exit code that is not 0.
const folder = mkdtempSync(join(tmpdir(), 'copepod-cli-'));
const NOBODY = 65534;
let taken: Server;
let takenPort: number;

beforeAll(async () => {
  chmodSync(folder, 0o755);
  takenPort = await freePort();
  taken = createServer().listen(takenPort, '127.0.0.1');
});
afterAll(() => {
  taken.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function copepod(
  args: readonly string[],
  options: { uid?: number; env?: Record<string, string> } = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const { uid, env = {} } = options;
    execFile(
      pinnedNode(),
      [join(root, 'dist/copepod.js'), ...args],
      { timeout: 20_000, env: { PATH: process.env.PATH, ...env }, ...(uid === undefined ? {} : { uid }) },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    );
  });
}

async function refusal(args: readonly string[], options?: Parameters<typeof copepod>[1]): Promise<string> {
  const { code, stderr, stdout } = await copepod(args, options);
  expect(code, stdout + stderr).toBeGreaterThan(0);
  expect(stderr.trimEnd().split('\n'), 'one line').toHaveLength(1);
  return stderr;
}

const dataDir = (name: string): string => `--data-dir=${join(folder, name)}`;

describe('copepod server refuses', () => {
  it('an unknown flag', async () => {
    expect(await refusal(['server', '--data-dri', '/x'])).toContain(
      'unknown flag --data-dri, did you mean --data-dir?',
    );
  });

  it('a bad value, wherever it stands', async () => {
    const expected = '"x" is not allowed, expected a port, 1 to 65535';
    expect(await refusal(['server', '--https-listen-port=x'])).toContain(`--https-listen-port: ${expected}`);
    const env = { COPEPOD_HTTPS_LISTEN_PORT: 'x' };
    expect(await refusal(['server'], { env })).toContain(`COPEPOD_HTTPS_LISTEN_PORT: ${expected}`);
    const file = join(folder, 'config.yaml');
    writeFileSync(file, 'https-listen-port: x\n');
    expect(await refusal(['server', `--config=${file}`])).toContain(
      `${file}: https-listen-port: ${expected}`,
    );
    writeFileSync(file, 'a: [\n');
    expect(await refusal(['server', `--config=${file}`])).toContain(`${file}: `);
  });

  it('a port in use', async () => {
    const line = await refusal([
      'server',
      '--disable-agent',
      '--bind-address=127.0.0.1',
      `--https-listen-port=${takenPort}`,
      '--mqtt-listen-port=0',
      '--log-level=error',
      dataDir('port'),
    ]);
    expect(line).toContain(`port ${takenPort} on 127.0.0.1 is in use`);
    expect(line).toContain('--https-listen-port');
  });

  it('to run pods without Docker', async () => {
    const docker = `unix://${join(folder, 'none.sock')}`;
    const line = await refusal(['server', `--docker-host=${docker}`, dataDir('docker')]);
    expect(line).toContain(`there is no Docker Engine at ${docker}: install one`);
  });

  it('to run pods without root', async () => {
    expect(await refusal(['server', dataDir('root')], { uid: NOBODY })).toContain('pods need root');
  });

  it('a data directory that it cannot use', async () => {
    mkdirSync(join(folder, 'private'), { mode: 0o700 });
    const asNobody = { uid: NOBODY };
    expect(await refusal(['server', '--disable-agent', dataDir('private')], asNobody)).toContain(
      'is not writable',
    );
    writeFileSync(join(folder, 'file'), '');
    expect(await refusal(['server', '--disable-agent', dataDir('file')])).toContain('is not a directory');
    mkdirSync(join(folder, 'open'));
    chmodSync(join(folder, 'open'), 0o777);
    expect(await refusal(['server', '--disable-agent', dataDir('open')])).toContain('chmod o-w');
  });
});

describe('copepod agent refuses', () => {
  it('to start without a server', async () => {
    expect(await refusal(['agent'])).toContain('--server is missing');
    expect(await refusal(['agent', '--cluster-cidr=10.0.0.0/16'])).toContain('is a flag of `copepod server`');
  });
});

describe('copepod', () => {
  it('prints its version and its help', async () => {
    expect(await copepod(['version'])).toMatchObject({ code: 0, stderr: '' });
    expect((await copepod(['--help'])).stdout).toContain('copepod COMMAND');
    expect((await copepod(['server', '--help'])).stdout).toContain('--cluster-cidr CIDR');
    expect(await refusal(['servre'])).toContain('unknown command servre, did you mean server?');
    expect(await refusal(['version', 'x'])).toContain('unexpected argument "x"');
  });

  it('checks the machine', async () => {
    const { stdout, code } = await copepod(['check', `--docker-host=unix://${join(folder, 'none.sock')}`]);
    expect(stdout).toMatch(/^missing +Docker Engine/m);
    expect(stdout).toMatch(/^ok +kernel: veth/m);
    expect(code).toBe(1);
  });
});
