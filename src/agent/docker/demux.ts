import type { Readable } from 'node:stream';
import type { OutputSink } from '../runtime.ts';

const HEADER = 8;
/** Docker copies in pieces of 32 KiB; more than this in one frame is not Docker. */
const LARGEST_FRAME = 16 * 1024 * 1024;

/** Wants to know where a frame begins. Of logs each entry is one. */
export interface FrameSink extends OutputSink {
  frame(): void;
}

/**
 * Splits Docker's multiplexed stream: frames of an 8-byte header (stream 0, 1 or 2, three zero bytes, big-endian length)
 * and payload. Payload is passed on as it arrives, not collected to whole frames.
 */
export class Demultiplexer {
  private readonly header = Buffer.alloc(HEADER);
  private headerBytes = 0;
  private left = 0;
  private stderr = false;

  push(chunk: Buffer, sink: OutputSink | FrameSink): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.left === 0) {
        const take = Math.min(HEADER - this.headerBytes, chunk.length - offset);
        chunk.copy(this.header, this.headerBytes, offset, offset + take);
        this.headerBytes += take;
        offset += take;
        if (this.headerBytes < HEADER) return;
        this.headerBytes = 0;
        this.left = this.header.readUInt32BE(4);
        this.stderr = this.header[0] === 2;
        if ((this.header[0] ?? 0) > 2 || this.left > LARGEST_FRAME) {
          throw new Error("the stream is not in Docker's multiplexed format");
        }
        if ('frame' in sink) sink.frame();
        continue;
      }
      const take = Math.min(this.left, chunk.length - offset);
      const payload = chunk.subarray(offset, offset + take);
      if (this.stderr) sink.stderr(payload);
      else sink.stdout(payload);
      this.left -= take;
      offset += take;
    }
  }
}

/** Passes a stream's output on until it ends; stops reading while the sink is blocked. Raw output (a TTY) is all stdout. */
export function pipeOutput(stream: Readable, sink: OutputSink, raw: boolean): Promise<void> {
  const demultiplexer = new Demultiplexer();
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      try {
        if (raw) sink.stdout(chunk);
        else demultiplexer.push(chunk, sink);
      } catch (error) {
        stream.destroy(error as Error);
        return;
      }
      if (sink.blocked && sink.drained) {
        stream.pause();
        sink.drained().then(
          () => stream.resume(),
          (error) => stream.destroy(error),
        );
      }
    });
    stream.once('error', reject);
    stream.once('end', resolve);
    stream.once('close', resolve);
  });
}
