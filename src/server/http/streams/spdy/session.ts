import type { Duplex } from 'node:stream';
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';
import { headerDictionary } from './dictionary.ts';
import {
  controlFrame,
  dataFrame,
  decodeHeaders,
  encodeHeaders,
  FLAG_FIN,
  FRAME,
  type Frame,
  FrameParser,
  RESET_CANCEL,
  RESET_PROTOCOL_ERROR,
  SpdyError,
  uint32,
} from './frames.ts';

const MAX_FRAME_BYTES = 1024 * 1024;
const MAX_STREAMS = 1000;

/** A stream that the client opened. Handlers are set by whoever accepts it, before it returns. */
export interface SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  onData: (chunk: Buffer) => void;
  /** The client will send no more (FIN). */
  onEnd: () => void;
  /** The client reset the stream, or the session ended. */
  onReset: () => void;
  /** False: the connection is congested, wait for the session's onDrain. */
  write(chunk: Buffer): boolean;
  /** Half-close: nothing more from us. */
  end(): void;
  reset(): void;
}

/**
 * The server's end of a SPDY/3.1 session, over a socket (HTTP upgrade, kubectl before 1.31) or tunnelled in a WebSocket
 * (KEP-4006). No flow control per stream: the client library that Kubernetes uses has none either; a slow consumer
 * pauses the whole connection.
 */
export class SpdySession {
  private readonly duplex: Duplex;
  private readonly onStream: (stream: SpdyStream) => boolean;
  private readonly onClose: () => void;
  private readonly parser = new FrameParser(MAX_FRAME_BYTES);
  private readonly streams = new Map<number, StreamState>();
  private readonly drainListeners: (() => void)[] = [];
  private inflate: Inflate | undefined;
  private deflate: Deflate | undefined;
  private work: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(options: {
    duplex: Duplex;
    /** Accepts (true) or refuses a stream. */
    onStream: (stream: SpdyStream) => boolean;
    onClose: () => void;
  }) {
    this.duplex = options.duplex;
    this.onStream = options.onStream;
    this.onClose = options.onClose;
  }

  start(): void {
    const dictionary = headerDictionary();
    this.inflate = createInflate({ dictionary, flush: constants.Z_SYNC_FLUSH });
    this.deflate = createDeflate({ dictionary, flush: constants.Z_SYNC_FLUSH });
    for (const codec of [this.inflate, this.deflate]) codec.on('error', () => this.close());
    this.duplex.on('data', (chunk: Buffer) => this.receive(chunk));
    this.duplex.on('drain', () => {
      for (const listener of this.drainListeners) listener();
    });
    this.duplex.on('error', () => this.close());
    this.duplex.on('close', () => this.close());
    this.duplex.on('end', () => this.close());
  }

  onDrain(listener: () => void): void {
    this.drainListeners.push(listener);
  }

  pause(): void {
    this.duplex.pause();
  }

  resume(): void {
    this.duplex.resume();
  }

