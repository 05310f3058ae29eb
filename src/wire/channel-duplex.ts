import { Duplex } from 'node:stream';
import type { ChannelPeer } from './channel-socket.ts';
import { CHANNEL } from './channels.ts';

/** One byte stream over two channels of a peer, as Node's HTTP and TLS want a socket. */
export class ChannelDuplex extends Duplex {
  private readonly peer: ChannelPeer;
  private readonly sends: number;
  private ended = false;
  private onWritable: (() => void) | undefined;

  constructor(
    peer: ChannelPeer,
    options: {
      sends: number;
      receives: number;
      /** What the other end's last word (STATUS) means; absent: none is expected. */
      outcome?: (status: Buffer) => Error | undefined;
    },
  ) {
    super({ allowHalfOpen: true });
    this.peer = peer;
    this.sends = options.sends;
    peer.onMessage = (channel, data) => {
      if (channel === options.receives && !this.ended) {
        if (!this.push(data)) peer.pause();
      } else if (channel === CHANNEL.STATUS) {
        const error = options.outcome?.(data);
        if (error) this.destroy(error);
        else this.finish();
      }
    };
    peer.onChannelEnd = (channel) => {
      if (channel === options.receives) this.finish();
    };
    peer.onDrain = () => {
      const { onWritable } = this;
      this.onWritable = undefined;
      onWritable?.();
    };
    peer.onClose = () => {
      this.finish();
      // What has come is read first; what is still to be sent goes nowhere.
      this.end();
      const { onWritable } = this;
      this.onWritable = undefined;
      onWritable?.();
    };
  }

  override _read(): void {
    this.peer.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.peer.send(this.sends, chunk)) done();
    else this.onWritable = done;
  }

  override _final(done: () => void): void {
    this.peer.endChannel(this.sends);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.peer.onClose = () => {};
    this.peer.close();
    done(error);
  }

  private finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.push(null);
  }
}
