import type { WebSocket } from 'ws';
import { CHANNEL, STREAM_BUFFER_BYTES } from './channels.ts';

/** One end of a conversation in channels, whatever carries it (WebSocket, SPDY). Handlers are set before data flows. */
export interface ChannelPeer {
  onMessage: (channel: number, data: Buffer) => void;
  /** The other end sends no more on this channel. */
  onChannelEnd: (channel: number) => void;
  /** Once, whoever ended it. */
  onClose: () => void;
  /** May be written again after send() returned false. */
  onDrain: () => void;
  /** False: taken, but the connection is congested. */
  send(channel: number, data: Buffer): boolean;
  endChannel(channel: number): void;
  /** Stops and resumes reading. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** How a WebSocket message carries channel and data. `undefined` from decode: not understood, the peer is closed. */
export interface ChannelCodec {
  encode(channel: number, data: Buffer): Buffer | string;
  decode(message: Buffer, binary: boolean): { channel: number; data: Buffer } | undefined;
  /** CHANNEL.CLOSE is known (v5); otherwise half-close cannot be said and endChannel does nothing. */
  readonly halfClose: boolean;
}

/** One byte of channel, then the data: v4.channel.k8s.io and, with half-close, v5 and our own streams. */
export function binaryCodec(halfClose: boolean): ChannelCodec {
  return {
    halfClose,
    encode: (channel, data) => Buffer.concat([Buffer.of(channel), data]),
    decode: (message) =>
      message.length === 0 ? undefined : { channel: message[0] ?? 0, data: message.subarray(1) },
  };
}

export class ChannelSocket implements ChannelPeer {
  onMessage: (channel: number, data: Buffer) => void = () => {};
  onChannelEnd: (channel: number) => void = () => {};
  onClose: () => void = () => {};
  onDrain: () => void = () => {};
  private readonly socket: WebSocket;
  private readonly codec: ChannelCodec;
  private congested = false;
  private closed = false;
  /** While paused: what had already been read off the socket, in order; the close comes last. */
  private held: { message: Buffer; binary: boolean }[] = [];
  private paused = false;
  private closing = false;
  private socketClosed = false;

  constructor(socket: WebSocket, codec: ChannelCodec = binaryCodec(true)) {
    this.socket = socket;
    this.codec = codec;
    socket.on('message', (message: Buffer, binary: boolean) => this.receive(message, binary));
    socket.on('close', () => {
      this.socketClosed = true;
      if (this.held.length === 0) this.finish();
    });
    socket.on('error', () => this.close());
  }

  send(channel: number, data: Buffer): boolean {
    if (this.socket.readyState !== this.socket.OPEN) return true;
    this.socket.send(this.codec.encode(channel, data), () => {
      if (this.congested && this.socket.bufferedAmount < STREAM_BUFFER_BYTES / 2) {
        this.congested = false;
        this.onDrain();
      }
    });
    if (this.socket.bufferedAmount > STREAM_BUFFER_BYTES) this.congested = true;
    return !this.congested;
  }

  endChannel(channel: number): void {
    if (this.codec.halfClose) this.send(CHANNEL.CLOSE, Buffer.of(channel));
  }

  pause(): void {
    if (this.closing) return;
    this.paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (this.closing) return;
    this.paused = false;
    while (this.held.length > 0 && !this.paused) {
      const next = this.held.shift();
      if (next) this.receive(next.message, next.binary);
    }
    if (this.paused) return;
    this.socket.resume();
    if (this.socketClosed) this.finish();
  }

  close(): void {
    if (this.socket.readyState === this.socket.CONNECTING) return this.socket.terminate();
    this.closing = true;
    this.held = [];
    // A socket that is not read would not see the other end's answer, and wait 30 s for it.
    this.socket.resume();
    this.socket.close(1000);
    if (this.socketClosed) this.finish();
  }

  private receive(message: Buffer, binary: boolean): void {
    if (this.closing) return;
    if (this.paused) {
      this.held.push({ message, binary });
      return;
    }
    const decoded = this.codec.decode(message, binary);
    if (!decoded) return this.close();
    if (this.codec.halfClose && decoded.channel === CHANNEL.CLOSE) {
      if (decoded.data.length === 1) this.onChannelEnd(decoded.data[0] ?? 0);
      return;
    }
    this.onMessage(decoded.channel, decoded.data);
  }

  private finish(): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose();
  }
}

/** Carries everything from one peer to the other and back, each side's congestion pausing its source. */
export function bridge(left: ChannelPeer, right: ChannelPeer): void {
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    from.onMessage = (channel, data) => {
      if (!to.send(channel, data)) from.pause();
    };
    from.onChannelEnd = (channel) => to.endChannel(channel);
    from.onClose = () => to.close();
    to.onDrain = () => from.resume();
  }
}
