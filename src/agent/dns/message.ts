// DNS messages (RFC 1035, 6891): just what this server needs. dns-packet from npm does not compress names when it
// writes, so that far fewer endpoints would fit into the 512 bytes that most containers' resolvers take; and answers of
// upstream servers are passed on as they came, which needs only a walk over them, not a model of every record type.

export const TYPE = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, TXT: 16, AAAA: 28, SRV: 33, OPT: 41, ANY: 255 } as const;
export const CLASS_IN = 1;
export const CLASS_ANY = 255;
export const RCODE = { ok: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;
/** RFC 6891: the size that crosses every network unfragmented. */
export const EDNS_SIZE = 1232;
export const PLAIN_UDP_SIZE = 512;
const HEADER_BYTES = 12;

const RESPONSE = 0x8000;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;

export class BadMessage extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BadMessage';
  }
}

export interface Question {
  /** Lower case, without the last dot; a dot or backslash inside a label is written `\.`, `\\`. */
  name: string;
  type: number;
  class: number;
  /** As asked, for the echo: some resolvers check the case of every letter. */
  wire: Buffer;
}

export interface Query {
  id: number;
  opcode: number;
  recursionDesired: boolean;
  question: Question;
  /** From the OPT record. */
  edns?: { udpSize: number; dnssecOk: boolean; version: number };
}

export type Data =
  | { type: 'A' | 'AAAA'; address: string }
  | { type: 'CNAME' | 'PTR' | 'NS'; target: string }
  | { type: 'SRV'; priority: number; weight: number; port: number; target: string }
  | { type: 'TXT'; text: string }
  | {
      type: 'SOA';
      primary: string;
      mailbox: string;
      serial: number;
      refresh: number;
      retry: number;
      expire: number;
      minimum: number;
    };

/** Names are as in Question; `raw` records keep the bytes of an upstream answer, its names without compression. */
export interface DnsRecord {
  name: string;
  ttl: number;
  data: Data | { type: 'raw'; number: number; bytes: Buffer };
}

export interface Reply {
  rcode: number;
  authoritative: boolean;
  answers: readonly DnsRecord[];
  authority: readonly DnsRecord[];
  additional: readonly DnsRecord[];
}

/** The id and whether it is a query, of anything that has at least a header. */
export function peek(message: Buffer): { id: number; isQuery: boolean } | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  return { id: message.readUInt16BE(0), isQuery: (message.readUInt16BE(2) & RESPONSE) === 0 };
}

/** Throws BadMessage. */
export function parseQuery(message: Buffer): Query {
  const walked = walk(message);
  const query: Query = {
    id: message.readUInt16BE(0),
    opcode: (walked.flags >> 11) & 15,
    recursionDesired: (walked.flags & RECURSION_DESIRED) !== 0,
    question: walked.question,
  };
  const opt = walked.records.find(({ type }) => type === TYPE.OPT);
  if (!opt) return query;
  return {
    ...query,
    edns: {
      udpSize: Math.max(PLAIN_UDP_SIZE, opt.class),
      version: (opt.ttl >>> 16) & 255,
      dnssecOk: (opt.ttl & 0x8000) !== 0,
    },
  };
}

export interface WalkedRecord {
  section: 'answer' | 'authority' | 'additional';
  type: number;
  class: number;
  ttl: number;
  start: number;
  ttlAt: number;
  dataAt: number;
  end: number;
}

export interface Walked {
  flags: number;
  rcode: number;
  truncated: boolean;
  question: Question;
  /** Where the records begin. */
  questionEnd: number;
  records: WalkedRecord[];
}

/** Header, the one question and where each record lies. Throws BadMessage. */
export function walk(message: Buffer): Walked {
  if (message.length < HEADER_BYTES) throw new BadMessage('shorter than a header');
  const flags = message.readUInt16BE(2);
  if (message.readUInt16BE(4) !== 1) throw new BadMessage('not exactly one question');
  const { name, end } = readName(message, HEADER_BYTES);
  if (end + 4 > message.length) throw new BadMessage('the question is cut');
  const question = {
    name,
    type: message.readUInt16BE(end),
    class: message.readUInt16BE(end + 2),
    wire: message.subarray(HEADER_BYTES, end + 4),
  };
  const records: WalkedRecord[] = [];
  let at = end + 4;
  for (const [section, countAt] of [
    ['answer', 6],
    ['authority', 8],
    ['additional', 10],
  ] as const) {
    for (let left = message.readUInt16BE(countAt); left > 0; left -= 1) {
      const start = at;
      at = skipName(message, at);
      if (at + 10 > message.length) throw new BadMessage('a record is cut');
      const dataAt = at + 10;
      const recordEnd = dataAt + message.readUInt16BE(at + 8);
      if (recordEnd > message.length) throw new BadMessage('a record is cut');
      records.push({
        section,
        type: message.readUInt16BE(at),
        class: message.readUInt16BE(at + 2),
        ttl: message.readUInt32BE(at + 4),
        start,
        ttlAt: at + 4,
        dataAt,
        end: recordEnd,
      });
      at = recordEnd;
    }
  }
  return {
    flags,
    rcode: flags & 15,
    truncated: (flags & TRUNCATED) !== 0,
    question,
    questionEnd: end + 4,
    records,
  };
}

