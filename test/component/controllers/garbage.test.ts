import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue, type ResourceInfo } from '../../../src/api/catalogue.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  NAMESPACES,
  PODS,
  REPLICA_SETS,
  SECRETS,
  SERVICE_ACCOUNTS,
} from '../../../src/api/kinds.ts';
import type { KubeObject } from '../../../src/api/object.ts';
import type { ResourceType } from '../../../src/api/resource.ts';
import { GarbageCollector } from '../../../src/server/controllers/garbage/collector.ts';
import { namespaceController } from '../../../src/server/controllers/namespace.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  const info = (type: ResourceType<never>): ResourceInfo => ({
    ...type,
    singular: type.kind.toLowerCase(),
    verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
    shortNames: [],
    categories: [],
    subresources: [],
    schema: undefined,
    custom: false,
  });

  let plane: ControlPlane;

  beforeEach(async () => {
    const types = [
      CONFIG_MAPS,
      DEPLOYMENTS,
      NAMESPACES,
      PODS,
      REPLICA_SETS,
      SECRETS,
      SERVICE_ACCOUNTS,
    ] as ResourceType<never>[];
    plane = await ControlPlane.open(api, { catalogue: new Catalogue(types.map(info)) });
    await plane.start(namespaceController, (context) => new GarbageCollector(context));
  });
  afterEach(() => plane.stop());

  async function configMap(
    name: string,
    owners: { object: KubeObject; block?: boolean; controller?: boolean }[] = [],
  ) {
    const map = await plane.client.create(CONFIG_MAPS, 'default', {
      metadata: {
        name,
        ownerReferences: owners.map(({ object, block, controller }) => ({
          apiVersion: object.apiVersion,
          kind: object.kind,
          name: object.metadata.name ?? '',
          uid: object.metadata.uid ?? '',
          ...(block === undefined ? {} : { blockOwnerDeletion: block }),
          ...(controller === undefined ? {} : { controller }),
        })),
      },
    });
    await plane.settle();
    return map;
  }
  const names = (): (string | undefined)[] =>
    plane.client
      .all(CONFIG_MAPS)
      .map(({ metadata }) => metadata.name)
      .sort();
  const remove = async (
    name: string,
    propagationPolicy?: 'Foreground' | 'Background' | 'Orphan',
  ): Promise<void> => {
    await plane.client.delete(CONFIG_MAPS, 'default', name, propagationPolicy ? { propagationPolicy } : {});
    await plane.settle();
  };

  describe('garbage collection', () => {
    it('in the background takes dependents, and theirs, after the owner', async () => {
      const owner = await configMap('owner');
      const child = await configMap('child', [{ object: owner }]);
      await configMap('grandchild', [{ object: child }]);
      await configMap('stranger');
      await remove('owner');
      expect(names()).toEqual(['stranger']);
    });

    it('keeps an object while one of its owners is left, without the reference to the other', async () => {
      const one = await configMap('one');
      const two = await configMap('two');
      await configMap('child', [{ object: one }, { object: two }]);
      await remove('one');
      const child = plane.client.peek(CONFIG_MAPS, 'default', 'child');
      expect(child?.metadata.ownerReferences?.map(({ name }) => name)).toEqual(['two']);
    });

    it('in the foreground keeps the owner until the dependents that block it are gone', async () => {
      const owner = await configMap('owner');
      const child = await configMap('child', [{ object: owner, block: true }]);
      await plane.client.patch(CONFIG_MAPS, 'default', 'child', {
        type: 'merge',
        body: { metadata: { uid: child.metadata.uid, finalizers: ['test/hold'] } },
      });
      await remove('owner', 'Foreground');
      expect(names()).toEqual(['child', 'owner']);
      expect(plane.client.peek(CONFIG_MAPS, 'default', 'child')?.metadata.deletionTimestamp).toBeDefined();
      await plane.client.patch(CONFIG_MAPS, 'default', 'child', {
        type: 'merge',
        body: { metadata: { finalizers: null } },
      });
      await plane.settle();
      expect(names()).toEqual([]);
    });

    it('does not wait for dependents that do not block', async () => {
      const owner = await configMap('owner');
      await configMap('child', [{ object: owner, block: false }]);
      await plane.client.patch(CONFIG_MAPS, 'default', 'child', {
        type: 'merge',
        body: { metadata: { finalizers: ['test/hold'] } },
      });
      await remove('owner', 'Foreground');
      expect(names()).toEqual(['child']);
    });

    it('orphans: dependents stay and lose the reference', async () => {
      const owner = await configMap('owner');
      await configMap('child', [{ object: owner }]);
      await remove('owner', 'Orphan');
      expect(names()).toEqual(['child']);
      expect(plane.client.peek(CONFIG_MAPS, 'default', 'child')?.metadata.ownerReferences).toBeUndefined();
    });

    it('removes what is created for an owner that does not exist, and leaves what has an owner of an unknown kind', async () => {
      const gone = await configMap('gone');
      await remove('gone');
      await configMap('late', [{ object: gone }]);
      await configMap('foreign', [{ object: { ...gone, apiVersion: 'example.com/v1', kind: 'Widget' } }]);
      expect(names()).toEqual(['foreign']);
    });

    it('takes another object of the same name for another owner', async () => {
      const first = await configMap('owner');
      await remove('owner');
      await configMap('owner');
      await configMap('child', [{ object: first }]);
      expect(names()).toEqual(['owner']);
    });

    it('finds after a restart what lost its owner while it was away', async () => {
      const owner = await configMap('owner');
      await configMap('child', [{ object: owner }]);
      await plane.stop();
      await plane.client.delete(CONFIG_MAPS, 'default', 'owner');
      await plane.start((context) => new GarbageCollector(context));
      expect(names()).toEqual([]);
    });
  });

  describe('deleting a namespace', () => {
    const conditionOf = (type: string) =>
      plane.client.peek(NAMESPACES, undefined, 'shop')?.status?.conditions?.find((one) => one.type === type);

    it('empties it, waits for what is held, says so, and lets it go', async () => {
      await plane.client.create(NAMESPACES, undefined, { metadata: { name: 'shop' } });
      await plane.client.create(SERVICE_ACCOUNTS, 'shop', { metadata: { name: 'default' } });
      await plane.client.create(SECRETS, 'shop', { metadata: { name: 'key' } });
      await plane.client.create(CONFIG_MAPS, 'shop', {
        metadata: { name: 'held', finalizers: ['test/hold'] },
      });
      await plane.client.create(PODS, 'shop', {
        metadata: { name: 'pod' },
        spec: { containers: [{ name: 'main', image: 'main' }] },
      });
      await plane.client.create(CONFIG_MAPS, 'default', { metadata: { name: 'elsewhere' } });
      await plane.settle();
      await plane.client.delete(NAMESPACES, undefined, 'shop');
      await plane.clock.advance(2000);
      expect(plane.client.all(SECRETS)).toHaveLength(0);
      expect(plane.client.all(PODS)).toHaveLength(0);
      expect(conditionOf('NamespaceContentRemaining')).toMatchObject({
        status: 'True',
        message: 'Some resources are remaining: configmaps. has 1 resource instances',
      });
      expect(conditionOf('NamespaceFinalizersRemaining')).toMatchObject({
        status: 'True',
        message: 'Some content in the namespace has finalizers remaining: test/hold in 1 resource instances',
      });
      await expect(plane.client.create(SECRETS, 'shop', { metadata: { name: 'new' } })).rejects.toThrow(
        'because it is being terminated',
      );
      await plane.client.patch(CONFIG_MAPS, 'shop', 'held', {
        type: 'merge',
        body: { metadata: { finalizers: null } },
      });
      await plane.clock.advance(2000);
      expect(plane.client.peek(NAMESPACES, undefined, 'shop')).toBeUndefined();
      expect(names()).toEqual(['elsewhere']);
    });
  });
});
