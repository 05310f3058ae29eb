import { describe, expect, it } from 'vitest';
import { Ipam } from '../../../src/agent/network/ipam.ts';
import { contains, parsePrefix, toAddress, toNumber } from '../../../src/agent/network/ipv4.ts';

const at = (podCidr: string): Ipam => new Ipam({ podCidr });

describe('Ipam', () => {
  it('gives addresses in order, never the network, bridge or broadcast address', () => {
    const ipam = at('10.42.3.0/29');
    expect(ipam.gateway).toBe('10.42.3.1');
    const given = ['a', 'b', 'c', 'd', 'e'].map((owner) => ipam.allocate(owner));
    expect(given).toEqual(['10.42.3.2', '10.42.3.3', '10.42.3.4', '10.42.3.5', '10.42.3.6']);
    expect(() => ipam.allocate('f')).toThrow(expect.objectContaining({ code: 'AddressesExhausted' }));
  });

  it('gives an owner the address it has', () => {
    const ipam = at('10.42.0.0/24');
    expect(ipam.allocate('a')).toBe(ipam.allocate('a'));
  });

  it('gives a released address to others last, and then the one that was released first', () => {
    const ipam = at('10.42.0.0/29');
    for (const owner of ['a', 'b', 'c', 'd']) ipam.allocate(owner);
    ipam.release('c');
    ipam.release('a');
    expect(['e', 'f', 'g'].map((owner) => ipam.allocate(owner))).toEqual([
      '10.42.0.6',
      '10.42.0.4',
      '10.42.0.2',
    ]);
    expect(() => ipam.allocate('h')).toThrow(expect.objectContaining({ code: 'AddressesExhausted' }));
    // What was taken by somebody else in the meantime is lost.
    ipam.release('g');
    ipam.release('b');
    expect(ipam.allocate('a')).toBe('10.42.0.2');
  });

  it('gives an owner that comes back the address that it had', () => {
    const ipam = at('10.42.0.0/24');
    for (const owner of ['a', 'b', 'c']) ipam.allocate(owner);
    ipam.release('b');
    expect(ipam.allocate('d')).toBe('10.42.0.5');
    expect(ipam.allocate('b')).toBe('10.42.0.3');
  });

  it('keeps the addresses of before a power cut for those who had them', () => {
    const ipam = at('10.42.0.0/29');
    ipam.reserve('lives', '10.42.0.2');
    ipam.remember('web', '10.42.0.4');
    ipam.remember('other', '10.42.0.3');
    ipam.remember('elsewhere', '10.99.0.4');
    ipam.remember('late', '10.42.0.2');
    expect(ipam.allocate('new')).toBe('10.42.0.5');
    expect(ipam.allocate('late')).toBe('10.42.0.6');
    expect(ipam.allocate('other')).toBe('10.42.0.3');
    expect(ipam.allocate('web')).toBe('10.42.0.4');
  });

  it('takes back living pods’ addresses and goes on behind them', () => {
    const ipam = at('10.42.0.0/24');
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
