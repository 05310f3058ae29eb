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

/** `1.0.43.10.in-addr.arpa`, or undefined for what is no address. */
export function reverseName(ip: string): string | undefined {
  try {
    const bytes = [...addressBytes(ip)].reverse();
    if (bytes.length === 4) return `${bytes.join('.')}.in-addr.arpa`;
    const nibbles = bytes.flatMap((byte) => [byte & 15, byte >> 4].map((nibble) => nibble.toString(16)));
    return `${nibbles.join('.')}.ip6.arpa`;
  } catch {
    return undefined;
  }
}
