import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MirrorPods, planMirrors } from '../../../src/agent/static-pods/mirrors.ts';
import { ManifestSource } from '../../../src/agent/static-pods/source.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { waitFor } from '../../support/wait.ts';

let directory: string;
let clock: VirtualClock;
let source: ManifestSource;
let pods: Pod[];
let problems: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'copepod-manifests-'));
  clock = new VirtualClock();
  pods = [];
  problems = [];
  source = new ManifestSource({
    path: join(directory, 'new'),
    nodeName: 'pi',
    clock,
    logger: silentLogger,
    onPods: (all) => {
      pods = all;
    },
    onProblem: (file, problem) => problems.push(`${file.slice(directory.length + 5)}: ${problem}`),
  });
});
afterEach(async () => {
  await source.stop();
  rmSync(directory, { recursive: true, force: true });
});

const write = (file: string, text: string): void => writeFileSync(join(directory, 'new', file), text);
const manifest = (name: string, image = 'i'): string =>
  `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "${name}"}, "spec": {"containers": [{"name": "c", "image": "${image}"}]}}`;
const names = (): string[] => pods.map(({ metadata }) => metadata.name ?? '').sort();
/** The next regular look. */
const look = async (what: string, done: () => boolean): Promise<void> => {
  await clock.advance(20_000);
  await waitFor(what, async () => done());
};

it('reads what is there at the start, YAML and JSON, and leaves out what is no pod', async () => {
  mkdirSync(join(directory, 'new'));
  write('a.json', manifest('a'));
  write(
    'b.yaml',
    'apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec:\n  containers: [{name: c, image: i}]\n',
  );
  write('.hidden.yaml', manifest('hidden'));
  write('c.yaml', 'apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n');
  write('d.yaml', '');
  write('twin.json', manifest('a'));
  await source.start();
  expect(names()).toEqual(['a-pi', 'b-pi']);
  expect(problems).toEqual([
    'c.yaml: the file has more than one document',
    'd.yaml: the file is empty',
    'twin.json: another file of new has the pod default/a-pi already',
  ]);
});

it('follows files that come, change, break and go', async () => {
  await source.start();
  expect(pods).toEqual([]);
  write('a.json', manifest('a'));
  await look('the pod', () => names().length === 1);
  const first = pods[0]?.metadata.uid;
  write('a.json', manifest('a', 'other'));
  await look('another pod', () => pods[0]?.metadata.uid !== first);
  expect(names()).toEqual(['a-pi']);
  write('a.json', '{"apiVersion": "v1",');
  await look('the pod to go', () => pods.length === 0);
  expect(problems).toHaveLength(1);
  write('a.json', manifest('a'));
  await look('the pod again', () => pods[0]?.metadata.uid === first);
  rmSync(join(directory, 'new', 'a.json'));
  await look('the end', () => pods.length === 0);
});

it('keeps a copy of each pod at the server, over refusals and absences', async () => {
  mkdirSync(join(directory, 'new'));
  write('a.json', manifest('a'));
  await source.start();
  const calls: string[] = [];
  const copies: Pod[] = [];
  let refuses = true;
  const mirrors = new MirrorPods({
    api: {
      nodeUid: async () => 'node-uid',
      create: async (pod) => {
        calls.push(`create ${pod.metadata.name}`);
        if (refuses) throw new Error('no such namespace');
        copies.push({ ...pod, metadata: { ...pod.metadata, uid: 'mirror-uid' } });
      },
      delete: async (_namespace, name, uid) => {
        calls.push(`delete ${name} ${uid}`);
        copies.length = 0;
      },
    },
    clock,
    logger: silentLogger,
    plan: () => planMirrors(pods, copies, () => false),
    known: () => true,
  });
  mirrors.wake();
  await clock.advance(100);
  expect(calls).toEqual(['create a-pi']);
  await clock.advance(4_000);
  refuses = false;
  await clock.advance(10_000);
  expect(copies).toHaveLength(1);
  // Somebody deletes it.
  const [copy] = copies;
  if (copy) copy.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
  calls.length = 0;
  mirrors.wake();
  await clock.advance(100);
  expect(calls).toEqual(['delete a-pi mirror-uid']);
  mirrors.wake();
  await clock.advance(30_000);
  expect(calls).toEqual(['delete a-pi mirror-uid', 'create a-pi']);
  mirrors.stop();
});
