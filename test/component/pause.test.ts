import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PauseArchitecture, pauseImage } from '../../src/agent/docker/pause.ts';
import { waitFor } from '../support/wait.ts';

// The real binaries run here: natively, and the ARM ones by user-mode emulation (Debian's qemu-user-static).
const TARGETS: { arch: PauseArchitecture; emulator: string[]; machine: number }[] = [
  { arch: 'x64', emulator: [], machine: 62 },
  { arch: 'arm64', emulator: ['qemu-aarch64-static'], machine: 183 },
  { arch: 'arm', emulator: ['qemu-arm-static'], machine: 40 },
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'copepod-pause-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const exited = (child: ChildProcess): Promise<{ code: number | null; signal: string | null }> =>
  new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });

/** rt_sigtimedwait in the host's numbering: an emulator makes the host's call. */
const SIGTIMEDWAIT = process.arch === 'x64' ? 128 : 137;
const waitsForSignal = (pid: number): boolean =>
  readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(`${SIGTIMEDWAIT} `);
const children = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

describe.each(TARGETS)('pause for $arch', ({ arch, emulator, machine }) => {
  const unpack = (): string => {
    const { tar } = pauseImage(arch);
    const target = join(folder, arch);
    execFileSync('sh', ['-c', 'mkdir -p "$0" && tar -xf - -C "$0"', target], { input: tar });
    return join(target, 'pause');
  };

  it('is a small static program for its machine', () => {
    const binary = readFileSync(unpack());
    expect(binary.readUInt16LE(18)).toBe(machine);
    expect(binary.length).toBeLessThan(2048);
    // No PT_INTERP: nothing of the image's file system is needed.
    expect(binary.includes('/lib')).toBe(false);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends at once with 0 on %s', async (signal) => {
    const child = spawn('env', [...emulator, unpack()]);
    const end = exited(child);
    await waitFor('pause to wait', () => child.pid !== undefined && waitsForSignal(child.pid));
    child.kill(signal);
    expect(await end).toEqual({ code: 0, signal: null });
  });

  it('as PID 1 reaps orphans and obeys SIGTERM', async () => {
    // The shell leaves an orphan behind, then becomes pause: the orphan is pause's child and dies before or after it.
    const script = join(folder, `${arch}.sh`);
    writeFileSync(
      script,
      `#!/bin/sh\n(sleep 0.2 & sleep 0.1 &)\nexec ${[...emulator, unpack()].join(' ')}\n`,
    );
    const child = spawn('unshare', ['--pid', '--fork', '--kill-child', 'sh', script]);
    const end = exited(child);
    let pause = 0;
    await waitFor('pause to become PID 1', () => {
      pause = children(child.pid as number)[0] ?? 0;
      return pause !== 0 && waitsForSignal(pause);
    });
    await waitFor('orphans to be reaped', () => children(pause).length === 0);
    process.kill(pause, 'SIGTERM');
    expect(await end).toEqual({ code: 0, signal: null });
  });
});

describe('pauseImage', () => {
  it('is named by version and architecture and is the same bytes every time', () => {
    expect(pauseImage('arm64').reference).toMatch(/^copepod\.local\/pause:\d+-arm64$/);
    expect(pauseImage('x64').tar.equals(pauseImage('x64').tar)).toBe(true);
    expect(pauseImage('x64').tar.length % 512).toBe(0);
  });
});