/** A name that may be compressed. Throws BadMessage. */
export function readName(message: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  let end = -1;
  let length = 0;
  for (;;) {
    const size = message[at];
    if (size === undefined) throw new BadMessage('a name is cut');
    if (size >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) throw new BadMessage('a name is cut');
      if (end < 0) end = at + 2;
      const target = ((size & 0x3f) << 8) | low;
      // Only backwards: no loop can be built.
      if (target >= at) throw new BadMessage('a name points forwards');
      at = target;
      continue;
    }
    if (size > 63) throw new BadMessage('an unknown label type');
    if (size === 0) return { name: labels.join('.'), end: end < 0 ? at + 1 : end };
    length += size + 1;
    if (length > 254 || at + 1 + size > message.length) throw new BadMessage('a name is too long or cut');
    labels.push(message.latin1Slice(at + 1, at + 1 + size).toLowerCase().replace(/[.\\]/g, '\\$&'));
    at += size + 1;
  }
}

function skipName(message: Buffer, start: number): number {
  for (let at = start; ; ) {
    const size = message[at];
    if (size === undefined) throw new BadMessage('a name is cut');
    if (size === 0) return at + 1;
    if (size >= 0xc0) return at + 2;
    if (size > 63) throw new BadMessage('an unknown label type');
    at += size + 1;
  }
}

/** `www.example.com` -> its labels. */
export function labelsOf(name: string): string[] {
  if (name === '') return [];
  if (!name.includes('\\')) return name.split('.');
  return (name.match(/(?:\\.|[^.\\])+/g) ?? []).map((label) => label.replace(/\\(.)/g, '$1'));
}

/** A query for an upstream server: nothing of the client but its question and the wish for DNSSEC records. */
export function encodeQuery(id: number, question: Question, edns: { dnssecOk: boolean } | undefined): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  if (!edns) return Buffer.concat([header, question.wire]);
  header.writeUInt16BE(1, 10);
  return Buffer.concat([header, question.wire, optRecord(RCODE.ok, edns.dnssecOk, EDNS_SIZE)]);
}

/** A message of nothing but an error, for what could not be parsed. */
export function encodeError(id: number, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(RESPONSE | RECURSION_AVAILABLE | rcode, 2);
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
    RESPONSE |
      RECURSION_AVAILABLE |
      (query.opcode << 11) |
      (reply.authoritative ? AUTHORITATIVE : 0) |
      (truncated ? TRUNCATED : 0) |
      (query.recursionDesired ? RECURSION_DESIRED : 0) |
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
  const flags = walked.flags & ~(TRUNCATED | AUTHORITATIVE | RECURSION_DESIRED);
  message.writeUInt16BE(
    flags |
      RESPONSE |
      RECURSION_AVAILABLE |
      (whole ? 0 : TRUNCATED) |
      (query.recursionDesired ? RECURSION_DESIRED : 0),
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

/** 4 or 16 bytes. Throws RangeError. */
export function addressBytes(address: string): Buffer {
  if (!address.includes(':')) {
    const parts = address.split('.').map(Number);
    if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
      throw new RangeError(`not an IP address: ${address}`);
    return Buffer.from(parts);
  }
  const [head = '', tail] = address.split('::');
  const groups = (text: string): number[] =>
    text === ''
      ? []
      : text
          .split(':')
          .flatMap((group) =>
            group.includes('.') ? [...pairs(addressBytes(group))] : [Number.parseInt(group, 16)],
          );
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const filled =
    tail === undefined
      ? before
      : [...before, ...new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0), ...after];
  if (filled.length !== 8 || filled.some((group) => !(group >= 0 && group <= 0xffff)))
    throw new RangeError(`not an IP address: ${address}`);
  const bytes = Buffer.alloc(16);
  filled.forEach((group, index) => {
    bytes.writeUInt16BE(group, index * 2);
  });
  return bytes;
}

function* pairs(bytes: Buffer): Generator<number> {
  for (let at = 0; at < bytes.length; at += 2) yield bytes.readUInt16BE(at);
}
