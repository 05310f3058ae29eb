// What a crash of the server may not take. Each case was a failing seed of the simulation.
import { describe, expect, test } from 'vitest';
import { builtInResources, Catalogue } from '../../../src/api/catalogue.ts';
import { loadResourceFacts, loadSchemaFacts } from '../../../src/api/facts.ts';
import { CRON_JOBS, DEPLOYMENTS, JOBS, NODES, PODS } from '../../../src/api/kinds.ts';
import { Schemas } from '../../../src/api/schema.ts';
import type { Job } from '../../../src/api/types/batch-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { ApiRegistry } from '../../../src/server/registry/api-registry.ts';
import { LocalClient } from '../../../src/server/registry/local-client.ts';
import { createStrategies } from '../../../src/server/registry/strategies/index.ts';
import { MemoryDisk, MemoryEngine } from '../../../src/server/store/memory-engine.ts';
import { ObjectStore } from '../../../src/server/store/store.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** A server process on this disk; the one before it is gone as by SIGKILL. */
async function serverOn(disk: MemoryDisk) {
  disk.crash(0);
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const logger = silentLogger;
  const schemaFacts = await loadSchemaFacts();
  const catalogue = new Catalogue(builtInResources(await loadResourceFacts(), schemaFacts as never));
  const store = new ObjectStore({ engine: new MemoryEngine({ disk }), clock, logger, freeze: true });
  await store.start();
  const registry = new ApiRegistry({
    store,
    catalogue,
    schemas: new Schemas(schemaFacts),
    strategies: createStrategies(),
    admission: [],
    clock,
    random,
    logger,
    serviceCidr: '10.43.0.0/24',
  });
  const user = { name: 'test', groups: ['system:masters'] };
  return { store, client: new LocalClient({ registry, user, logger }) };
}

const template = {
  spec: { restartPolicy: 'Never' as const, containers: [{ name: 'main', image: 'sim:1' }] },
};
const metadata = { name: 'thing', namespace: 'default' };

describe('after a crash', () => {
  test('a Job still knows which pods it has counted', async () => {
    const disk = new MemoryDisk();
    const { client } = await serverOn(disk);
    const job = await client.create(JOBS, 'default', {
      metadata,
      spec: { completions: 2, template },
    } as never);
    const counted = await client.updateStatus(JOBS, { ...(job as Job), status: { succeeded: 1, active: 1 } });
    await client.updateStatus(JOBS, { ...counted, status: { ...counted.status, active: 2 } });

    const found = await (await serverOn(disk)).client.get(JOBS, 'default', 'thing');
    // How many are active is found out again.
    expect(found.status).toMatchObject({ succeeded: 1, active: 1 });
  });

  test('a CronJob still knows which run it has started', async () => {
    const disk = new MemoryDisk();
    const { client } = await serverOn(disk);
    const spec = { schedule: '* * * * *', jobTemplate: { spec: { template } } };
    const cron = await client.create(CRON_JOBS, 'default', { metadata, spec } as never);
    await client.updateStatus(CRON_JOBS, {
      ...cron,
      status: { lastScheduleTime: '2026-01-01T00:01:00Z' },
    } as never);

    const found = await (await serverOn(disk)).client.get(CRON_JOBS, 'default', 'thing');
    expect(found.status?.lastScheduleTime).toBe('2026-01-01T00:01:00Z');
  });

  test('an annotation that came with a status is there', async () => {
    const disk = new MemoryDisk();
    const { client } = await serverOn(disk);
    const labels = { app: 'web' };
    const spec = {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'sim:1' }] } },
    };
    const deployment = await client.create(DEPLOYMENTS, 'default', { metadata, spec } as never);
    await client.updateStatus(DEPLOYMENTS, {
      ...deployment,
      metadata: { ...deployment.metadata, annotations: { revision: '1' } },
      status: { replicas: 1 },
    });

    const found = await (await serverOn(disk)).client.get(DEPLOYMENTS, 'default', 'thing');
    expect(found.metadata.annotations).toEqual({ revision: '1' });
  });

  test('a pod that was marked, but not yet removed, can be deleted', async () => {
    const { store, client } = await serverOn(new MemoryDisk());
    const pod = await client.create(PODS, 'default', { metadata, ...template } as never);
    await store.commit([
      {
        bucket: 'pods',
        key: 'default/thing',
        object: {
          ...pod,
          metadata: {
            ...pod.metadata,
            deletionTimestamp: '2026-01-01T00:00:00Z',
            deletionGracePeriodSeconds: 0,
          },
        },
        expected: Number(pod.metadata.resourceVersion),
        durability: 'durable',
      },
    ]);

    await client.delete(PODS, 'default', 'thing', { gracePeriodSeconds: 0 });
    expect(store.get('pods', 'default/thing')).toBeUndefined();
  });
});

test('a patch leaves what it does not name, and the stored object, alone', async () => {
  const { client } = await serverOn(new MemoryDisk());
  await client.create(NODES, undefined, { metadata: { name: 'board' } });
  // The store freezes its objects here: a change in place would throw.
  const patched = await client.patch(NODES, undefined, 'board', {
    type: 'merge',
    body: { spec: { unschedulable: true } },
  });
  expect(patched.spec?.unschedulable).toBe(true);
  expect(patched.metadata.name).toBe('board');
});
