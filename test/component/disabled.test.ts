import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtInResources, Catalogue } from '../../src/api/catalogue.ts';
import type { Component } from '../../src/api/components.ts';
import { loadBootstrapObjects, loadResourceFacts, loadSchemaFacts } from '../../src/api/facts.ts';
import {
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  INGRESS_CLASSES,
  NODES,
  SERVICES,
  STORAGE_CLASSES,
} from '../../src/api/kinds.ts';
import { Schemas } from '../../src/api/schema.ts';
import type { HorizontalPodAutoscaler } from '../../src/api/types/autoscaling-v2.ts';
import type { Service } from '../../src/api/types/core-v1.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { ControlPlane } from '../../src/server/control-plane.ts';
import { DEFAULT_INGRESS_CLASS } from '../../src/server/controllers/ingress/default-class.ts';
import { LOCAL_PATH_STORAGE_CLASS } from '../../src/server/controllers/storage/default-class.ts';
import { isOurOwn } from '../../src/server/controllers/storage/without-local-path.ts';
import { MemoryDisk, MemoryEngine } from '../../src/server/store/memory-engine.ts';
import { drive } from '../golden/replay/drive.ts';
import { ApiFixture } from '../support/api-fixture.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { SimulatedBroker, SimulatedBus } from '../support/simulated-broker.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

// A server that is started again with --disable: what an earlier start has made goes, what users made stays.
describe('a server with --disable', () => {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const disk = new MemoryDisk();
  let plane: ControlPlane;
  let catalogue: Catalogue;
  let bus: SimulatedBus;

  const start = async (...disabled: Component[]): Promise<void> => {
    const schemas = await loadSchemaFacts();
    catalogue = new Catalogue(builtInResources(await loadResourceFacts(), schemas as never));
    bus = new SimulatedBus(new SimulatedBroker({ clock, random }), { clientId: 'server' });
    plane = new ControlPlane({
      engine: new MemoryEngine({ disk, clock }),
      bus,
      clock,
      random,
      logger: silentLogger,
      catalogue,
      schemas: new Schemas(schemas),
      bootstrapObjects: [
        ...(await loadBootstrapObjects()),
        ...(disabled.includes('local-storage') ? [] : [LOCAL_PATH_STORAGE_CLASS]),
        ...(disabled.includes('ingress') ? [] : [DEFAULT_INGRESS_CLASS]),
      ],
      clusterCidr: '10.42.0.0/16',
      serviceCidr: '10.43.0.0/16',
      clusterDns: '10.43.0.10',
      clusterDomain: 'cluster.local',
      ca: '',
      advertise: { address: '192.0.2.1', port: 6443 },
      disabled: new Set(disabled),
    });
    await drive(clock, plane.start());
    await clock.advance(2000);
  };
  const stop = (): Promise<void> => drive(clock, plane.stop(), 1000);
  const names = (): (string | undefined)[] =>
    plane.informers
      .of(STORAGE_CLASSES)
      .list()
      .map(({ metadata }) => metadata.name);
  const ingressClasses = (): (string | undefined)[] =>
    plane.informers
      .of(INGRESS_CLASSES)
      .list()
      .map(({ metadata }) => metadata.name);
  const addresses = (): unknown =>
    plane.informers.of(SERVICES).get('default', 'web')?.status?.loadBalancer?.ingress;
  const beat = (): void =>
    plane.boards.heartbeat('board', {
      cpu: 0.5,
      load: 1,
      memTotal: 2 ** 30,
      memAvailable: 2 ** 29,
      diskTotal: 0,
      diskAvailable: 0,
    });

  it('does without, and takes back what it had made', async () => {
    await start();
    await drive(
      clock,
      (async () => {
        await plane.client.create(NODES, undefined, { metadata: { name: 'board' } });
        const status = {
          addresses: [{ type: 'InternalIP', address: '192.0.2.9' }],
          conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }],
        };
        await plane.client.patch(NODES, undefined, 'board', { type: 'merge', body: { status } }, 'status');
        await plane.client.create(SERVICES, 'default', {
          metadata: { name: 'web' },
          spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
        } as Service);
        await plane.client.create(STORAGE_CLASSES, undefined, {
          metadata: { name: 'mine' },
          provisioner: 'copepod.io/local-path',
        });
      })(),
    );
    await clock.advance(2000);
    beat();
    expect(names().sort()).toEqual(['local-path', 'mine']);
    expect(ingressClasses()).toEqual(['copepod']);
    expect(addresses()).toEqual([{ ip: '192.0.2.9', ipMode: 'VIP' }]);
    expect(catalogue.find('metrics.k8s.io', 'v1beta1', 'nodes')).toBeDefined();
    await stop();

    await start('servicelb', 'local-storage', 'metrics', 'dashboard', 'ingress');
    beat();
    expect(names()).toEqual(['mine']);
    expect(ingressClasses()).toEqual([]);
    expect(addresses()).toBeUndefined();
    expect(catalogue.find('metrics.k8s.io', 'v1beta1', 'nodes')).toBeUndefined();
    await drive(
      clock,
      (async () => {
        await plane.client.create(DEPLOYMENTS, 'default', {
          metadata: { name: 'web' },
          spec: {
            replicas: 1,
            selector: { matchLabels: { app: 'web' } },
            template: {
              metadata: { labels: { app: 'web' } },
              spec: { containers: [{ name: 'main', image: 'web' }] },
            },
          },
        });
        await plane.client.create(HORIZONTAL_POD_AUTOSCALERS, 'default', {
          metadata: { name: 'web' },
          spec: {
            maxReplicas: 2,
            scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
          },
        } as HorizontalPodAutoscaler);
      })(),
    );
    await clock.advance(20_000);
    const { conditions = [] } =
      plane.informers.of(HORIZONTAL_POD_AUTOSCALERS).get('default', 'web')?.status ?? {};
    expect(conditions.find(({ type }) => type === 'ScalingActive')?.message).toBe(
      'the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)',
    );
    await stop();
  });

  it('leaves a class of the same name to whom it belongs', () => {
    const own = {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'local-path' },
      provisioner: 'copepod.io/local-path',
    };
    const by = (manager: string, operation: 'Apply' | 'Update') => ({
      ...own,
      metadata: { ...own.metadata, managedFields: [{ manager, operation }] },
    });
    expect(isOurOwn(by('copepod', 'Update'))).toBe(true);
    expect(isOurOwn(by('kubectl-client-side-apply', 'Update'))).toBe(false);
    expect(isOurOwn({ ...by('copepod', 'Update'), provisioner: 'rancher.io/local-path' })).toBe(false);
  });
});

describe('the API without a dashboard', () => {
  let api: ApiFixture;
  beforeEach(async () => {
    api = await ApiFixture.start();
  });
  afterEach(() => api.stop());

  it('has no page, and lists its paths to those it knows', async () => {
    const nobody = api.client({ token: '' });
    for (const path of ['/', '/index.html', '/app.js']) expect((await nobody.get(path)).status).toBe(404);
    expect((await api.client().get('/')).body.paths).toContain('/api/v1');
  });
});
