import { beforeEach, describe, expect, it } from 'vitest';
import { DesiredStore } from '../../../src/agent/desired.ts';
import type { DesiredChange } from '../../../src/agent/ports.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { topics } from '../../../src/wire/topics.ts';
import { MemoryJournal } from '../../support/memory-journal.ts';

const pod = (uid: string, over: object = {}) =>
  JSON.stringify({
    v: 1,
    pod: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `pod-${uid}`, namespace: 'd', uid, resourceVersion: '1', ...over },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    },
  });
const digest = (pods: Record<string, string>, configs: Record<string, string> = {}) =>
  JSON.stringify({ v: 1, pods, configs });
const config = (kind: 'ConfigMap' | 'Secret', name: string, data: Record<string, string>) =>
  JSON.stringify({ v: 1, object: { apiVersion: 'v1', kind, metadata: { name, namespace: 'd' }, data } });
const service = (name: string) =>
  JSON.stringify({ v: 1, namespace: 'd', name, type: 'ClusterIP', clusterIPs: ['10.43.0.1'], ports: [] });

let journal: MemoryJournal;
let desired: DesiredStore;
let changes: DesiredChange[];

function open(from: MemoryJournal): void {
  journal = from;
  changes = [];
  desired = new DesiredStore({ node: 'n', journal, logger: silentLogger });
  desired.onChange((change) => changes.push(change));
  desired.load();
}

beforeEach(() => open(new MemoryJournal()));

describe('desired state', () => {
  it('is complete with the first digest, not before', () => {
    desired.handleDesired(topics.desiredPod('n', 'a'), pod('a'));
    expect(desired.complete).toBe(false);
    desired.handleDesired(topics.desiredDigest('n'), digest({ a: '1' }));
    expect(desired.complete).toBe(true);
    expect(desired.pods().map(({ metadata }) => metadata.uid)).toEqual(['a']);
  });

  it('starts from the journal, complete at once, as it was', () => {
    desired.handleDesired(topics.desiredPod('n', 'a'), pod('a'));
    desired.handleDesired(
      topics.desiredConfig('n', 'secrets', 'd', 's'),
      config('Secret', 's', { k: 'dg==' }),
    );
    desired.handleDesired(
      topics.desiredConfig('n', 'configmaps', 'd', 's'),
      config('ConfigMap', 's', { k: 'v' }),
    );
    desired.handleDesired(
      topics.desiredDigest('n'),
      digest({ a: '1' }, { 'secrets/d/s': '1', 'configmaps/d/s': '1' }),
    );
    desired.handleShared(topics.sharedService('d', 'web'), service('web'));
    desired.handleShared(
      topics.cluster(),
      JSON.stringify({ v: 1, serviceCidr: 'a', clusterCidr: 'b', clusterDns: 'c', clusterDomain: 'd' }),
    );
    open(journal.reopened());
    expect(desired.complete).toBe(true);
    expect(desired.pod('a')?.metadata.name).toBe('pod-a');
    expect(desired.secret('d', 's')?.data).toEqual({ k: 'dg==' });
    expect(desired.configMap('d', 's')?.data).toEqual({ k: 'v' });
    expect(desired.services()).toHaveLength(1);
    expect(desired.cluster()?.clusterDomain).toBe('d');
  });

  it('neither wakes anyone nor writes when a reconnect repeats everything', () => {
    const everything = (): void => {
      desired.handleDesired(topics.desiredPod('n', 'a'), pod('a'));
      desired.handleDesired(
        topics.desiredConfig('n', 'configmaps', 'd', 'c'),
        config('ConfigMap', 'c', { k: 'v' }),
      );
      desired.handleShared(topics.sharedService('d', 'web'), service('web'));
      desired.handleDesired(topics.desiredDigest('n'), digest({ a: '1' }, { 'configmaps/d/c': '1' }));
    };
    everything();
    changes.length = 0;
    const { writes } = journal;
    everything();
    expect(changes).toEqual([]);
    expect(journal.writes).toBe(writes);
  });

  it('deletes by tombstone, and by digest when the tombstone was lost', () => {
    for (const uid of ['a', 'b', 'c']) desired.handleDesired(topics.desiredPod('n', uid), pod(uid));
    desired.handleDesired(topics.desiredConfig('n', 'secrets', 'd', 's'), config('Secret', 's', {}));
    desired.handleDesired(
      topics.desiredDigest('n'),
      digest({ a: '1', b: '1', c: '1' }, { 'secrets/d/s': '1' }),
    );
    changes.length = 0;
    desired.handleDesired(topics.desiredPod('n', 'a'), '');
    desired.handleDesired(topics.desiredDigest('n'), digest({ c: '1' }));
    expect(changes).toEqual([
      { kind: 'pod', uid: 'a' },
      { kind: 'pod', uid: 'b' },
      { kind: 'config', namespace: 'd', name: 's' },
    ]);
    open(journal.reopened());
    expect(desired.pods().map(({ metadata }) => metadata.uid)).toEqual(['c']);
    expect(desired.secret('d', 's')).toBeUndefined();
  });

  it('keeps everything when the digest itself is withdrawn', () => {
    desired.handleDesired(topics.desiredPod('n', 'a'), pod('a'));
    desired.handleDesired(topics.desiredDigest('n'), digest({ a: '1' }));
    desired.handleDesired(topics.desiredDigest('n'), '');
    expect(desired.pods()).toHaveLength(1);
  });

  it('names what a digest lists and has not come', () => {
    desired.handleDesired(topics.desiredDigest('n'), digest({ a: '1' }, { 'configmaps/d/c': '1' }));
    desired.handleShared(topics.sharedDigest(), JSON.stringify({ v: 1, services: ['d/web'], nodes: ['m'] }));
    expect(desired.missing()).toEqual(['pods/a', 'configmaps/d/c', 'services/d/web', 'nodes/m']);
    desired.handleDesired(topics.desiredPod('n', 'a'), pod('a'));
    expect(desired.missing()).not.toContain('pods/a');
  });

  it('drops Services and nodes that went while it was away', () => {
    desired.handleShared(topics.sharedService('d', 'old'), service('old'));
    desired.handleShared(
      topics.sharedNode('m'),
      JSON.stringify({ v: 1, name: 'm', internalIP: '10.0.0.1', podCIDR: 'x' }),
    );
    changes.length = 0;
    desired.handleShared(topics.sharedDigest(), JSON.stringify({ v: 1, services: [], nodes: ['m'] }));
    expect(desired.services()).toEqual([]);
    expect(desired.nodes()).toHaveLength(1);
    expect(changes).toEqual([{ kind: 'network' }]);
  });

  it('ignores what is malformed, foreign or under another name', () => {
    desired.handleDesired(topics.desiredPod('n', 'a'), pod('b'));
    desired.handleDesired(topics.desiredPod('other', 'a'), pod('a'));
    desired.handleDesired(topics.desiredPod('n', 'a'), '{"v":2}');
    desired.handleDesired(topics.desiredPod('n', 'a'), 'nonsense');
    desired.handleDesired(topics.desiredConfig('n', 'configmaps', 'd', 'x'), config('Secret', 'x', {}));
    desired.handleDesired(topics.desiredConfig('n', 'secrets', 'd', 'x'), config('Secret', 'y', {}));
    expect(desired.pods()).toEqual([]);
    expect(changes).toEqual([]);
    expect(journal.writes).toBe(0);
  });
});
