import { afterEach, describe, expect, it } from 'vitest';
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from '../../../src/api/kinds.ts';
import { endpointsController } from '../../../src/server/controllers/endpoints/controller.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

const ZONE = 'topology.kubernetes.io/zone';

describe.each(APIS)('hints of endpoints on the %s API', (api) => {
  let plane: ControlPlane;
  afterEach(() => plane.stop());

  const hints = (): Record<string, unknown> =>
    Object.fromEntries(
      plane.client
        .all(ENDPOINT_SLICES)
        .flatMap(({ endpoints }) => endpoints ?? [])
        .map((endpoint) => [endpoint.targetRef?.name, endpoint.hints]),
    );
  const distribute = async (trafficDistribution: string | null): Promise<void> => {
    await plane.client.patch(SERVICES, 'default', 'web', {
      type: 'merge',
      body: { spec: { trafficDistribution } },
    });
    await plane.settle();
  };

  it('follow trafficDistribution, the zones of nodes and readiness', async () => {
    plane = await ControlPlane.open(api);
    plane.kubelet.ready = ({ metadata }) => metadata.name !== 'unready';
    await plane.start(endpointsController);
    await plane.node('zoned', { labels: { [ZONE]: 'cellar' } });
    await plane.node('plain');
    await plane.client.create(SERVICES, 'default', {
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80 }], trafficDistribution: 'PreferSameZone' },
    });
    for (const [name, nodeName] of [
      ['a', 'zoned'],
      ['b', 'plain'],
      ['unready', 'zoned'],
    ] as const) {
      await plane.client.create(PODS, 'default', {
        metadata: { name, labels: { app: 'web' } },
        spec: { nodeName, containers: [{ name: 'c', image: 'i' }] },
      });
    }
    await plane.settle();
    expect(hints()).toEqual({ a: { forZones: [{ name: 'cellar' }] }, b: undefined, unready: undefined });

    await distribute('PreferSameNode');
    expect(hints()).toEqual({
      a: { forZones: [{ name: 'cellar' }], forNodes: [{ name: 'zoned' }] },
      b: { forNodes: [{ name: 'plain' }] },
      unready: undefined,
    });

    await plane.client.patch(NODES, undefined, 'plain', {
      type: 'merge',
      body: { metadata: { labels: { [ZONE]: 'attic' } } },
    });
    await plane.settle();
    expect(hints().b).toEqual({ forZones: [{ name: 'attic' }], forNodes: [{ name: 'plain' }] });

    await distribute('PreferClose');
    expect(hints().b).toEqual({ forZones: [{ name: 'attic' }] });
    await distribute(null);
    expect(hints()).toEqual({ a: undefined, b: undefined, unready: undefined });
  });
});
