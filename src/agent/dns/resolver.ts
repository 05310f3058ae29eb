import { encodeError, encodeReply, relay } from './encode.ts';
import {
  BadMessage,
  CLASS_ANY,
  CLASS_IN,
  type DnsRecord,
  labelsOf,
  parseQuery,
  peek,
  type Query,
  type Question,
  RCODE,
  type Reply,
  readName,
  TYPE,
  walk,
} from './message.ts';
import type { ClusterZone, Lookup } from './zone.ts';

const BAD_VERSION = 16;
/** Whole zones are not given away. */
const TRANSFERS: ReadonlySet<number> = new Set([251, 252]);
/** RFC 1035 and 2782: names in their data may point into the message they came in. */
const HOLDS_NAMES: ReadonlySet<number> = new Set([
  2, 3, 4, 6, 7, 8, 9, 12, 14, 15, 17, 18, 21, 26, 33, 35, 36, 39,
]);

export interface ResolverOptions {
  zone: () => ClusterZone | undefined;
  /** False while not all Services are known: then nobody is told that a name does not exist. */
  complete: () => boolean;
  /** Uniform in [0, 1): addresses are given in another order each time, so that clients spread over them. */
  random: () => number;
  forward: (
    query: Pick<Query, 'question' | 'edns'>,
  ) => Promise<{ answer: Buffer; ageSeconds: number } | undefined>;
}

/**
 * The answer to one message, in at most `limitOf` bytes; undefined for what is not worth one. Never rejects.
 */
export async function answerTo(
  message: Buffer,
  options: ResolverOptions,
  limitOf: (query: Query) => number,
): Promise<Buffer | undefined> {
  const header = peek(message);
  if (!header?.isQuery) return undefined;
  let query: Query;
  try {
    query = parseQuery(message);
  } catch (error) {
    if (!(error instanceof BadMessage)) throw error;
    return encodeError(header.id, RCODE.formatError);
  }
  const limit = limitOf(query);
  const refusal = refusalOf(query);
  if (refusal !== undefined) return encodeReply(query, failure(refusal), limit);
  const zone = options.zone();
  const found = zone?.lookup(query.question);
  if (!found) return encodeReply(query, failure(RCODE.serverFailure), limit);
  if (found.kind === 'foreign') {
    if (!query.recursionDesired) return encodeReply(query, failure(RCODE.refused), limit);
    const reached = await options.forward(query);
    return reached
      ? relay(reached.answer, query, reached.ageSeconds, limit)
      : encodeReply(query, failure(RCODE.serverFailure), limit);
  }
  return encodeReply(query, await replyOf(query, found, options), limit);
}

function refusalOf({ opcode, edns, question }: Query): number | undefined {
  if (edns && edns.version > 0) return BAD_VERSION;
  if (opcode !== 0) return RCODE.notImplemented;
  if (question.class !== CLASS_IN && question.class !== CLASS_ANY) return RCODE.refused;
  return TRANSFERS.has(question.type) ? RCODE.refused : undefined;
}

async function replyOf(
  query: Query,
  found: Exclude<Lookup, { kind: 'foreign' }>,
  options: ResolverOptions,
): Promise<Reply> {
  switch (found.kind) {
    case 'records':
      return {
        ...failure(RCODE.ok),
        authoritative: true,
        answers: rotated(found.answers, options.random()),
        additional: found.additional,
      };
    case 'nodata':
    case 'nxdomain': {
      if (!options.complete()) return failure(RCODE.serverFailure);
      const rcode = found.kind === 'nxdomain' ? RCODE.nameError : RCODE.ok;
      return { ...failure(rcode), authoritative: true, authority: found.authority };
    }
    case 'outside': {
      const wire = questionWire(found.target, query.question.type);
      const question: Question = { name: found.target, type: query.question.type, class: CLASS_IN, wire };
      const reached = await options.forward({ question });
      if (!reached) return failure(RCODE.serverFailure);
      const { rcode } = walk(reached.answer);
      return {
        ...failure(rcode === RCODE.nameError ? RCODE.ok : rcode),
        authoritative: true,
        answers: [...found.answers, ...answersOf(reached)],
      };
    }
  }
}

/** The addresses begin at another one each time; a chain of CNAMEs stays before them. */
function rotated(answers: readonly DnsRecord[], random: number): DnsRecord[] {
  const first = answers.findIndex(({ data }) => data.type === 'A' || data.type === 'AAAA');
  if (first < 0) return [...answers];
  const addresses = answers.slice(first);
  const start = Math.floor(random * addresses.length);
  return [...answers.slice(0, first), ...addresses.slice(start), ...addresses.slice(0, start)];
}

/** A reply with nothing in it. */
function failure(rcode: number): Reply {
  return { rcode, authoritative: false, answers: [], authority: [], additional: [] };
}

/** The answer section of an upstream answer, as records that can be put into another message. */
function answersOf({ answer, ageSeconds }: { answer: Buffer; ageSeconds: number }): DnsRecord[] {
  return walk(answer).records.flatMap((record): DnsRecord[] => {
    if (record.section !== 'answer' || record.class !== CLASS_IN) return [];
    const { name } = readName(answer, record.start);
    const ttl = Math.max(0, record.ttl - ageSeconds);
    if (record.type === TYPE.CNAME) {
      return [{ name, ttl, data: { type: 'CNAME', target: readName(answer, record.dataAt).name } }];
    }
    if (HOLDS_NAMES.has(record.type)) return [];
    const bytes = Buffer.from(answer.subarray(record.dataAt, record.end));
    return [{ name, ttl, data: { type: 'raw', number: record.type, bytes } }];
  });
}

function questionWire(name: string, type: number): Buffer {
  const labels = labelsOf(name).map((label) => {
    const bytes = Buffer.from(label, 'latin1');
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  return Buffer.concat([...labels, Buffer.from([0, type >> 8, type & 255, 0, CLASS_IN])]);
}