  /** Ends the connection; streams see onReset. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const stream of this.streams.values()) stream.onReset();
    this.streams.clear();
    this.inflate?.close();
    this.deflate?.close();
    if (!this.duplex.writableEnded) this.duplex.end();
    this.onClose();
  }

  private receive(chunk: Buffer): void {
    let frames: Frame[];
    try {
      frames = this.parser.push(chunk);
    } catch {
      return this.close();
    }
    // Header blocks are decompressed asynchronously and share one zlib context: frames are handled strictly in turn.
    for (const frame of frames) {
      this.work = this.work
        .then(() => (this.closed ? undefined : this.handle(frame)))
        .catch(() => this.close());
    }
  }

  private handle(frame: Frame): Promise<void> | void {
    if (!frame.control) return this.handleData(frame.streamId, frame.flags, frame.data);
    switch (frame.type) {
      case FRAME.SYN_STREAM:
        return this.handleSynStream(frame.flags, frame.body);
      case FRAME.HEADERS:
        // Not used by Kubernetes, but the shared zlib context must see it.
        return this.decompress(frame.body.subarray(4)).then(() => {});
      case FRAME.RST_STREAM: {
        const stream = this.take(frame.body.readUInt32BE(0));
        stream?.onReset();
        return;
      }
      case FRAME.PING:
        // Odd ids come from the client and are echoed (2.6.5).
        if (frame.body.readUInt32BE(0) % 2 === 1)
          this.send(controlFrame(FRAME.PING, 0, Buffer.from(frame.body)));
        return;
      case FRAME.GOAWAY:
        return;
      default:
        // SETTINGS and WINDOW_UPDATE have no meaning without flow control; unknown types are to be ignored (2.2.1).
        return;
    }
  }

  private async handleSynStream(flags: number, body: Buffer): Promise<void> {
    if (body.length < 10) throw new SpdyError('short SYN_STREAM');
    const id = body.readUInt32BE(0) & 0x7fffffff;
    const headers = decodeHeaders(await this.decompress(body.subarray(10)));
    if (this.streams.has(id) || this.streams.size >= MAX_STREAMS)
      return this.sendReset(id, RESET_PROTOCOL_ERROR);
    const stream = new StreamState(id, headers, {
      write: (chunk) => this.send(dataFrame(id, 0, chunk)),
      end: () => {
        if (!this.streams.has(id)) return;
        this.send(dataFrame(id, FLAG_FIN, Buffer.alloc(0)));
        stream.localEnded = true;
        if (stream.remoteEnded) this.streams.delete(id);
      },
      reset: () => {
        if (this.take(id)) this.sendReset(id, RESET_CANCEL);
      },
    });
    // The reply goes first, also for what is then refused: the header compression's context must not lose a block.
    const block = await this.compress(encodeHeaders({}));
    this.send(controlFrame(FRAME.SYN_REPLY, 0, Buffer.concat([uint32(id), block])));
    if (!this.onStream(stream)) return this.sendReset(id, RESET_PROTOCOL_ERROR);
    this.streams.set(id, stream);
    if (flags & FLAG_FIN) this.finish(stream);
  }

  private handleData(id: number, flags: number, data: Buffer): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    if (data.length > 0) stream.onData(data);
    if (flags & FLAG_FIN) this.finish(stream);
  }

  private finish(stream: StreamState): void {
    stream.remoteEnded = true;
    stream.onEnd();
    if (stream.localEnded) this.streams.delete(stream.id);
  }

  private take(id: number): StreamState | undefined {
    const stream = this.streams.get(id);
    this.streams.delete(id);
    return stream;
  }

  private sendReset(id: number, status: number): void {
    this.send(controlFrame(FRAME.RST_STREAM, 0, uint32(id, status)));
  }

  private send(bytes: Buffer): boolean {
    return this.closed || this.duplex.writableEnded ? true : this.duplex.write(bytes);
  }

  private decompress(block: Buffer): Promise<Buffer> {
    return through(this.inflate, block);
  }

  private compress(block: Buffer): Promise<Buffer> {
    return through(this.deflate, block);
  }
}

class StreamState implements SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly write: (chunk: Buffer) => boolean;
  readonly end: () => void;
  readonly reset: () => void;
  onData: (chunk: Buffer) => void = () => {};
  onEnd: () => void = () => {};
  onReset: () => void = () => {};
  localEnded = false;
  remoteEnded = false;

  constructor(
    id: number,
    headers: ReadonlyMap<string, string>,
    actions: { write: (chunk: Buffer) => boolean; end: () => void; reset: () => void },
  ) {
    this.id = id;
    this.headers = headers;
    this.write = actions.write;
    this.end = actions.end;
    this.reset = actions.reset;
  }
}

/** Feeds one block through a zlib stream that lives as long as the session; with Z_SYNC_FLUSH all its output is ready. */
function through(codec: Inflate | Deflate | undefined, block: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (!codec) return reject(new SpdyError('session not started'));
    codec.write(block, (error) => {
      if (error) return reject(error);
      const output: Buffer | null = codec.read();
      resolve(output ?? Buffer.alloc(0));
    });
  });
}
