import { Readable } from 'node:stream';
import { topicMatches } from './topic-filter.ts';

interface StoredPacket {
  topic: string;
  payload: Buffer | string;
  [field: string]: unknown;
}
interface ClientLike {
  id: string;
}

/**
 * A promise's `then` that calls at once. aedes numbers a message when it is published, and drops for each client whatever
 * comes with a lower number than the last: were some publishes to wait for a promise and others not, the overtaken
 * ones would be lost. With this the way from publish to the subscribers has no wait in it at all.
 */
class Settled<T> {
  private readonly value: T;
  constructor(value: T) {
    this.value = value;
  }
  // biome-ignore lint/suspicious/noThenProperty: being a thenable is its purpose
  then(taken: (value: T) => void): void {
    taken(this.value);
  }
}

/**
 * What aedes has to remember, in memory. Sessions are clean and QoS is at most 1, so that is retained messages and last
 * wills; there are no offline queues, and QoS 2 is refused. The server publishes its state again after a restart.
 */
export class RetainedStore {
  private readonly packets = new Map<string, StoredPacket & { payload: Buffer }>();
  private readonly wills = new Map<string, StoredPacket>();
  private brokerId = '';

  /** The retained payload of a topic, now. */
  get(topic: string): Buffer | undefined {
    return this.packets.get(topic)?.payload;
  }

  topics(filter: string): string[] {
    const found: string[] = [];
    for (const topic of this.packets.keys()) if (topicMatches(filter, topic)) found.push(topic);
    return found;
  }

  clear(): void {
    this.packets.clear();
    this.wills.clear();
  }

  // From here on: the interface of aedes-persistence, as far as aedes calls it for clean sessions.

  async setup(broker: { id: string }): Promise<void> {
    this.brokerId = broker.id;
  }

  storeRetained(packet: StoredPacket): Settled<void> {
    if (packet.payload.length === 0) this.packets.delete(packet.topic);
    else {
      this.packets.set(packet.topic, {
        cmd: 'publish',
        topic: packet.topic,
        qos: packet.qos,
        retain: true,
        payload: ownBytes(packet.payload),
      });
    }
    return new Settled(undefined);
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    const packets = this.packets;
    // Each topic once, although several filters of one SUBSCRIBE may match it.
    const topics = new Set(filters.flatMap((filter) => this.topics(filter)));
    return Readable.from(
      (function* () {
        for (const topic of topics) {
          const packet = packets.get(topic);
          if (packet) yield { ...packet };
        }
      })(),
    );
  }

  subscriptionsByTopic(): Settled<never[]> {
    return new Settled([]);
  }
  async subscriptionsByClient(): Promise<never[]> {
    return [];
  }
  async addSubscriptions(): Promise<void> {}
  async removeSubscriptions(): Promise<void> {}
  async cleanSubscriptions(): Promise<void> {}

  outgoingStream(): Readable {
    return Readable.from([]);
  }
  async outgoingEnqueue(): Promise<void> {}
  outgoingEnqueueCombi(): Settled<void> {
    return new Settled(undefined);
  }
  async outgoingUpdate(): Promise<void> {}
  async outgoingClearMessageId(): Promise<undefined> {
    return undefined;
  }

  async incomingGetPacket(): Promise<never> {
    throw new Error('QoS 2 is not served');
  }
  async incomingStorePacket(): Promise<never> {
    throw new Error('QoS 2 is not served');
  }
  async incomingDelPacket(): Promise<never> {
    throw new Error('QoS 2 is not served');
  }
  async cleanIncoming(): Promise<void> {}

  async putWill(client: ClientLike, packet: StoredPacket): Promise<void> {
    packet.brokerId = this.brokerId;
    packet.clientId = client.id;
    this.wills.set(client.id, packet);
  }
  async delWill(client: ClientLike): Promise<StoredPacket | undefined> {
    const will = this.wills.get(client.id);
    this.wills.delete(client.id);
    return will;
  }
  /** Wills of brokers that died; ours is the only one. */
  streamWill(): Readable {
    return Readable.from([]);
  }
}

/**
 * A Buffer from the network, and one that Buffer.from makes of something short, is a window on a slab of up to 64 kB,
 * which lives as long as any of its windows: what is kept for long gets bytes of its own.
 */
function ownBytes(payload: Buffer | string): Buffer {
  if (typeof payload !== 'string' && payload.byteLength === payload.buffer.byteLength) return payload;
  const own = Buffer.allocUnsafeSlow(Buffer.byteLength(payload));
  if (typeof payload === 'string') own.write(payload);
  else payload.copy(own);
  return own;
}
