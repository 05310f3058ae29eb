import { beforeEach, describe, expect, test } from 'vitest';
import { isAlreadyExists, isConflict, isNotFound } from '../../../src/api/errors.ts';
import { CONFIG_MAPS, NODES, PODS } from '../../../src/api/kinds.ts';
import type { KubeObject } from '../../../src/api/object.ts';
import type { ConfigMap, Pod } from '../../../src/api/types/core-v1.ts';
import type { Client } from '../../../src/client/port.ts';

/** What every Client owes (src/client/port.ts). The namespace `default` exists, with its service account. */
export function clientContract(name: string, open: () => Promise<Client>): void {
  describe(`client contract: ${name}`, () => {
    let client: Client;
    beforeEach(async () => {
      client = await open();
    });

    const map = (named: string, labels: Record<string, string> = {}): ConfigMap => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: named, namespace: 'default', labels },
      data: { a: '1' },
    });
    const pod = (named: string): Pod => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: named, namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    const create = (object: ConfigMap): Promise<ConfigMap> => client.create(CONFIG_MAPS, 'default', object);
    const createPod = (object: Pod): Promise<Pod> => client.create(PODS, 'default', object);
    const refused = async (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => 'nothing was refused',
        (error) => error,
      );

    function follow(selector?: string) {
      const lists: string[][] = [];
      const events: string[] = [];
      const follower = client.follow(
        CONFIG_MAPS,
        { namespace: 'default', ...(selector === undefined ? {} : { labelSelector: selector }) },
        {
          onList: ({ items }) =>
            void lists.push(items.map(nameOf).filter((item) => item !== 'kube-root-ca.crt')),
          onEvent: (type, object) => void events.push(`${type} ${nameOf(object)}`),
        },
      );
      return { lists, events, follower };
    }

    test('creates, gets and lists, with uid, revision and time', async () => {
      const made = await create(map('b', { x: '1' }));
      await create(map('a'));
      expect(made.metadata).toMatchObject({ name: 'b', namespace: 'default', labels: { x: '1' } });
      expect(made.metadata.uid).toBeTruthy();
      expect(made.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(await client.get(CONFIG_MAPS, 'default', 'b')).toEqual(made);
      const all = await client.list(CONFIG_MAPS, { namespace: 'default' });
      expect(all.items.map(nameOf).filter((item) => item.length === 1)).toEqual(['a', 'b']);
      const some = await client.list(CONFIG_MAPS, { labelSelector: 'x in (1,2)' });
      expect(some.items.map(nameOf)).toEqual(['b']);
    });

    test('refuses what is there already and what is not there', async () => {
      await create(map('a'));
      expect(isAlreadyExists(await refused(create(map('a'))))).toBe(true);
      expect(isNotFound(await refused(client.get(CONFIG_MAPS, 'default', 'none')))).toBe(true);
      expect(isNotFound(await refused(client.delete(CONFIG_MAPS, 'default', 'none')))).toBe(true);
      expect(
        isNotFound(await refused(client.patch(CONFIG_MAPS, 'default', 'none', { type: 'merge', body: {} }))),
      ).toBe(true);
    });

    test('generateName makes a name', async () => {
      const made = await client.create(CONFIG_MAPS, 'default', { metadata: { generateName: 'web-' } });
      expect(made.metadata.name).toMatch(/^web-[a-z0-9]{5}$/);
    });

    test('an update with an old revision loses, one with the newest wins', async () => {
      const first = await create(map('a'));
      const second = await client.update(CONFIG_MAPS, { ...first, data: { a: '2' } });
      expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
      expect(isConflict(await refused(client.update(CONFIG_MAPS, { ...first, data: { a: '3' } })))).toBe(
        true,
      );
      const third = await client.update(CONFIG_MAPS, { ...second, data: { a: '3' } });
      expect(third.data).toEqual({ a: '3' });
    });

    test('patches made at once all take effect', async () => {
      await create(map('a'));
      await Promise.all(
        ['b', 'c', 'd'].map((key) =>
          client.patch(CONFIG_MAPS, 'default', 'a', { type: 'merge', body: { data: { [key]: '1' } } }),
        ),
      );
      expect((await client.get(CONFIG_MAPS, 'default', 'a')).data).toEqual({
        a: '1',
        b: '1',
        c: '1',
        d: '1',
      });
    });

    test('status and spec are kept apart', async () => {
      const made = await createPod(pod('p'));
      const status = { ...made.status, phase: 'Running' as const };
      const reported = await client.updateStatus(PODS, {
        ...made,
        metadata: { ...made.metadata },
        spec: { ...made.spec, containers: [{ name: 'c', image: 'other' }] },
        status,
      });
      expect(reported.status?.phase).toBe('Running');
      expect(reported.spec?.containers[0]?.image).toBe('i');
      const labelled = await client.patch(PODS, 'default', 'p', {
        type: 'merge',
        body: { metadata: { labels: { x: 'y' } }, status: { phase: 'Failed' } },
      });
      expect(labelled.status?.phase).toBe('Running');
      expect(labelled.metadata.labels).toEqual({ x: 'y' });
    });

    test('follows without a gap, and shows a write before it resolves', async () => {
      await create(map('a'));
      const { lists, events, follower } = follow();
      await follower.synced;
      expect(lists).toEqual([['a']]);
      await create(map('b'));
      expect(events).toEqual(['ADDED b']);
      await client.patch(CONFIG_MAPS, 'default', 'a', { type: 'merge', body: { data: { z: '1' } } });
      expect(events).toEqual(['ADDED b', 'MODIFIED a']);
      await client.delete(CONFIG_MAPS, 'default', 'b');
      expect(events).toEqual(['ADDED b', 'MODIFIED a', 'DELETED b']);
      follower.stop();
      await create(map('c'));
      expect(events).toHaveLength(3);
    });

    test('an object enters and leaves a selection', async () => {
      await create(map('a', { app: 'web' }));
      const { lists, events, follower } = follow('app=web');
      await follower.synced;
      const label = (app: string): Promise<ConfigMap> =>
        client.patch(CONFIG_MAPS, 'default', 'a', { type: 'merge', body: { metadata: { labels: { app } } } });
      await label('db');
      await label('cache');
      await label('web');
      expect(lists).toEqual([['a']]);
      expect(events).toEqual(['DELETED a', 'ADDED a']);
      follower.stop();
    });

    test('what has finalizers stays, marked, until they are gone', async () => {
      const held = map('a');
      held.metadata.finalizers = ['example.com/hold'];
      await create(held);
      await client.delete(CONFIG_MAPS, 'default', 'a');
      expect((await client.get(CONFIG_MAPS, 'default', 'a')).metadata.deletionTimestamp).toBeTruthy();
      await client.patch(CONFIG_MAPS, 'default', 'a', {
        type: 'merge',
        body: { metadata: { finalizers: null } },
      });
      expect(isNotFound(await refused(client.get(CONFIG_MAPS, 'default', 'a')))).toBe(true);
    });

    test('preconditions guard a delete', async () => {
      await create(map('a'));
      const wrong = client.delete(CONFIG_MAPS, 'default', 'a', { preconditions: { uid: 'other' } });
      expect(isConflict(await refused(wrong))).toBe(true);
      expect((await client.get(CONFIG_MAPS, 'default', 'a')).metadata.name).toBe('a');
    });

    test('a pod on a node goes gracefully, one without a node at once', async () => {
      await createPod(pod('free'));
      await client.delete(PODS, 'default', 'free');
      expect(isNotFound(await refused(client.get(PODS, 'default', 'free')))).toBe(true);

      await createPod(pod('bound'));
      await client.createSubresource(PODS, 'default', 'bound', 'binding', {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name: 'bound' },
        target: { apiVersion: 'v1', kind: 'Node', name: 'n1' },
      });
      expect((await client.get(PODS, 'default', 'bound')).spec?.nodeName).toBe('n1');
      await client.delete(PODS, 'default', 'bound', { gracePeriodSeconds: 20 });
      const going = await client.get(PODS, 'default', 'bound');
      expect(going.metadata.deletionGracePeriodSeconds).toBe(20);
      await client.delete(PODS, 'default', 'bound', { gracePeriodSeconds: 0 });
      expect(isNotFound(await refused(client.get(PODS, 'default', 'bound')))).toBe(true);
    });

    test('a pod is bound once', async () => {
      await createPod(pod('p'));
      const bind = (node: string): Promise<KubeObject> =>
        client.createSubresource(PODS, 'default', 'p', 'binding', {
          metadata: { name: 'p' },
          target: { kind: 'Node', name: node },
        });
      await bind('n1');
      expect(isConflict(await refused(bind('n2')))).toBe(true);
    });

    test('cluster-scoped objects have no namespace', async () => {
      const node = await client.create(NODES, undefined, { metadata: { name: 'n1' } });
      expect(node.metadata.namespace).toBeUndefined();
      expect((await client.get(NODES, undefined, 'n1')).metadata.uid).toBe(node.metadata.uid);
    });
  });
}

function nameOf(object: KubeObject): string {
  return object.metadata.name ?? '';
}
