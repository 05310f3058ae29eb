import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../src/api/catalogue.ts';
import { NODES, PODS } from '../../src/api/kinds.ts';
import { BoardState } from '../../src/server/bus/board-state.ts';
import { computedMetrics, serveMetrics } from '../../src/server/metrics.ts';
import { type ComputedResource, computedList, computedObject } from '../../src/server/registry/computed.ts';
import { ControlPlane } from '../support/control-plane.ts';

describe('metrics.k8s.io', () => {
  let plane: ControlPlane;
  let boards: BoardState;
  let resources: ReadonlyMap<string, ComputedResource>;

  beforeEach(async () => {
    plane = await ControlPlane.open('fake');
    boards = new BoardState({ clock: plane.clock });
    const { informers } = plane.context;
    for (const type of [NODES, PODS]) informers.of(type as typeof NODES);
    resources = computedMetrics({
      informers: () => informers,
      readings: () => boards.readings,
      usage: () => ({
        of: (node, uid) =>
          node === 'board' && uid !== ''
            ? {
                at: plane.clock.now(),
                windowMs: 15_000,
                containers: [{ name: 'main', cpu: 0.25, memory: 2 ** 20 }],
              }
            : undefined,
      }),
      clock: plane.clock,
    });
    await plane.start();
  });
  afterEach(() => plane.stop());

  const resource = (name: string): ComputedResource => {
    const found = resources.get(`${name}.metrics.k8s.io`);
    if (!found) throw new Error(name);
    return found;
  };
  const beat = (node: string): void =>
    boards.heartbeat(node, {
      cpu: 0.5,
      load: 1,
      memTotal: 2 ** 30,
      memAvailable: 2 ** 29,
      diskTotal: 0,
      diskAvailable: 0,
    });

  it('tells what boards measure', async () => {
    await plane.node('board', { labels: { zone: 'x' } });
    await plane.node('silent');
    beat('board');
    expect(resource('nodes').list(undefined)).toMatchObject([
      {
        kind: 'NodeMetrics',
        apiVersion: 'metrics.k8s.io/v1beta1',
        metadata: { name: 'board', labels: { zone: 'x' } },
        window: '1m0s',
        // Half of four cores, half of the memory.
        usage: { cpu: '2000000000n', memory: '524288Ki' },
      },
    ]);
    const info = { group: 'metrics.k8s.io', resource: 'nodes' } as never;
    expect(() => computedObject(resource('nodes'), { info, name: 'silent' })).toThrow(
      'nodes.metrics.k8s.io "silent" not found',
    );
    const names = (options: object): unknown[] =>
      computedList(resource('nodes'), { info }, options).map(({ metadata }) => metadata.name);
    expect(names({ labelSelector: 'zone=x' })).toEqual(['board']);
    expect(names({ labelSelector: 'zone!=x' })).toEqual([]);
    expect(names({ fieldSelector: 'metadata.name=board' })).toEqual(['board']);
    expect(() => names({ fieldSelector: 'spec.x=1' })).toThrow('field label not supported: spec.x');
  });

  it('tells what running pods use, by container', async () => {
    await plane.node('board');
    await plane.client.create(PODS, 'default', {
      metadata: { name: 'web' },
      spec: { nodeName: 'board', containers: [{ name: 'main', image: 'web' }] },
    });
    await plane.settle();
    expect(resource('pods').list('default')).toMatchObject([
      {
        kind: 'PodMetrics',
        metadata: { name: 'web', namespace: 'default' },
        window: '15.000s',
        containers: [{ name: 'main', usage: { cpu: '250000000n', memory: '1024Ki' } }],
      },
    ]);
    expect(resource('pods').list('other')).toEqual([]);
  });

  it('is served from the first measurement on', () => {
    const catalogue = new Catalogue([]);
    serveMetrics(catalogue, boards.readings);
    expect(catalogue.groupVersions()).toEqual([]);
    beat('board');
    beat('board');
    expect(catalogue.groupVersions()).toEqual([{ group: 'metrics.k8s.io', version: 'v1beta1' }]);
    expect(catalogue.find('metrics.k8s.io', 'v1beta1', 'pods')?.verbs).toEqual(['get', 'list']);
  });
});
