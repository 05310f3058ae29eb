import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock, Timer } from '../../../lib/clock.ts';
import { listening } from '../../../lib/listening.ts';
import { type Balancer, keyOf } from './balancer.ts';
import { type Front, mayConnect } from './plan.ts';
import type { Places } from './tcp-front.ts';

/** As long as the kernel remembers a UDP stream. */
const IDLE_MS = 120_000;
/** Datagrams of a client that wait for its socket to be ready. */
const MOST_WAITING = 16;

interface Flow {
  socket: Socket;
  target: string;
  timer: Timer;
  /** Until the socket is connected. */
  waiting: Buffer[] | undefined;
}

/** Takes datagrams at one address; each client has a socket of its own towards its endpoint, by which answers come back. */
export class UdpFront {
  private readonly clock: Clock;
  private readonly balancer: Balancer;
  private readonly places: Places;
  private front: Front;
  private socket: Socket | undefined;
  private readonly flows = new Map<string, Flow>();

  constructor(options: { clock: Clock; balancer: Balancer; places: Places; front: Front }) {
    this.clock = options.clock;
    this.balancer = options.balancer;
    this.places = options.places;
    this.front = options.front;
  }

  /** Throws the system's error (EADDRINUSE, EADDRNOTAVAIL). */
  async open(): Promise<void> {
    const socket = createSocket('udp4');
    const { port, address } = this.front;
    await listening(
      socket,
      (done) => socket.bind(port, address, done),
      () => {},
    );
    socket.on('message', (message, from) => this.forward(message, from));
    this.socket = socket;
  }

  /** Clients of an endpoint that is gone get another with their next datagram. */
  update(front: Front): void {
    this.front = front;
    this.balancer.update(front);
    const targets = new Set(front.targets.map(keyOf));
    for (const [client, flow] of this.flows) if (!targets.has(flow.target)) this.drop(client);
  }

  async close(): Promise<void> {
    for (const client of [...this.flows.keys()]) this.drop(client);
    this.socket?.close();
    this.socket = undefined;
  }

  end(): Promise<void> {
    return this.close();
  }

  private forward(message: Buffer, from: RemoteInfo): void {
    const client = `${from.address}:${from.port}`;
    const flow = this.flows.get(client) ?? this.begin(client, from);
    if (!flow) return;
    flow.timer.cancel();
    flow.timer = this.clock.after(IDLE_MS, () => this.drop(client));
    if (!flow.waiting) flow.socket.send(message, () => {});
    else if (flow.waiting.length < MOST_WAITING) flow.waiting.push(message);
  }

  private begin(client: string, from: RemoteInfo): Flow | undefined {
    if (!mayConnect(this.front, from.address)) return undefined;
    const [target] = this.balancer.order(from.address);
    if (!target || !this.places.take()) return undefined;
    this.balancer.chosen(from.address, target);
    const socket = createSocket('udp4');
    const flow: Flow = {
      socket,
      target: keyOf(target),
      timer: this.clock.after(IDLE_MS, () => this.drop(client)),
      waiting: [],
    };
    this.flows.set(client, flow);
    // The endpoint refuses (ICMP): the next datagram tries again.
    socket.on('error', () => this.drop(client));
    socket.on('message', (answer) => this.socket?.send(answer, from.port, from.address, () => {}));
    // Where there is no route it is called back with the error, which its type does not say, and is not connected.
    socket.connect(target.port, target.ip, (error?: Error) => {
      if (error) {
        this.drop(client);
        return;
      }
      const { waiting } = flow;
      flow.waiting = undefined;
      for (const message of waiting ?? []) socket.send(message, () => {});
    });
    return flow;
  }

  private drop(client: string): void {
    const flow = this.flows.get(client);
    if (!flow) return;
    this.flows.delete(client);
    flow.timer.cancel();
    this.places.give();
    try {
      flow.socket.close();
    } catch {
      // Closed by its own error.
    }
  }
}
