import type { Server } from 'node:net';
import type { Clock, Timer } from '../../lib/clock.ts';

const RETRY_MS = 10_000;

/** Listens at a port of this board, and tries again while somebody else has it. */
export class PortHolder {
  private readonly server: Server;
  private readonly port: number;
  private readonly clock: Clock;
  private readonly onTrouble: (error: NodeJS.ErrnoException) => void;
  private readonly onOpen: () => void;
  private timer: Timer | undefined;
  private wanted = false;
  private complained = false;

  constructor(options: {
    server: Server;
    port: number;
    clock: Clock;
    onOpen: () => void;
    /** Once, until it listens. */
    onTrouble: (error: NodeJS.ErrnoException) => void;
  }) {
    this.server = options.server;
    this.port = options.port;
    this.clock = options.clock;
    this.onOpen = options.onOpen;
    this.onTrouble = options.onTrouble;
  }

  start(): void {
    this.wanted = true;
    this.server.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.complained) this.onTrouble(error);
      this.complained = true;
      if (!this.server.listening && this.wanted) this.timer = this.clock.after(RETRY_MS, () => this.listen());
    });
    this.server.on('listening', () => {
      this.complained = false;
      this.onOpen();
    });
    this.listen();
  }

  /** Takes no new connection; resolves at once. What stands is the caller's to end. */
  stop(): void {
    this.wanted = false;
    this.timer?.cancel();
    if (this.server.listening) this.server.close();
  }

  private listen(): void {
    if (!this.wanted) return;
    // IPv4 and IPv6 where the board has both.
    this.server.listen({ port: this.port });
  }
}
