/** SPDY/3.1 frames (draft-mbelshe-httpbis-spdy-00, section 2.6), as far as Kubernetes' streaming uses them. */
export const FRAME = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
  WINDOW_UPDATE: 9,
} as const;

export const FLAG_FIN = 1;
export const RESET_PROTOCOL_ERROR = 1;
export const RESET_CANCEL = 5;

const HEADER_BYTES = 8;
const VERSION = 3;

export type Frame =
  | { control: false; streamId: number; flags: number; data: Buffer }
  | { control: true; type: number; flags: number; body: Buffer };

export class SpdyError extends Error {}

/** Cuts a byte stream into frames. Bounded: a frame longer than `maxFrameBytes` throws SpdyError. */
export class FrameParser {
  private readonly maxFrameBytes: number;
  private buffered: Buffer = Buffer.alloc(0);

  constructor(maxFrameBytes: number) {
    this.maxFrameBytes = maxFrameBytes;
  }

  push(chunk: Buffer): Frame[] {
    this.buffered = this.buffered.length === 0 ? chunk : Buffer.concat([this.buffered, chunk]);
    const frames: Frame[] = [];
    let offset = 0;
    while (this.buffered.length - offset >= HEADER_BYTES) {
      const length = this.buffered.readUIntBE(offset + 5, 3);
      if (length > this.maxFrameBytes) throw new SpdyError(`frame of ${length} bytes`);
      const end = offset + HEADER_BYTES + length;
      if (this.buffered.length < end) break;
      const first = this.buffered.readUInt32BE(offset);
      const flags = this.buffered.readUInt8(offset + 4);
      const payload = this.buffered.subarray(offset + HEADER_BYTES, end);
      if (first >= 0x80000000) {
        const version = (first >>> 16) & 0x7fff;
        if (version !== VERSION) throw new SpdyError(`version ${version}`);
        frames.push({ control: true, type: first & 0xffff, flags, body: payload });
      } else {
        frames.push({ control: false, streamId: first, flags, data: payload });
      }
      offset = end;
    }
    this.buffered = this.buffered.subarray(offset);
    return frames;
  }
}

export function controlFrame(type: number, flags: number, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(0x8000 | VERSION, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt8(flags, 4);
  header.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([header, body]);
}

export function dataFrame(streamId: number, flags: number, data: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt8(flags, 4);
  header.writeUIntBE(data.length, 5, 3);
  return Buffer.concat([header, data]);
}

export function uint32(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) buffer.writeUInt32BE(value >>> 0, index * 4);
  return buffer;
}

/** The name/value block of 2.6.10, uncompressed. Names are lower case; several values are separated by NUL. */
export function encodeHeaders(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  const parts = [uint32(entries.length)];
  for (const [name, value] of entries) {
    const nameBytes = Buffer.from(name, 'latin1');
    const valueBytes = Buffer.from(value, 'latin1');
    parts.push(uint32(nameBytes.length), nameBytes, uint32(valueBytes.length), valueBytes);
  }
  return Buffer.concat(parts);
}

export function decodeHeaders(block: Buffer): Map<string, string> {
  const headers = new Map<string, string>();
  let offset = 0;
  const number = (): number => {
    if (offset + 4 > block.length) throw new SpdyError('truncated header block');
    offset += 4;
    return block.readUInt32BE(offset - 4);
  };
  const text = (): string => {
    const length = number();
    if (offset + length > block.length) throw new SpdyError('truncated header block');
    offset += length;
    return block.toString('latin1', offset - length, offset);
  };
  const count = number();
  for (let index = 0; index < count; index += 1) {
    const name = text();
    headers.set(name.toLowerCase(), text());
  }
  return headers;
}
