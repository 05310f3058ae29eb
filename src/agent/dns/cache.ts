import type { Query } from './message.ts';
import { TYPE, walk } from './message.ts';

const MOST_ENTRIES = 2000;
const MOST_BYTES = 512 * 1024;
const LONGEST_SECONDS = 3600;
const LONGEST_NEGATIVE_SECONDS = 300;
/** RFC 2308, 7.1: also a failure is remembered, so that a board without network does not ask for every packet. */
const FAILURE_SECONDS = 5;
/** RFC 8767: an old answer is better than none while the upstream servers do not answer. */
const STALE_SECONDS = 86_400;
const STALE_TTL = 30;

interface Entry {
  answer: Buffer;
  storedAt: number;
  /** Seconds. */
  lifetime: number;
}

/** Answers of upstream servers by question, the least recently used dropped first. Time is the monotonic clock's. */
export class AnswerCache {
  private readonly monotonic: () => number;
  private readonly entries = new Map<string, Entry>();
  private readonly failures = new Map<string, number>();
  private bytes = 0;

  constructor(options: { monotonic: () => number }) {
    this.monotonic = options.monotonic;
  }

  /** `stale`: only a fresh one is wanted otherwise. */
  get(key: string, options: { stale?: boolean } = {}): { answer: Buffer; ageSeconds: number } | undefined {
    const entry = this.entries.get(key);
    if (!entry) return undefined;
    const age = Math.floor((this.monotonic() - entry.storedAt) / 1000);
    if (age >= entry.lifetime + STALE_SECONDS) {
      this.drop(key, entry);
      return undefined;
    }
    if (age >= entry.lifetime && !options.stale) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    // What is stale lives on for STALE_TTL at the client.
    return {
      answer: entry.answer,
      ageSeconds: age < entry.lifetime ? age : Math.max(0, entry.lifetime - STALE_TTL),
    };
  }

  put(key: string, answer: Buffer): void {
    this.failures.delete(key);
    const lifetime = lifetimeOf(answer);
    const old = this.entries.get(key);
    if (old) this.drop(key, old);
    if (lifetime <= 0 || answer.length > MOST_BYTES / 8) return;
    this.entries.set(key, { answer, storedAt: this.monotonic(), lifetime });
    this.bytes += answer.length + key.length;
    for (const [oldest, entry] of this.entries) {
      if (this.entries.size <= MOST_ENTRIES && this.bytes <= MOST_BYTES) break;
      this.drop(oldest, entry);
    }
  }

  failed(key: string): void {
    this.failures.delete(key);
    this.failures.set(key, this.monotonic());
    for (const oldest of this.failures.keys()) {
      if (this.failures.size <= MOST_ENTRIES) break;
      this.failures.delete(oldest);
    }
  }

  hasFailed(key: string): boolean {
    const at = this.failures.get(key);
    if (at === undefined) return false;
    if (this.monotonic() - at < FAILURE_SECONDS * 1000) return true;
    this.failures.delete(key);
    return false;
  }

  get size(): number {
    return this.entries.size;
  }

  private drop(key: string, entry: Entry): void {
    this.entries.delete(key);
    this.bytes -= entry.answer.length + key.length;
  }
}

/** Seconds that an answer may be kept: its least TTL; a negative one by its SOA (RFC 2308), or not at all. */
export function lifetimeOf(answer: Buffer): number {
  const { rcode, records } = walk(answer);
  if (rcode !== 0 && rcode !== 3) return 0;
  const ttls = records.filter(({ type }) => type !== TYPE.OPT).map(({ ttl }) => (ttl > 0x7fffffff ? 0 : ttl));
  const positive = rcode === 0 && records.some(({ section }) => section === 'answer');
  if (positive) return Math.min(LONGEST_SECONDS, ...ttls);
  const soa = records.find(({ section, type }) => section === 'authority' && type === TYPE.SOA);
  if (!soa || soa.end - soa.dataAt < 20) return 0;
  return Math.min(LONGEST_NEGATIVE_SECONDS, answer.readUInt32BE(soa.end - 4), ...ttls);
}

/** Queries with one key may share an answer. */
export function cacheKey({ question, edns }: Pick<Query, 'question' | 'edns'>): string {
  const variant = edns ? (edns.dnssecOk ? 'd' : 'e') : '';
  return `${question.name}/${question.type}/${question.class}/${variant}`;
}
