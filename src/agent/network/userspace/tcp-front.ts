import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../../lib/clock.ts';
import { listening } from '../../../lib/listening.ts';
import type { Balancer } from './balancer.ts';
import { type Front, mayConnect, type Target } from './plan.ts';

/** An endpoint that does not answer for so long is passed over. */
const CONNECT_MS = 5_000;
const MOST_TRIES = 3;
/** A peer that vanished without a word is noticed by the kernel. */
const KEEP_ALIVE_MS = 120_000;

/** The connections of all fronts together, for every one is two sockets and their buffers. */
export class Places {
  private free: number;

  constructor(count: number) {
    this.free = count;
  }

  take(): boolean {
    if (this.free === 0) return false;
    this.free -= 1;
    return true;
  }

  give(): void {
    this.free += 1;
  }
}

/** Accepts connections at one address and joins each with an endpoint. */
export class TcpFront {
  private readonly clock: Clock;
  private readonly balancer: Balancer;
  private readonly places: Places;
  private front: Front;
  private server: Server | undefined;
  private readonly clients = new Set<Socket>();

  constructor(options: { clock: Clock; balancer: Balancer; places: Places; front: Front }) {
    this.clock = options.clock;
    this.balancer = options.balancer;
    this.places = options.places;
    this.front = options.front;
  }

  /** Throws the system's error (EADDRINUSE, EADDRNOTAVAIL). */
  async open(): Promise<void> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      this.serve(client).catch(() => client.destroy());
    });
    const { port, address } = this.front;
    await listening(
      server,
      (done) => server.listen(port, address, done),
      () => {},
    );
    this.server = server;
  }

  update(front: Front): void {
    this.front = front;
    this.balancer.update(front);
  }

  /** No new connections; those that stand go on, as those through nftables would. */
  close(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (!server) return Promise.resolve();
    // It calls back when the last connection has ended; the port is free at once.
    server.close();
    server.unref();
    return Promise.resolve();
  }

  /** The process ends. */
  async end(): Promise<void> {
    await this.close();
    for (const client of this.clients) client.destroy();
  }

  private async serve(client: Socket): Promise<void> {
    client.on('error', () => client.destroy());
    const from = (client.remoteAddress ?? '').replace(/^::ffff:/, '');
    if (!mayConnect(this.front, from) || !this.places.take()) {
      client.resetAndDestroy();
      return;
    }
    this.clients.add(client);
    client.once('close', () => {
      this.clients.delete(client);
      this.places.give();
    });
    for (const target of this.balancer.order(from).slice(0, MOST_TRIES)) {
      if (client.destroyed) return;
      const upstream = await this.reach(target);
      if (!upstream) continue;
      this.balancer.chosen(from, target);
      join(client, upstream);
      return;
    }
    client.resetAndDestroy();
  }

  private reach({ ip, port }: Target): Promise<Socket | undefined> {
    return new Promise((resolve) => {
      const upstream = connect({ host: ip, port, allowHalfOpen: true });
      const timer = this.clock.after(CONNECT_MS, () => give(undefined));
      const give = (socket: Socket | undefined): void => {
        timer.cancel();
        upstream.off('error', failed);
        if (!socket) {
          upstream.on('error', () => {});
          upstream.destroy();
        }
        resolve(socket);
      };
      const failed = (): void => give(undefined);
      upstream.once('error', failed);
      upstream.once('connect', () => give(upstream));
    });
  }
}

function join(client: Socket, upstream: Socket): void {
  for (const [socket, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('error', () => other.destroy());
    socket.once('close', () => other.destroy());
    // The end of one direction is passed on by itself; the other goes on.
    socket.pipe(other);
  }
  if (client.destroyed) upstream.destroy();
}
