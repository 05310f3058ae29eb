import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressBytes, reverseName } from '../../../src/agent/dns/address.ts';
import { encodeReply } from '../../../src/agent/dns/encode.ts';
import { parseServer } from '../../../src/agent/dns/forwarder.ts';
import { BadMessage, labelsOf, parseQuery, readName, walk } from '../../../src/agent/dns/message.ts';
import { query } from '../../support/dns.ts';

describe('reading', () => {
  it('never fails but by BadMessage, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        const message = Buffer.concat([query('a.b', 'A').subarray(0, 12), Buffer.from(bytes)]);
        try {
          parseQuery(message);
        } catch (error) {
          expect(error).toBeInstanceOf(BadMessage);
        }
      }),
    );
  });

  it('follows no pointer forwards or to itself', () => {
    expect(() => readName(Buffer.from([0xc0, 0x00]), 0)).toThrow(BadMessage);
    expect(() => readName(Buffer.from([0xc0, 0x02, 0x00]), 0)).toThrow(BadMessage);
  });

  it('keeps a dot inside a label apart from one between labels', () => {
    const { name } = readName(Buffer.from('\x03a.b\x01c\x00', 'latin1'), 0);
    expect(name).toBe('a\\.b.c');
    expect(labelsOf(name)).toEqual(['a.b', 'c']);
  });
});

describe('writing', () => {
  it('writes a name once', () => {
    const asked = parseQuery(query('_http._tcp.web.default.svc.cluster.local', 'SRV'));
    const target = 'web.default.svc.cluster.local';
    const reply = encodeReply(
      asked,
      {
        rcode: 0,
        authoritative: true,
        answers: [
          { name: asked.question.name, ttl: 5, data: { type: 'CNAME', target } },
          { name: target, ttl: 5, data: { type: 'A', address: '10.3.0.1' } },
        ],
        authority: [],
        additional: [],
      },
      512,
    );
    const { records, questionEnd } = walk(reply);
    // Two bytes for each name: the question has them all.
    expect(reply.length - questionEnd).toBe(2 * (2 + 10) + 2 + 4);
    expect(readName(reply, records[0]?.dataAt ?? 0).name).toBe(target);
    expect(readName(reply, records[1]?.start ?? 0).name).toBe(target);
  });
});

it.each([
  ['10.43.0.1', '0a2b0001', '1.0.43.10.in-addr.arpa'],
  ['fd00::2', 'fd000000000000000000000000000002', `2.${'0.'.repeat(27)}0.0.d.f.ip6.arpa`],
  [
    '::ffff:1.2.3.4',
    '00000000000000000000ffff01020304',
    `4.0.3.0.2.0.1.0.f.f.f.f.${'0.'.repeat(20)}ip6.arpa`,
  ],
])('%s as bytes and as a reverse name', (ip, hex, name) => {
  expect(addressBytes(ip).toString('hex')).toBe(hex);
  expect(reverseName(ip)).toBe(name);
});

it.each(['1.2.3', '1.2.3.400', ':::1', '12345::', 'host'])('%s is no address', (text) => {
  expect(reverseName(text)).toBeUndefined();
});

it.each([
  ['1.1.1.1', '1.1.1.1', 53],
  ['1.1.1.1:5353', '1.1.1.1', 5353],
  ['2001:db8::1', '2001:db8::1', 53],
  ['[2001:db8::1]:5353', '2001:db8::1', 5353],
])('the server %s', (text, address, port) => {
  expect(parseServer(text)).toEqual({ address, port });
});
