import { beforeEach, expect, it } from 'vitest';
import type { DesiredChange } from '../../../../src/agent/ports.ts';
import { StaticDesired } from '../../../../src/agent/static-pods/desired.ts';
import { mirrorOf, staticPod } from '../../../../src/agent/static-pods/manifest.ts';
import type { Pod } from '../../../../src/api/types/core-v1.ts';
import { FakeDesired, FakeReporter, testPod } from '../../../support/fake-node.ts';

const made = (image: string): Pod =>
  staticPod(
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web' },
      spec: { containers: [{ name: 'web', image }] },
    },
    { nodeName: 'pi', file: '/m/web.yaml', seen: '2026-01-01T00:00:00Z' },
  );
const uidOf = ({ metadata }: Pod): string => metadata.uid ?? '';
const copyOf = (pod: Pod, uid: string): Pod => {
  const copy = mirrorOf(pod, 'node');
  return { ...copy, metadata: { ...copy.metadata, uid } };
};

let server: FakeDesired;
let reporter: FakeReporter;
let running: Set<string>;
let desired: StaticDesired;
let changes: DesiredChange[];

beforeEach(() => {
  server = new FakeDesired();
  reporter = new FakeReporter();
  running = new Set();
  desired = new StaticDesired({ server, reporter, runs: (uid) => running.has(uid) });
  changes = [];
  desired.onChange((change) => changes.push(change));
  desired.start();
});

it('wants the server’s pods and the board’s own, and never runs the copies of these', () => {
  const one = made('one');
  const other = testPod('other', { containers: [{ name: 'c' }] });
  server.set(other);
  desired.set([one]);
  server.set(copyOf(one, 'mirror'));
  expect(desired.pods().map(uidOf)).toEqual(['uid-other', uidOf(one)]);
  expect(desired.pod('mirror')).toBeUndefined();
  expect(desired.localUid('mirror')).toBe(uidOf(one));
  expect(desired.localUid('uid-other')).toBe('uid-other');
  expect(desired.serverUid(uidOf(one))).toBe('mirror');
  expect(changes).toEqual([
    { kind: 'pod', uid: 'uid-other' },
    { kind: 'pod', uid: uidOf(one) },
  ]);
});

it('begins what a changed manifest says when the pod before has ended', () => {
  const [one, two] = [made('one'), made('two')];
  desired.set([one]);
  running.add(uidOf(one));
  desired.set([two]);
  expect(desired.pods()).toEqual([]);
  expect(desired.disowned(uidOf(one))).toBe(true);
  expect(changes.at(-1)).toEqual({ kind: 'pod', uid: uidOf(one) });
  running.clear();
  desired.gone(uidOf(one));
  expect(desired.pods().map(uidOf)).toEqual([uidOf(two)]);
  expect(changes.at(-1)).toEqual({ kind: 'pod', uid: uidOf(two) });
});

it('ends what has no file any more, without any server, but nothing before the files were read', () => {
  server.unconfirmed();
  expect(desired.disowned(uidOf(made('one')))).toBe(false);
  desired.set([]);
  expect(desired.disowned(uidOf(made('one')))).toBe(true);
  // Of the server's pods only the server can say so.
  expect(desired.disowned('uid-x')).toBe(false);
});

it('reports under the copy’s uid, as soon as there is one', () => {
  const one = made('one');
  desired.set([one]);
  desired.podStatus(one, { phase: 'Running' });
  expect(reporter.statuses.size).toBe(0);
  server.set(copyOf(one, 'mirror'));
  expect(reporter.status('mirror')).toEqual({ phase: 'Running' });
  desired.podStatus(one, { phase: 'Failed' });
  expect(reporter.status('mirror')).toEqual({ phase: 'Failed' });
  desired.podGone(one, { phase: 'Succeeded' });
  expect(reporter.gone.size).toBe(0);
});
