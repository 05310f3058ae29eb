import { Duplex } from 'node:stream';

/**
 * A view of `inner` that ends with an error as soon as an MQTT packet is announced to be larger than `maxBytes`. The
 * parser below has no bound of its own and would collect up to 256 MiB.
 */
export class FrameLimit extends Duplex {
  private readonly inner: Duplex;
  private readonly maxBytes: number;
  /** Bytes of the current packet's body still to come; -1 while its header is read. */
  private body = -1;
  private headerBytes = 0;
  private announced = 0;

  constructor(inner: Duplex, maxBytes: number) {
    super({ allowHalfOpen: false });
    this.inner = inner;
    this.maxBytes = maxBytes;
    inner.on('data', (chunk: Buffer) => {
      if (!this.check(chunk)) {
        this.destroy(new Error(`an MQTT packet of more than ${maxBytes} bytes`));
        return;
      }
      if (!this.push(chunk)) inner.pause();
    });
    inner.on('end', () => this.push(null));
    inner.on('error', (error) => this.destroy(error));
    inner.on('close', () => this.destroy());
  }

  override _read(): void {
    this.inner.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.inner.write(chunk)) done();
    else {
      const finish = (): void => {
        this.inner.off('drain', finish);
        this.inner.off('close', finish);
        done();
      };
      this.inner.on('drain', finish);
      this.inner.on('close', finish);
    }
  }

  override _final(done: () => void): void {
    this.inner.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.inner.destroy();
    done(error);
  }

  /** Follows the packet boundaries: a type byte, then the length in one to four bytes of seven bits [MQTT 2.2.3]. */
  private check(chunk: Buffer): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.body > 0) {
        const step = Math.min(this.body, chunk.length - at);
        this.body -= step;
        at += step;
        if (this.body === 0) this.body = -1;
        continue;
      }
      const byte = chunk[at] as number;
      at += 1;
      if (this.headerBytes > 0) this.announced += (byte & 0x7f) * 128 ** (this.headerBytes - 1);
      this.headerBytes += 1;
      if (this.announced > this.maxBytes || this.headerBytes > 5) return false;
      if (this.headerBytes > 1 && (byte & 0x80) === 0) {
        this.body = this.announced === 0 ? -1 : this.announced;
        this.headerBytes = 0;
        this.announced = 0;
      }
    }
    return true;
  }
}
