/** Reads ASN.1 in DER (X.690), as far as certificate requests need it. Everything throws DerError for what is malformed. */
export class DerError extends Error {}

export interface Element {
  readonly tag: number;
  /** With its header. */
  readonly whole: Buffer;
  readonly content: Buffer;
}

export const TAG = { integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, sequence: 0x30, set: 0x31 };
/** A request has some dozens; more is no request. */
const MOST_ELEMENTS = 10_000;

/** The elements that follow each other in `bytes`. */
export function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    if (found.length >= MOST_ELEMENTS) throw new DerError('too many elements');
    const start = offset;
    const tag = bytes[offset];
    let length = bytes[offset + 1];
    if (tag === undefined || length === undefined) throw new DerError('truncated element');
    offset += 2;
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0 || count > 4 || offset + count > bytes.length) throw new DerError('bad length');
      length = bytes.readUIntBE(offset, count);
      offset += count;
    }
    const end = offset + length;
    if (end > bytes.length) throw new DerError('truncated element');
    found.push({ tag, whole: bytes.subarray(start, end), content: bytes.subarray(offset, end) });
    offset = end;
  }
  return found;
}

/** The content of an element that has to have this tag. */
export function contentOf(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw new DerError(`expected an element with tag ${tag}`);
  return element.content;
}

export function oidText(content: Buffer): string {
  const arcs: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(value / 40));
      arcs.push(first, value - 40 * first);
    } else arcs.push(value);
    value = 0;
  }
  return arcs.join('.');
}
