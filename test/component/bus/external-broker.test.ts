import { beforeEach, describe, expect, it } from 'vitest';
import { NAMESPACES, NODES, PODS, SERVICES } from '../../../src/api/kinds.ts';
import { EventWriter } from '../../../src/client/events.ts';
import { InformerSet } from '../../../src/client/informer.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { BoardState } from '../../../src/server/bus/board-state.ts';
import { DesiredPublisher } from '../../../src/server/bus/desired-publisher.ts';
import { Ingest } from '../../../src/server/bus/ingest.ts';
import { ServicesPublisher } from '../../../src/server/bus/services-publisher.ts';
import { topics } from '../../../src/wire/topics.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SimulatedBroker } from '../../support/simulated-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const logger = silentLogger;
let clock: VirtualClock;
let client: FakeClient;
let broker: SimulatedBroker;

/** A server process at a broker that outlives it. Returns what ends it. */
async function server(): Promise<{ stop(): Promise<void>; boards: BoardState }> {
  const bus = broker.bus({ clientId: 'server' });
  const informers = new InformerSet({ client, logger });
  const boards = new BoardState({ clock });
  const events = new EventWriter({ client, clock, logger });
  const common = { bus, informers, clock, logger, externalBroker: true };
  const cluster = { serviceCidr: 's', clusterCidr: 'c', clusterDns: 'd', clusterDomain: 'e' };
  const services = [
    new Ingest({ ...common, client, events, boards }),
    new DesiredPublisher(common),
    new ServicesPublisher({ ...common, cluster }),
  ];
  await informers.start();
  for (const service of services) await service.start();
  await bus.start();
  await clock.advance(1_000);
  return {
    boards,
    async stop() {
      await bus.stop();
      for (const service of services) await service.stop();
      await informers.stop();
    },
  };
}

beforeEach(async () => {
  clock = new VirtualClock();
  const random = new SeededRandom(11);
  client = new FakeClient({ clock, random });
  broker = new SimulatedBroker({ clock, random });
  await client.create(NAMESPACES, undefined, { metadata: { name: 'd' } });
  await client.create(NODES, undefined, { metadata: { name: 'pi' } });
});

describe('a broker that outlives the server', () => {
  it('loses what was deleted while no server ran, and keeps what is still wanted', async () => {
    const pod = (name: string) =>
      client.create(PODS, 'd', {
        metadata: { name, namespace: 'd' },
        spec: { nodeName: 'pi', containers: [] },
      });
    const kept = await pod('kept');
    const gone = await pod('gone');
    await client.create(NODES, undefined, { metadata: { name: 'sold' } });
    await client.create(SERVICES, 'd', {
      metadata: { name: 'web', namespace: 'd' },
      spec: { clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9'], ports: [{ port: 80 }] },
    });
    const first = await server();
    expect(broker.retainedTopics()).toContain(topics.desiredPod('pi', gone.metadata.uid ?? ''));
    expect(broker.retainedTopics()).toContain(topics.desiredDigest('sold'));
    await first.stop();
    await client.delete(PODS, 'd', 'gone', { gracePeriodSeconds: 0 });
    await client.delete(SERVICES, 'd', 'web');
    await client.delete(NODES, undefined, 'sold');
    const second = await server();
    expect(broker.retainedTopics().sort()).toEqual(
      [
        topics.cluster(),
        topics.desiredDigest('pi'),
        topics.desiredPod('pi', kept.metadata.uid ?? ''),
        topics.sharedDigest(),
      ].sort(),
    );
    await second.stop();
  });

  it('publishes all again when the broker forgot everything', async () => {
    const running = await server();
    const before = broker.retainedTopics().sort();
    expect(before.length).toBeGreaterThan(0);
    broker.crash();
    broker.restart();
    await clock.advance(60_000);
    expect(broker.retainedTopics().sort()).toEqual(before);
    await running.stop();
  });

  it('makes no Node of what a board said before it went for good', async () => {
    const board = broker.bus({ clientId: 'old', node: 'old' });
    await board.start();
    await clock.advance(1);
    const registration = {
      v: 1,
      labels: {},
      taints: [],
      addresses: [],
      capacity: {},
      allocatable: {},
      nodeInfo: Object.fromEntries(
        [
          'architecture',
          'bootID',
          'containerRuntimeVersion',
          'kernelVersion',
          'kubeProxyVersion',
          'kubeletVersion',
          'machineID',
          'operatingSystem',
          'osImage',
          'systemUUID',
        ].map((field) => [field, 'x']),
      ),
    };
    void board.publish(topics.register('old'), JSON.stringify(registration), { qos: 1, retain: true });
    void board.publish(topics.alive('old'), JSON.stringify({ v: 1, alive: false, boot: 'b' }), {
      qos: 1,
      retain: true,
    });
    await clock.advance(1);
    await board.stop();
    const running = await server();
    expect(client.peek(NODES, undefined, 'old')).toBeUndefined();
    expect(running.boards.liveness.of('old')).toMatchObject({ connected: false });
    await board.start();
    await clock.advance(1);
    void board.publish(topics.alive('old'), JSON.stringify({ v: 1, alive: true, boot: 'b2' }), {
      qos: 1,
      retain: true,
    });
    await clock.advance(1);
    expect(client.peek(NODES, undefined, 'old')).toBeDefined();
    await board.stop();
    await running.stop();
  });
});
