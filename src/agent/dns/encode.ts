import { addressBytes } from './address.ts';
import {
  CLASS_IN,
  type DnsRecord,
  EDNS_SIZE,
  FLAG,
  HEADER_BYTES,
  labelsOf,
  type Query,
  type Question,
  RCODE,
  type Reply,
  TYPE,
  walk,
} from './message.ts';

/** A query for an upstream server: nothing of the client but its question and the wish for DNSSEC records. */
export function encodeQuery(id: number, question: Question, edns: { dnssecOk: boolean } | undefined): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAG.recursionDesired, 2);
  header.writeUInt16BE(1, 4);
  if (!edns) return Buffer.concat([header, question.wire]);
  header.writeUInt16BE(1, 10);
  return Buffer.concat([header, question.wire, optRecord(RCODE.ok, edns.dnssecOk, EDNS_SIZE)]);
}

/** A message of nothing but an error, for what could not be parsed. */
export function encodeError(id: number, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAG.response | FLAG.recursionAvailable | rcode, 2);
  return header;
}

/**
 * At most `limit` bytes: when not everything fits, as many answers as do, with the truncation bit (resolvers that know
 * no TCP, as musl before 1.2.4, live on those).
 */
export function encodeReply(query: Query, reply: Reply, limit: number): Buffer {
  const writer = new Writer(query.question);
  const opt = query.edns ? optRecord(reply.rcode, query.edns.dnssecOk, EDNS_SIZE) : undefined;
  const room = limit - (opt?.length ?? 0);
  const counts = [0, 0, 0];
  let truncated = false;
  for (const [section, records] of [reply.answers, reply.authority, reply.additional].entries()) {
    for (const record of records) {
      const mark = writer.length;
      writer.record(record);
      if (writer.length <= room) {
        counts[section] = (counts[section] ?? 0) + 1;
        continue;
      }
      writer.cut(mark);
      // The additional section is a courtesy.
      if (section < 2) truncated = true;
      break;
    }
    if (truncated) break;
  }
  if (opt) {
    writer.bytes(opt);
    counts[2] = (counts[2] ?? 0) + 1;
  }
  const message = writer.finish();
  message.writeUInt16BE(query.id, 0);
  message.writeUInt16BE(
    FLAG.response |
      FLAG.recursionAvailable |
      (query.opcode << 11) |
      (reply.authoritative ? FLAG.authoritative : 0) |
      (truncated ? FLAG.truncated : 0) |
      (query.recursionDesired ? FLAG.recursionDesired : 0) |
      (reply.rcode & 15),
    2,
  );
  message.writeUInt16BE(1, 4);
  counts.forEach((count, index) => {
    message.writeUInt16BE(count, 6 + 2 * index);
  });
  return message;
}

/** An upstream answer for this client: its id, its letters' case, and no more than fits, cut between records. */
export function relay(answer: Buffer, query: Query, ageSeconds: number, limit: number): Buffer {
  const walked = walk(answer);
  const fitting = walked.records.filter(({ end }) => end <= limit);
  const whole = fitting.length === walked.records.length;
  const message = Buffer.from(answer.subarray(0, fitting.at(-1)?.end ?? walked.questionEnd));
  message.writeUInt16BE(query.id, 0);
  const flags = walked.flags & ~(FLAG.truncated | FLAG.authoritative | FLAG.recursionDesired);
  message.writeUInt16BE(
    flags |
      FLAG.response |
      FLAG.recursionAvailable |
      (whole ? 0 : FLAG.truncated) |
      (query.recursionDesired ? FLAG.recursionDesired : 0),
    2,
  );
  if (query.question.wire.length === walked.question.wire.length) {
    query.question.wire.copy(message, HEADER_BYTES);
  }
  for (const [index, section] of (['answer', 'authority', 'additional'] as const).entries()) {
    message.writeUInt16BE(fitting.filter((record) => record.section === section).length, 6 + 2 * index);
  }
  for (const record of fitting) {
    if (record.type !== TYPE.OPT) message.writeUInt32BE(Math.max(0, record.ttl - ageSeconds), record.ttlAt);
  }
  return message;
}

