import { describe, expect, it } from 'vitest';
import { AnswerCache, lifetimeOf } from '../../../src/agent/dns/cache.ts';
import { encodeReply, relay } from '../../../src/agent/dns/encode.ts';
import { type DnsRecord, parseQuery, RCODE, walk } from '../../../src/agent/dns/message.ts';
import { query } from '../../support/dns.ts';

const asked = parseQuery(query('a.example.com', 'A'));
const address = (ttl: number): DnsRecord => ({
  name: 'a.example.com',
  ttl,
  data: { type: 'A', address: '192.0.2.1' },
});
const soa = (ttl: number, minimum: number): DnsRecord => ({
  name: 'example.com',
  ttl,
  data: {
    type: 'SOA',
    primary: 'ns.example.com',
    mailbox: 'root.example.com',
    serial: 1,
    refresh: 1,
    retry: 1,
    expire: 1,
    minimum,
  },
});
const answer = (answers: DnsRecord[], authority: DnsRecord[] = [], rcode: number = RCODE.ok): Buffer =>
  encodeReply(asked, { rcode, authoritative: false, answers, authority, additional: [] }, 65_535);

describe('lifetimeOf', () => {
  it.each([
    ['the least TTL', answer([address(300), address(20)]), 20],
    ['never longer than an hour', answer([address(86_400)]), 3600],
    ['not at all', answer([address(0)]), 0],
    ['a denial by its SOA', answer([], [soa(90, 60)], RCODE.nameError), 60],
    ['a denial by the SOA’s own TTL', answer([], [soa(10, 60)]), 10],
    ['a denial without SOA: not', answer([], [], RCODE.nameError), 0],
    ['a failure: not', answer([], [], RCODE.serverFailure), 0],
  ])('%s', (_what, message, seconds) => {
    expect(lifetimeOf(message)).toBe(seconds);
  });
});

describe('AnswerCache', () => {
  let now = 0;
  const cache = new AnswerCache({ monotonic: () => now });

  it('ages what it gives, and gives what is old only when asked to', () => {
    cache.put('k', answer([address(100)]));
    now += 40_000;
    const held = cache.get('k');
    expect(held?.ageSeconds).toBe(40);
    expect(walk(relay(held?.answer as Buffer, asked, 40, 512)).records[0]?.ttl).toBe(60);
    now += 60_000;
    expect(cache.get('k')).toBeUndefined();
    const stale = cache.get('k', { stale: true });
    // Thirty seconds are left to it.
    expect(100 - (stale?.ageSeconds ?? 0)).toBe(30);
    now += 2 * 86_400_000;
    expect(cache.get('k', { stale: true })).toBeUndefined();
  });

  it('remembers a failure for five seconds, or until an answer came', () => {
    cache.failed('f');
    expect(cache.hasFailed('f')).toBe(true);
    now += 5_000;
    expect(cache.hasFailed('f')).toBe(false);
    cache.failed('f');
    cache.put('f', answer([address(1)]));
    expect(cache.hasFailed('f')).toBe(false);
  });

  it('is bounded, and keeps what was used last', () => {
    cache.put('used', answer([address(3600)]));
    for (let index = 0; index < 5000; index += 1) {
      cache.put(`n${index}`, answer([address(3600)]));
      cache.get('used');
    }
    expect(cache.size).toBeLessThanOrEqual(2000);
    expect(cache.get('used')).toBeDefined();
    expect(cache.get('n0')).toBeUndefined();
  });
});
