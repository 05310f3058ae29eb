import { describe, expect, it } from 'vitest';
import { Ipam } from '../../../src/agent/network/ipam.ts';
import { contains, parsePrefix, toAddress, toNumber } from '../../../src/agent/network/ipv4.ts';

const at = (podCidr: string, restMs = 60_000) => {
  const time = { now: 0 };
  return { time, ipam: new Ipam({ podCidr, monotonic: () => time.now, restMs }) };
};

describe('Ipam', () => {
  it('gives addresses in order, never the network, bridge or broadcast address', () => {
    const { ipam } = at('10.42.3.0/29');
    expect(ipam.gateway).toBe('10.42.3.1');
    const given = ['a', 'b', 'c', 'd', 'e'].map((owner) => ipam.allocate(owner));
    expect(given).toEqual(['10.42.3.2', '10.42.3.3', '10.42.3.4', '10.42.3.5', '10.42.3.6']);
    expect(() => ipam.allocate('f')).toThrow(expect.objectContaining({ code: 'AddressesExhausted' }));
  });

  it('gives an owner the address it has', () => {
    const { ipam } = at('10.42.0.0/24');
    expect(ipam.allocate('a')).toBe(ipam.allocate('a'));
  });

  it('lets a released address rest although it is the only free one before the cursor', () => {
    const { ipam, time } = at('10.42.0.0/29');
    for (const owner of ['a', 'b', 'c']) ipam.allocate(owner);
    ipam.release('a');
    expect(ipam.allocate('d')).toBe('10.42.0.5');
    expect(ipam.allocate('e')).toBe('10.42.0.6');
    time.now = 60_000;
    expect(ipam.allocate('f')).toBe('10.42.0.2');
  });

  it('uses the longest rested address early rather than refuse a pod', () => {
    const { ipam, time } = at('10.42.0.0/29');
    for (const owner of ['a', 'b', 'c', 'd', 'e']) ipam.allocate(owner);
    ipam.release('d');
    time.now = 5;
    ipam.release('b');
    expect(ipam.allocate('f')).toBe('10.42.0.5');
    expect(ipam.allocate('g')).toBe('10.42.0.3');
  });

  it('takes back living pods’ addresses and goes on behind them', () => {
    const { ipam } = at('10.42.0.0/24');
    expect(ipam.reserve('a', '10.42.0.9')).toBe(true);
    expect(ipam.reserve('a', '10.42.0.9')).toBe(true);
    expect(ipam.reserve('b', '10.42.0.9')).toBe(false);
    expect(ipam.reserve('b', '10.42.1.9')).toBe(false);
    expect(ipam.reserve('b', '10.42.0.1')).toBe(false);
    expect(ipam.allocate('c')).toBe('10.42.0.10');
    expect(ipam.allocate('a')).toBe('10.42.0.9');
  });

  it('refuses a CIDR without room', () => {
    expect(() => at('10.42.0.0/31')).toThrow(/no room/);
    expect(() => at('10.42.0.0')).toThrow(RangeError);
  });
});

describe('IPv4', () => {
  it('reads and writes addresses and prefixes beyond 127.255.255.255', () => {
    expect(toAddress(toNumber('203.0.113.7'))).toBe('203.0.113.7');
    expect(parsePrefix('192.168.77.9/24')).toEqual({ base: toNumber('192.168.77.0'), length: 24 });
    expect(contains(parsePrefix('192.168.0.0/16'), '192.168.255.255')).toBe(true);
    expect(contains(parsePrefix('192.168.0.0/16'), '192.169.0.0')).toBe(false);
    expect(contains(parsePrefix('0.0.0.0/0'), '255.255.255.255')).toBe(true);
    expect(() => toNumber('1.2.3.256')).toThrow(RangeError);
  });
});
