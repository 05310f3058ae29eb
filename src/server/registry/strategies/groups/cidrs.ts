// Networks by address and prefix length, both families.
import { isCidr, isIpv4 } from '../addresses.ts';

export interface Network {
  readonly family: 4 | 6;
  readonly bits: number;
  /** The address as given, and the network it lies in. */
  readonly address: bigint;
  readonly base: bigint;
}

const WIDTH = { 4: 32, 6: 128 } as const;

/** Of text that isCidr accepts. */
export function parseCidr(text: string): Network {
  const slash = text.lastIndexOf('/');
  const address = text.slice(0, slash);
  const bits = Number(text.slice(slash + 1));
  const family = isIpv4(address) ? 4 : 6;
  const value = addressValue(address);
  const host = BigInt(WIDTH[family] - bits);
  return { family, bits, address: value, base: (value >> host) << host };
}

/** Of text that isIp accepts. */
export function addressValue(text: string): bigint {
  if (isIpv4(text)) {
    return text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  }
  return groupsOf(text).reduce((sum, group) => sum * 65_536n + BigInt(group), 0n);
}

function groupsOf(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const left = parts(head);
  if (tail === undefined) return left;
  const right = parts(tail);
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

function parts(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const value = Number(addressValue(part));
    return [Math.floor(value / 65_536), value % 65_536];
  });
}

/** `inner` is a smaller part of `outer`. */
export function isStrictlyWithin(inner: Network, outer: Network): boolean {
  if (inner.family !== outer.family || inner.bits <= outer.bits) return false;
  const host = BigInt(WIDTH[outer.family] - outer.bits);
  return inner.base >> host === outer.base >> host;
}

/** The one way of writing an IPv6 address [RFC 5952]; IPv4 has no other. */
export function canonicalAddress(text: string): string {
  if (isIpv4(text)) return text;
  const groups = groupsOf(text);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  return shorten(groups);
}

/** As Go prints a network: its base address and length. */
export function formatNetwork({ family, base, bits }: Network): string {
  return `${formatAddress(base, family)}/${bits}`;
}

function formatAddress(value: bigint, family: 4 | 6): string {
  const count = family === 4 ? 4 : 8;
  const size = family === 4 ? 8n : 16n;
  const units: number[] = [];
  for (let index = 0; index < count; index += 1) {
    units.unshift(Number((value >> (size * BigInt(index))) & ((1n << size) - 1n)));
  }
  return family === 4 ? units.join('.') : shorten(units);
}

/** The longest run of two zero groups or more becomes `::`, the first of equals. */
function shorten(groups: number[]): string {
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.length < 2) return hex.join(':');
  const left = hex.slice(0, best.start).join(':');
  return `${left}::${hex.slice(best.start + best.length).join(':')}`;
}

/** `10.0.0.1/8` may mean a host or a network. */
export function cidrWarnings(cidr: string, field: string): string[] {
  if (!isCidr(cidr)) return [];
  const network = parseCidr(cidr);
  if (network.address === network.base) return [];
  const length = network.family === 4 ? 32 : 128;
  const address = cidr.slice(0, cidr.lastIndexOf('/'));
  return [
    `${field}: CIDR value "${cidr}" is ambiguous in this context (should be "${formatNetwork(network)}" or "${address}/${length}"?)`,
  ];
}
