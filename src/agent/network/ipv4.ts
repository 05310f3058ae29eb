/** An IPv4 prefix as numbers. */
export interface Prefix {
  /** The network's first address. */
  base: number;
  length: number;
}

export function isIPv4(text: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(text) && text.split('.').every((part) => Number(part) <= 255);
}

/** The address as an unsigned 32-bit number. Throws RangeError. */
export function toNumber(address: string): number {
  if (!isIPv4(address)) throw new RangeError(`not an IPv4 address: ${JSON.stringify(address)}`);
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** `10.42.0.0/24`; the bits behind the prefix are ignored. Throws RangeError. */
export function parsePrefix(cidr: string): Prefix {
  const [address = '', bits = ''] = cidr.split('/');
  const length = Number(bits);
  if (!/^\d{1,2}$/.test(bits) || length > 32)
    throw new RangeError(`not an IPv4 CIDR: ${JSON.stringify(cidr)}`);
  const value = toNumber(address);
  return { base: value - (value % size({ base: 0, length })), length };
}

export function size(prefix: Prefix): number {
  return 2 ** (32 - prefix.length);
}

export function contains(prefix: Prefix, address: string): boolean {
  if (!isIPv4(address)) return false;
  const value = toNumber(address);
  return value >= prefix.base && value < prefix.base + size(prefix);
}
