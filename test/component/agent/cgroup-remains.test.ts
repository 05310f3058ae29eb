import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CgroupFiles } from '../../../src/agent/pods/cgroup-files.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { waitFor } from '../../support/wait.ts';

// A folder plays the control groups: one with a process in it cannot be removed, as in the kernel's.
const UID = '11111111-2222-3333-4444-555555555555';
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'copepod-cgroup-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it('ends what still runs in a pod’s group when the engine knows of no container of it', async () => {
  const lost = spawn('sleep', ['1000'], { stdio: 'ignore' });
  try {
    const group = join(root, 'kubepods', 'besteffort', `pod${UID}`, 'container');
    mkdirSync(group, { recursive: true });
    writeFileSync(join(group, 'cgroup.procs'), `0\n${lost.pid}\n`);
    const groups = new CgroupFiles({
      engine: async () => ({ driver: 'cgroupfs', version: 2 }),
      root,
      cores: 1,
      logger: silentLogger,
      systemctl: async () => {},
      onUnlimited: () => {},
    });
    await expect(groups.remove(UID)).rejects.toThrow('is still in use');
    await waitFor('the lost process to be killed', () => lost.signalCode === 'SIGKILL');
    // The kernel empties the group then.
    rmSync(join(group, 'cgroup.procs'));
    await groups.remove(UID);
    expect(existsSync(join(root, 'kubepods', 'besteffort', `pod${UID}`))).toBe(false);
  } finally {
    lost.kill('SIGKILL');
  }
});
