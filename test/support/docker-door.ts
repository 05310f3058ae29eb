import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

interface Hold {
  matches: (method: string, path: string) => boolean | Promise<boolean>;
  /** Those that are held, to let them go. */
  waiting: (() => void)[];
  /** How many calls it has held so far. */
  held: number;
}

/**
 * A socket in front of an engine's, on which some calls get no answer until they are let go: an engine that hangs on one
 * container. Everything else passes, streams and hijacked connections too.
 */
export class DockerDoor {
  readonly path: string;
  private readonly target: string;
  private readonly holds = new Set<Hold>();
  private readonly sockets = new Set<Duplex>();
  private readonly server: Server;

  constructor(target: string) {
    this.target = target;
    this.path = `${target}.door`;
    this.server = createServer((call, answer) => void this.pass(call, answer));
    this.server.on('upgrade', (call, socket, head) => void this.upgrade(call, socket, head));
    this.server.on('connection', (socket) => this.remember(socket));
    // A stop lasts as long as its grace period.
    this.server.requestTimeout = 0;
  }

  get dockerHost(): string {
    return `unix://${this.path}`;
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.path, resolve));
  }

  async close(): Promise<void> {
    for (const hold of this.holds) for (const go of hold.waiting) go();
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.path, { force: true });
  }

  /** Calls that match get no answer, and do not reach the engine, until the result is called. */
  hold(matches: Hold['matches']): { release: () => void; held: () => number } {
    const hold: Hold = { matches, waiting: [], held: 0 };
    this.holds.add(hold);
    return {
      release: () => {
        this.holds.delete(hold);
        for (const go of hold.waiting.splice(0)) go();
      },
      held: () => hold.held,
    };
  }

  private async gate({ method = 'GET', url = '' }: IncomingMessage): Promise<void> {
    for (const hold of this.holds) {
      if (!(await hold.matches(method, decodeURIComponent(url)))) continue;
      hold.held += 1;
      await new Promise<void>((resolve) => hold.waiting.push(resolve));
    }
  }

  private async pass(call: IncomingMessage, answer: ServerResponse): Promise<void> {
    await this.gate(call);
    const { method, url, headers } = call;
    const onward = request({ socketPath: this.target, method, path: url, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      // An event stream is silent for a long time; its beginning is awaited.
      answer.flushHeaders();
      response.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    // Who has given up is not served any more; the engine hears of it.
    answer.on('close', () => onward.destroy());
    call.pipe(onward);
  }

  private async upgrade(call: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    await this.gate(call);
    const engine = connect({ path: this.target, allowHalfOpen: true });
    this.remember(engine);
    const lines = call.rawHeaders.flatMap((name, index, all) =>
      index % 2 === 0 ? [`${name}: ${all[index + 1]}`] : [],
    );
    engine.write(`${call.method} ${call.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    engine.write(head);
    engine.on('error', () => socket.destroy());
    socket.on('error', () => engine.destroy());
    engine.pipe(socket);
    socket.pipe(engine);
  }

  private remember(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
  }
}
