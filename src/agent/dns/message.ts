// DNS messages (RFC 1035, 6891): just what this server needs. dns-packet from npm does not compress names when it
// writes, so that far fewer endpoints would fit into the 512 bytes that most containers' resolvers take; and answers of
// upstream servers are passed on as they came, which needs only a walk over them, not a model of every record type.

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const;
export const CLASS_IN = 1;
export const CLASS_ANY = 255;
export const RCODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;
/** RFC 6891: the size that crosses every network unfragmented. */
export const EDNS_SIZE = 1232;
export const PLAIN_UDP_SIZE = 512;
export const HEADER_BYTES = 12;

export const FLAG = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
} as const;

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
  return { id: message.readUInt16BE(0), isQuery: (message.readUInt16BE(2) & FLAG.response) === 0 };
}

/** Throws BadMessage. */
export function parseQuery(message: Buffer): Query {
  const walked = walk(message);
  const query: Query = {
    id: message.readUInt16BE(0),
    opcode: (walked.flags >> 11) & 15,
    recursionDesired: (walked.flags & FLAG.recursionDesired) !== 0,
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
    truncated: (flags & FLAG.truncated) !== 0,
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
    labels.push(
      message
        .toString('latin1', at + 1, at + 1 + size)
        .toLowerCase()
        .replace(/[.\\]/g, '\\$&'),
    );
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
