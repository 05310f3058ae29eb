import { binaryCodec, type ChannelCodec, type ChannelPeer } from '../../../wire/channel-socket.ts';
import { CHANNEL } from '../../../wire/channels.ts';
import type { SpdySession, SpdyStream } from './spdy/session.ts';

/** Channel as one ASCII digit, data as base64, in text messages. */
const base64Codec: ChannelCodec = {
  halfClose: false,
  encode: (channel, data) => `${channel}${data.toString('base64')}`,
  decode: (message) => {
    const channel = (message[0] ?? 0) - 48;
    if (channel < 0 || channel > 9) return undefined;
    return { channel, data: Buffer.from(message.toString('latin1', 1), 'base64') };
  },
};

/**
 * The WebSocket subprotocols of exec and attach, best first. Before v4 the error channel carried text instead of a
 * Status (k8s.io/apimachinery/pkg/util/remotecommand).
 */
export const WEBSOCKET_PROTOCOLS: Readonly<Record<string, { codec: ChannelCodec; statusAsJson: boolean }>> = {
  'v5.channel.k8s.io': { codec: binaryCodec(true), statusAsJson: true },
  'v4.channel.k8s.io': { codec: binaryCodec(false), statusAsJson: true },
  'v4.base64.channel.k8s.io': { codec: base64Codec, statusAsJson: true },
  'channel.k8s.io': { codec: binaryCodec(false), statusAsJson: false },
  'base64.channel.k8s.io': { codec: base64Codec, statusAsJson: false },
};

/** The values of X-Stream-Protocol-Version that we speak over SPDY, best first. */
export const SPDY_PROTOCOLS: Readonly<Record<string, { statusAsJson: boolean }>> = {
  'v4.channel.k8s.io': { statusAsJson: true },
  'v3.channel.k8s.io': { statusAsJson: false },
  'v2.channel.k8s.io': { statusAsJson: false },
};

const CHANNEL_OF_STREAM_TYPE: Readonly<Record<string, number>> = {
  stdin: CHANNEL.STDIN,
  stdout: CHANNEL.STDOUT,
  stderr: CHANNEL.STDERR,
  error: CHANNEL.STATUS,
  resize: CHANNEL.RESIZE,
};

/** The streams of one SPDY exec or attach, seen as channels; each stream's `streamtype` header says which it is. */
export class SpdyChannels implements ChannelPeer {
  onMessage: (channel: number, data: Buffer) => void = () => {};
  onChannelEnd: (channel: number) => void = () => {};
  onClose: () => void = () => {};
  onDrain: () => void = () => {};
  private readonly streams = new Map<number, SpdyStream>();
  private session: SpdySession | undefined;

  attach(session: SpdySession): void {
    this.session = session;
    session.onDrain(() => this.onDrain());
  }

  accept(stream: SpdyStream): boolean {
    const channel = CHANNEL_OF_STREAM_TYPE[stream.headers.get('streamtype') ?? ''];
    if (channel === undefined || this.streams.has(channel)) return false;
    this.streams.set(channel, stream);
    stream.onData = (chunk) => this.onMessage(channel, chunk);
    stream.onEnd = () => this.onChannelEnd(channel);
    stream.onReset = () => this.onChannelEnd(channel);
    return true;
  }

  /** How many of the streams that the client has to open are there. */
  get size(): number {
    return this.streams.size;
  }

  send(channel: number, data: Buffer): boolean {
    return this.streams.get(channel)?.write(data) ?? true;
  }

  endChannel(channel: number): void {
    this.streams.get(channel)?.end();
  }

  pause(): void {
    this.session?.pause();
  }

  resume(): void {
    this.session?.resume();
  }

  close(): void {
    for (const stream of this.streams.values()) stream.end();
    this.session?.close();
  }
}
