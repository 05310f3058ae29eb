import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Journal } from '../../../src/agent/journal.ts';
import { SystemMounter } from '../../../src/agent/volumes/mounter.ts';
import { NodeVolumes } from '../../../src/agent/volumes/node-volumes.ts';
import type { Logger } from '../../../src/lib/logger.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { FakeDesired, testPod } from '../../support/fake-node.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

// A card that is full to the last byte: a tmpfs of two megabytes of its own. As root.

let disk: string;
let clock: VirtualClock;

beforeEach(() => {
  disk = mkdtempSync(join(tmpdir(), 'copepod-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]);
  clock = new VirtualClock();
});
afterEach(() => {
  execFileSync('umount', ['-l', disk]);
  rmSync(disk, { recursive: true });
});

/** Until not a byte more goes in. */
function fill(): void {
  const file = openSync(join(disk, 'fill'), 'a');
  try {
    for (const size of [65_536, 4_096, 1]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
}
const free = (): void => rmSync(join(disk, 'fill'));

describe('the journal', () => {
  let complaints: string[];
  const journal = () => {
    const logger: Logger = {
      ...silentLogger,
      error: (_fields: object, message: string) => void complaints.push(message),
    };
    return new Journal({ directory: join(disk, 'agent'), clock, logger });
  };
  const pods = async (): Promise<string[]> => {
    const read = journal();
    await read.start();
    const uids = [...read.take('pod').keys()];
    await read.stop();
    return uids;
  };
  beforeEach(() => {
    complaints = [];
  });

  it('goes on from memory, and writes by itself when there is room again', async () => {
    const written = journal();
    await written.start();
    written.put('pod', 'before', {});
    written.flush();
    fill();
    written.put('pod', 'meanwhile', { note: 'x'.repeat(20_000) });
    await clock.advance(1_000);
    expect(complaints).toEqual(['the agent’s journal could not be written']);
    free();
    // Nothing changes any more: it is tried again all the same.
    await clock.advance(60_000);
    await written.stop();
    expect(await pods()).toEqual(['before', 'meanwhile']);
  });

  it('is read at the start of an agent on a full disk, and not taken for damaged', async () => {
    const written = journal();
    await written.start();
    written.put('pod', 'before', {});
    await written.stop();
    fill();
    expect(await pods()).toEqual(['before']);
    expect(readdirSync(join(disk, 'agent')).filter((name) => name.includes('unreadable'))).toEqual([]);
    free();
    expect(await pods()).toEqual(['before']);
  });
});

it('a pod whose volumes find no room says so, and gets them when there is some', async () => {
  const desired = new FakeDesired();
  const volumes = new NodeVolumes({
    podsDirectory: join(disk, 'pods'),
    volatileDirectory: join(disk, 'volatile'),
    clock,
    random: new SeededRandom(1),
    mounter: new SystemMounter(),
    persistent: () => [],
    content: () => ({
      config: desired,
      fields: { hostIPs: [], podIPs: [], allocatable: {} },
      tokens: { token: async () => 'token', ca: 'CA' },
      onTokenMissing: () => {},
    }),
  });
  desired.setConfig({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: 'default', name: 'cfg' },
    data: { large: 'x'.repeat(100_000) },
  });
  const pod = testPod('a', {
    volumes: [{ name: 'v', configMap: { name: 'cfg' } }],
    containers: [{ name: 'main', image: 'i', volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
  });
  fill();
  await expect(volumes.prepare(pod)).rejects.toThrow('no space left on device');
  free();
  await volumes.prepare(pod);
  await volumes.teardown('uid-a');
  expect(await volumes.left()).toEqual([]);
});
