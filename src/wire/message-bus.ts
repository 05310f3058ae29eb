/**
 * MQTT as the rest of the program sees it: a client of a broker, on either side. Implementations: mqtt.js over TLS or
 * WebSocket (agent, external broker), aedes in process (server), and the simulation's broker. One contract test.
 *
 * Obligations (MQTT 3.1.1):
 * - QoS 1: delivered at least once while connected; a handler must bear repetition.
 * - A retained message reaches a new subscriber; an empty retained payload deletes it [MQTT-3.3.1-10].
 * - Publishing while disconnected rejects at once with BusDisconnected: nothing is queued in silence. Whoever owns the
 *   state publishes it again on connect.
 */
export interface MessageBus {
  /** Connects, and reconnects with back-off until stopped. Resolves at once; watch onConnect. */
  start(): Promise<void>;
  /** Publishes what is under way, sends DISCONNECT (no last will) and ends. */
  stop(): Promise<void>;
  readonly connected: boolean;
  /** Called on every (re)connection, after the subscriptions were renewed. */
  onConnect(listener: () => void): void;
  onDisconnect(listener: () => void): void;
  /** Resolves when the broker has taken the message (QoS 1: PUBACK). */
  publish(topic: string, payload: string, options?: { qos?: 0 | 1; retain?: boolean }): Promise<void>;
  /** May be called before the connection stands; renewed on reconnect. `filter` may hold + and #. */
  subscribe(filter: string, handler: (topic: string, payload: string, retained: boolean) => void): void;
}

export class BusDisconnected extends Error {
  constructor() {
    super('not connected to the MQTT broker');
    this.name = 'BusDisconnected';
  }
}

/** The will that the broker publishes when the connection breaks without DISCONNECT. */
export interface LastWill {
  topic: string;
  payload: string;
  retain: boolean;
}
