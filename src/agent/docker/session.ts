import type { Socket } from 'node:net';
import type { ExecSession, OutputSink } from '../runtime.ts';
import { pipeOutput } from './demux.ts';

/** 128 + SIGKILL: what Docker says of a command that went with its container. */
const KILLED = 137;

/**
 * An exec or attach over a hijacked connection. Output waits (the socket is paused) until a sink is given. Half-closed:
 * closing stdin leaves the output running.
 */
export class DockerSession implements ExecSession {
  readonly exit: Promise<number>;
  private readonly socket: Socket;
  private readonly tty: boolean;
  private readonly onResize: (columns: number, rows: number) => Promise<void>;
  private readonly onKill: () => Promise<void>;
  private readonly ended: Promise<void>;
  private markEnded: () => void = () => {};
  private sink: OutputSink | undefined;
  private orphaned = false;

  constructor(options: {
    socket: Socket;
    tty: boolean;
    resize: (columns: number, rows: number) => Promise<void>;
    /** Asked once, after the output has ended. */
    exitCode: () => Promise<number>;
    kill: () => Promise<void>;
  }) {
    this.socket = options.socket;
    this.tty = options.tty;
    this.onResize = options.resize;
    this.onKill = options.kill;
    this.socket.pause();
    this.ended = new Promise((resolve) => {
      this.markEnded = resolve;
    });
    this.socket.once('close', () => this.markEnded());
    // The error is told by the exit code (or its absence); without a listener it would end the process.
    this.socket.on('error', () => {});
    this.exit = this.ended.then(() => (this.orphaned ? KILLED : options.exitCode()));
    this.exit.catch(() => {});
  }

  onOutput(sink: OutputSink): void {
    if (this.sink) throw new Error('the session has a sink already');
    this.sink = sink;
    pipeOutput(this.socket, sink, this.tty).then(
      () => {
        this.markEnded();
        this.socket.end();
      },
      () => this.markEnded(),
    );
    this.socket.resume();
  }

  write(chunk: Buffer): boolean {
    return this.socket.writable ? this.socket.write(chunk) : true;
  }

  onDrain(listener: () => void): void {
    this.socket.on('drain', listener);
  }

  closeStdin(): void {
    this.socket.end();
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.onResize(columns, rows);
  }

  close(): void {
    this.socket.destroy();
  }

  /** The engine will never tell of this command's end: see OpenSessions. */
  containerEnded(): void {
    this.orphaned = true;
    this.socket.destroy();
  }

  async kill(): Promise<void> {
    // The engine goes on naming a pid that may be somebody else's by now.
    if (this.orphaned) return;
    await this.onKill();
    this.socket.destroy();
  }
}
