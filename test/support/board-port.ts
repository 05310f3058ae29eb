import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Board } from './boards.ts';
import { waitFor } from './wait.ts';

const RELAY = `
const net = require('node:net');
const [path, port] = process.argv.slice(1);
net.createServer((near) => {
  const far = net.connect(Number(port), '127.0.0.1');
  near.pipe(far); far.pipe(near);
  near.on('error', () => far.destroy()); far.on('error', () => near.destroy());
  near.on('close', () => far.destroy()); far.on('close', () => near.destroy());
}).listen(path);
`;

/** A port of a board's loopback on this machine's loopback: a Unix socket crosses what separates their networks. */
export class BoardPort {
  private readonly board: Board;
  private readonly port: number;
  private readonly folder = mkdtempSync(join(tmpdir(), 'copepod-port-'));
  private readonly connections = new Set<Socket>();
  private relay: ChildProcess | undefined;
  private server: Server | undefined;

  constructor(board: Board, port: number) {
    this.board = board;
    this.port = port;
  }

  /** Resolves to the port on this machine. */
  async start(): Promise<number> {
    const path = join(this.folder, 'relay');
    const [command = '', ...rest] = [
      ...this.board.enter,
      process.execPath,
      '-e',
      RELAY,
      path,
      String(this.port),
    ];
    this.relay = spawn(command, rest, { stdio: 'ignore' });
    await waitFor('the relay of the board', async () => existsSync(path));
    const server = createServer((near) => {
      const far = connect(path);
      this.connections.add(near);
      near.pipe(far);
      far.pipe(near);
      near
        .on('error', () => far.destroy())
        .on('close', () => {
          this.connections.delete(near);
          far.destroy();
        });
      far.on('error', () => near.destroy()).on('close', () => near.destroy());
    });
    this.server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  /** As when the network between client and server breaks: every connection ends at once. */
  breakConnections(): void {
    for (const socket of this.connections) socket.destroy();
  }

  async stop(): Promise<void> {
    this.breakConnections();
    await new Promise((resolve) => (this.server ? this.server.close(resolve) : resolve(undefined)));
    this.relay?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