function optRecord(rcode: number, dnssecOk: boolean, size: number): Buffer {
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(TYPE.OPT, 1);
  opt.writeUInt16BE(size, 3);
  // Extended rcode, version 0, DO.
  opt.writeUInt8(rcode >> 4, 5);
  opt.writeUInt16BE(dnssecOk ? 0x8000 : 0, 7);
  return opt;
}

/** Appends records; names that were written before become pointers. */
class Writer {
  private buffer = Buffer.alloc(2048);
  private at: number;
  private readonly offsets = new Map<string, number>();

  constructor(question: Question) {
    this.at = HEADER_BYTES;
    this.remember(labelsOf(question.name), HEADER_BYTES);
    this.bytes(question.wire);
  }

  get length(): number {
    return this.at;
  }

  record({ name, ttl, data }: DnsRecord): void {
    this.name(name, true);
    this.uint16(data.type === 'raw' ? data.number : TYPE[data.type]);
    this.uint16(CLASS_IN);
    this.uint32(ttl);
    const lengthAt = this.at;
    this.uint16(0);
    this.data(data);
    this.buffer.writeUInt16BE(this.at - lengthAt - 2, lengthAt);
  }

  bytes(bytes: Buffer): void {
    this.ensure(bytes.length);
    bytes.copy(this.buffer, this.at);
    this.at += bytes.length;
  }

  /** Takes back what was written behind `mark`. */
  cut(mark: number): void {
    this.at = mark;
    for (const [name, offset] of this.offsets) if (offset >= mark) this.offsets.delete(name);
  }

  finish(): Buffer {
    return this.buffer.subarray(0, this.at);
  }

  private data(data: DnsRecord['data']): void {
    switch (data.type) {
      case 'raw':
        this.bytes(data.bytes);
        return;
      case 'A':
      case 'AAAA':
        this.bytes(addressBytes(data.address));
        return;
      case 'CNAME':
      case 'PTR':
      case 'NS':
        this.name(data.target, true);
        return;
      case 'SRV':
        this.uint16(data.priority);
        this.uint16(data.weight);
        this.uint16(data.port);
        // RFC 2782: not compressed.
        this.name(data.target, false);
        return;
      case 'TXT': {
        const text = Buffer.from(data.text).subarray(0, 255);
        this.bytes(Buffer.from([text.length]));
        this.bytes(text);
        return;
      }
      case 'SOA':
        this.name(data.primary, true);
        this.name(data.mailbox, true);
        for (const value of [data.serial, data.refresh, data.retry, data.expire, data.minimum])
          this.uint32(value);
    }
  }

  private name(name: string, compress: boolean): void {
    const labels = labelsOf(name);
    const start = this.at;
    let written = 0;
    for (const [index, label] of labels.entries()) {
      const known = compress ? this.offsets.get(keyOf(labels.slice(index))) : undefined;
      if (known !== undefined) {
        this.uint16(0xc000 | known);
        this.remember(labels, start, written);
        return;
      }
      const bytes = Buffer.from(label, 'latin1');
      this.bytes(Buffer.from([bytes.length]));
      this.bytes(bytes);
      written += 1;
    }
    this.bytes(Buffer.from([0]));
    this.remember(labels, start);
  }

  /** The first `count` suffixes of a name that begins at `start`. */
  private remember(labels: readonly string[], start: number, count = labels.length): void {
    let offset = start;
    for (const [index, label] of labels.entries()) {
      if (index >= count || offset > 0x3fff) return;
      const key = keyOf(labels.slice(index));
      if (!this.offsets.has(key)) this.offsets.set(key, offset);
      offset += Buffer.byteLength(label, 'latin1') + 1;
    }
  }

  private uint16(value: number): void {
    this.ensure(2);
    this.at = this.buffer.writeUInt16BE(value, this.at);
  }

  private uint32(value: number): void {
    this.ensure(4);
    this.at = this.buffer.writeUInt32BE(value >>> 0, this.at);
  }

  private ensure(more: number): void {
    if (this.at + more <= this.buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.at + more));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }
}

const keyOf = (labels: readonly string[]): string => labels.join('\0').toLowerCase();
