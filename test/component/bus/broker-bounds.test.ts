import type { Duplex } from 'node:stream';
import mqttPacket from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/lib/logger.ts';
import { EmbeddedBroker } from '../../../src/wire/embedded-broker.ts';
import { LocalBus } from '../../../src/wire/local-bus.ts';
import { topics } from '../../../src/wire/topics.ts';
import { duplexPair } from '../../support/duplex-pair.ts';
import { waitFor } from '../../support/wait.ts';

const until = (condition: () => unknown): Promise<unknown> =>
  waitFor(String(condition), condition, { timeoutMs: 5_000, intervalMs: 2 });

let broker: EmbeddedBroker;
let local: LocalBus;

beforeEach(async () => {
  broker = new EmbeddedBroker({
    logger: silentLogger,
    maxPacketBytes: 10_000,
    maxQueuedBytes: 200_000,
    maxConnections: 3,
  });
  await broker.start();
  local = new LocalBus({ broker, logger: silentLogger });
  await local.start();
});
afterEach(async () => {
  await local.stop();
  await broker.stop();
});

/** A client that speaks raw packets: what no honest agent does. */
class Raw {
  readonly stream: Duplex;
  readonly heard: string[] = [];
  closed = false;
  accepted = false;

  constructor(identity: string) {
    const [near, far] = duplexPair();
    this.stream = near;
    near.on('error', () => {});
    near.on('close', () => {
      this.closed = true;
    });
    broker.handle(far, { node: identity });
  }

  listen(): this {
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on('packet', (packet) => {
      this.heard.push(packet.cmd);
      if (packet.cmd === 'connack' && packet.returnCode === 0) this.accepted = true;
    });
    this.stream.on('data', (chunk: Buffer) => parser.parse(chunk));
    return this;
  }

  send(packet: Record<string, unknown>): this {
    this.stream.write(mqttPacket.generate(packet as unknown as Parameters<typeof mqttPacket.generate>[0]));
    return this;
  }

  connect(over: Record<string, unknown> = {}): this {
    return this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'a',
      keepalive: 10,
      ...over,
    });
  }
}

describe('the embedded broker against a hostile node', () => {
  it.each([
    ['takes another’s client id', { clientId: 'b' }],
    ['wants a session that lasts', { clean: false }],
    ['wants no keepalive', { keepalive: 0 }],
  ])('turns away one that %s', async (_what, over) => {
    const raw = new Raw('a').listen().connect(over);
    await until(() => raw.closed);
    expect(raw.accepted).toBe(false);
  });

  it('breaks with one that announces a packet beyond the bound', async () => {
    const raw = new Raw('a').listen().connect();
    await until(() => raw.heard.includes('connack'));
    raw.send({ cmd: 'publish', topic: topics.heartbeat('a'), payload: 'x'.repeat(9_000), qos: 0 });
    raw.send({ cmd: 'pingreq' });
    await until(() => raw.heard.includes('pingresp'));
    raw.send({ cmd: 'publish', topic: topics.heartbeat('a'), payload: 'x'.repeat(10_001), qos: 0 });
    await until(() => raw.closed);
  });

  it('breaks with one that uses QoS 2, and with one that publishes a will where it may not', async () => {
    const raw = new Raw('a').listen().connect();
    await until(() => raw.heard.includes('connack'));
    raw.send({ cmd: 'publish', topic: topics.heartbeat('a'), payload: 'x', qos: 2, messageId: 1 });
    await until(() => raw.closed);
    const wills: string[] = [];
    local.subscribe(topics.alive('b'), (_topic, payload) => wills.push(payload));
    const liar = new Raw('a')
      .listen()
      .connect({ will: { topic: topics.alive('b'), payload: Buffer.from('dead'), qos: 1, retain: true } });
    await until(() => liar.heard.includes('connack'));
    liar.stream.destroy();
    await until(() => liar.closed);
    const next = new Raw('a').listen().connect();
    await until(() => next.heard.includes('connack'));
    expect(wills).toEqual([]);
    expect(broker.retained.get(topics.alive('b'))).toBeUndefined();
  });

  it('breaks with one that does not read, and keeps serving the others', async () => {
    const deaf = new Raw('a').connect();
    deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'copepod/v1/shared/#', qos: 1 }] });
    const good = new Raw('b').listen().connect({ clientId: 'b' });
    good.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'copepod/v1/shared/#', qos: 1 }] });
    await until(() => good.heard.includes('suback'));
    const most = 200;
    for (let index = 0; index < most; index += 1) {
      await local.publish(topics.sharedService('d', String(index)), 'x'.repeat(5_000), {
        qos: 1,
        retain: true,
      });
      // This one keeps up.
      await until(() => good.heard.filter((cmd) => cmd === 'publish').length === index + 1);
    }
    await until(() => deaf.closed);
    expect(good.closed).toBe(false);
  });

  it('takes no more connections than it should', async () => {
    const all = ['a', 'b', 'c', 'd'].map((name) => new Raw(name).listen().connect({ clientId: name }));
    await until(() => all[3]?.closed && all.filter(({ heard }) => heard.includes('connack')).length === 3);
  });

  it('does not fall over random bytes', async () => {
    for (let round = 0; round < 20; round += 1) {
      const raw = new Raw('a').listen();
      if (round % 2) raw.connect();
      raw.stream.write(
        Buffer.from(Array.from({ length: 50 }, (_, index) => (index * 31 + round * 17) % 256)),
      );
      raw.stream.end();
      await until(() => raw.closed);
    }
    const raw = new Raw('a').listen().connect();
    await until(() => raw.heard.includes('connack'));
  });
});
