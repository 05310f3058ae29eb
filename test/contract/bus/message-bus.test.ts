import { afterEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import { EmbeddedBroker } from '../../../src/wire/embedded-broker.ts';
import { LocalBus } from '../../../src/wire/local-bus.ts';
import { BusDisconnected, type LastWill, type MessageBus } from '../../../src/wire/message-bus.ts';
import { MqttClientBus } from '../../../src/wire/mqtt-client.ts';
import { topics } from '../../../src/wire/topics.ts';
import { duplexPair } from '../../support/duplex-pair.ts';
import { SimulatedBroker, type SimulatedBus } from '../../support/simulated-broker.ts';
import { waitFor } from '../../support/wait.ts';

/** One broker with the server's bus and node buses, made of real or simulated parts. */
interface World {
  server: MessageBus;
  node(name: string, will?: LastWill): MessageBus;
  /** Breaks the node's connection without DISCONNECT. */
  cut(name: string): void;
  /** Whether the node's side may reconnect by itself. */
  stop(): Promise<void>;
}

const clock = new SystemClock();
const random = new SystemRandom();

async function realWorld(): Promise<World> {
  const broker = new EmbeddedBroker({ logger: silentLogger });
  await broker.start();
  const server = new LocalBus({ broker, logger: silentLogger });
  const streams = new Map<string, { destroy(): void }>();
  const buses: MessageBus[] = [];
  return {
    server,
    node(name, will) {
      const bus = new MqttClientBus({
        clock,
        random,
        logger: silentLogger,
        clientId: name,
        dial: () => {
          const [near, far] = duplexPair();
          streams.set(name, far);
          broker.handle(far, { node: name });
          return near;
        },
        backOff: { baseMs: 5, maxMs: 20 },
        ...(will ? { will } : {}),
      });
      buses.push(bus);
      return bus;
    },
    cut: (name) => streams.get(name)?.destroy(),
    async stop() {
      for (const bus of buses) await bus.stop();
      await server.stop();
      await broker.stop();
    },
  };
}

async function simulatedWorld(): Promise<World> {
  const broker = new SimulatedBroker({ clock, random });
  const buses: SimulatedBus[] = [];
  const make = (options: Parameters<SimulatedBroker['bus']>[0]): SimulatedBus => {
    const bus = broker.bus(options);
    buses.push(bus);
    return bus;
  };
  return {
    server: make({ clientId: 'server' }),
    node: (name, will) => make({ clientId: name, node: name, ...(will ? { will } : {}) }),
    cut: (name) => broker.cut(name),
    async stop() {
      for (const bus of buses) await bus.stop();
    },
  };
}

const until = (condition: () => boolean): Promise<unknown> =>
  waitFor(String(condition), condition, { timeoutMs: 5000, intervalMs: 2 });

async function connected(bus: MessageBus): Promise<MessageBus> {
  await bus.start();
  await until(() => bus.connected);
  return bus;
}

/** Everything that `bus` hears on `filter`, in order. */
function record(bus: MessageBus, filter: string): string[] {
  const heard: string[] = [];
  bus.subscribe(filter, (topic, payload, retained) => {
    heard.push(`${topic.split('/').slice(4).join('/')}=${payload}${retained ? ' (retained)' : ''}`);
  });
  return heard;
}

describe.each([
  ['mqtt.js and LocalBus at aedes', realWorld],
  ['simulated broker', simulatedWorld],
])('message bus: %s', (_name, makeWorld) => {
  let world: World | undefined;
  afterEach(async () => {
    await world?.stop();
    world = undefined;
  });
  const begin = async (): Promise<World> => {
    world = await makeWorld();
    await connected(world.server);
    return world;
  };

  it('delivers both ways, in order', async () => {
    const { server, node } = await begin();
    const a = await connected(node('a'));
    const down = record(a, 'copepod/v1/nodes/a/#');
    const up = record(server, 'copepod/v1/nodes/+/pods/+/status');
    await a.publish(topics.heartbeat('a'), 'ready');
    await until(() => down.length === 1);
    down.length = 0;
    for (let index = 0; index < 50; index += 1)
      void server.publish(topics.acks('a'), String(index), { qos: 1 });
    for (let index = 0; index < 50; index += 1)
      void a.publish(topics.podStatus('a', 'u'), String(index), { qos: 1 });
    await until(() => down.filter((line) => line.startsWith('acks')).length === 50 && up.length === 50);
    expect(down.filter((line) => line.startsWith('acks'))).toEqual(
      Array.from({ length: 50 }, (_, index) => `acks=${index}`),
    );
    expect(up).toEqual(Array.from({ length: 50 }, (_, index) => `pods/u/status=${index}`));
  });

  it('gives a new subscriber what is retained, and not what was deleted', async () => {
    const { server, node } = await begin();
    await server.publish(topics.desiredPod('a', '1'), 'one', { qos: 1, retain: true });
    await server.publish(topics.desiredPod('a', '2'), 'two', { qos: 1, retain: true });
    await server.publish(topics.desiredPod('a', '1'), '', { qos: 1, retain: true });
    await server.publish(topics.desiredDigest('a'), 'not retained', { qos: 1 });
    const a = node('a');
    const heard = record(a, 'copepod/v1/nodes/a/desired/#');
    await connected(a);
    await until(() => heard.length > 0);
    expect(heard).toEqual(['desired/pods/2=two (retained)']);
    await server.publish(topics.desiredPod('a', '2'), '', { qos: 1, retain: true });
    await until(() => heard.length === 2);
    expect(heard[1]).toBe('desired/pods/2=');
    const server2 = record(server, 'copepod/v1/nodes/a/desired/#');
    await server.publish(topics.desiredPod('a', '3'), 'three', { qos: 1, retain: true });
    await until(() => server2.length > 0);
    expect(server2.at(-1)).toContain('desired/pods/3=three');
  });

  it('never delivers a retained state after its successor', async () => {
    const { server, node } = await begin();
    const many = 200;
    for (let index = 0; index < many; index += 1) {
      await server.publish(topics.desiredPod('a', String(index)), 'old', { qos: 1, retain: true });
    }
    const a = node('a');
    const last = new Map<string, string>();
    a.subscribe('copepod/v1/nodes/a/desired/#', (topic, payload) => last.set(topic, payload));
    void a.start();
    await until(() => last.size > 0);
    for (let index = many - 1; index >= 0; index -= 1) {
      void server.publish(topics.desiredPod('a', String(index)), index % 2 ? 'new' : '', {
        qos: 1,
        retain: true,
      });
    }
    // Another quality and not retained: it must not overtake, nor cost, the messages before it.
    await server.publish(topics.desiredDigest('a'), 'end');
    await until(() => last.has(topics.desiredDigest('a')));
    await until(() => last.size === many + 1);
    for (let index = 0; index < many; index += 1) {
      expect(last.get(topics.desiredPod('a', String(index)))).toBe(index % 2 ? 'new' : '');
    }
  });

  it('renews subscriptions on reconnect before it reports the connection', async () => {
    const { server, node, cut } = await begin();
    const a = node('a');
    const heard = record(a, 'copepod/v1/nodes/a/acks');
    let connections = 0;
    let disconnections = 0;
    a.onConnect(() => {
      connections += 1;
      void a.publish(topics.alive('a'), String(connections), { qos: 1, retain: true });
    });
    a.onDisconnect(() => {
      disconnections += 1;
    });
    await connected(a);
    const alive = record(server, 'copepod/v1/nodes/+/alive');
    await until(() => alive.some((line) => line.startsWith('alive=1')));
    cut('a');
    await until(() => alive.some((line) => line.startsWith('alive=2')));
    expect({ connections, disconnections }).toEqual({ connections: 2, disconnections: 1 });
    await server.publish(topics.acks('a'), 'after', { qos: 1 });
    await until(() => heard.length === 1);
  });

  it('rejects a publish without connection at once, and what was under way when it breaks', async () => {
    const { node, cut } = await begin();
    const a = node('a');
    await expect(a.publish(topics.heartbeat('a'), 'x')).rejects.toBeInstanceOf(BusDisconnected);
    await connected(a);
    const lost = a.publish(topics.podStatus('a', 'u'), 'x', { qos: 1 });
    cut('a');
    await expect(lost).rejects.toBeInstanceOf(BusDisconnected);
  });

  it('publishes the will when the connection breaks, not after stop()', async () => {
    const { server, node, cut } = await begin();
    const alive = record(server, 'copepod/v1/nodes/+/alive');
    const will = (name: string): LastWill => ({
      topic: topics.alive(name),
      payload: `${name} died`,
      retain: true,
    });
    const a = await connected(node('a', will('a')));
    const b = await connected(node('b', will('b')));
    await b.publish(topics.alive('b'), 'b lives', { qos: 1, retain: true });
    cut('a');
    await until(() => alive.includes('alive=a died'));
    await b.publish(topics.alive('b'), 'b leaves', { qos: 1, retain: true });
    await b.stop();
    const late = record(server, topics.alive('b'));
    await until(() => late.length > 0);
    expect(late).toEqual(['alive=b leaves (retained)']);
    await a.stop();
  });

  it('keeps a node within its own topics', async () => {
    const { server, node } = await begin();
    await server.publish(topics.desiredPod('b', 'secret'), 'of b', { qos: 1, retain: true });
    const all = record(server, 'copepod/v1/nodes/#');
    const a = node('a');
    const stolen = record(a, 'copepod/v1/nodes/b/#');
    const everything = record(a, '#');
    const own = record(a, 'copepod/v1/nodes/a/#');
    await connected(a);
    let broke = false;
    a.onDisconnect(() => {
      broke = true;
    });
    await a.publish(topics.podStatus('b', 'u'), 'forged', { qos: 1 }).catch(() => {});
    await until(() => broke);
    await until(() => a.connected);
    await a.publish(topics.desiredPod('a', 'u'), 'forged', { qos: 1 }).catch(() => {});
    await until(() => a.connected);
    await server.publish(topics.acks('b'), 'for b', { qos: 1 });
    await server.publish(topics.acks('a'), 'for a', { qos: 1 });
    await until(() => own.includes('acks=for a'));
    expect(stolen).toEqual([]);
    expect(everything.filter((line) => !line.includes('for a'))).toEqual([]);
    expect(all.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('lets a second connection of the same node take over', async () => {
    const { server, node } = await begin();
    const first = node('a', { topic: topics.alive('a'), payload: 'first died', retain: true });
    await connected(first);
    const alive = record(server, 'copepod/v1/nodes/a/alive');
    const second = node('a');
    second.onConnect(() => void second.publish(topics.alive('a'), 'second', { qos: 1, retain: true }));
    let displaced = false;
    first.onDisconnect(() => {
      displaced = true;
      void first.stop();
    });
    await second.start();
    await until(() => displaced && alive.includes('alive=second'));
    expect(alive.indexOf('alive=first died')).toBeLessThan(alive.lastIndexOf('alive=second'));
    expect(alive).toContain('alive=first died');
  });

  it('survives a handler that throws', async () => {
    const { server, node } = await begin();
    const a = node('a');
    a.subscribe(topics.acks('a'), () => {
      throw new Error('a receiver’s mistake');
    });
    const heard = record(a, topics.acks('a'));
    await connected(a);
    await server.publish(topics.acks('a'), 'x', { qos: 1 });
    await until(() => heard.length === 1);
    expect(a.connected).toBe(true);
  });
});
