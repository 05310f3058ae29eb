export const TAR_BLOCK = 512;

export interface TarHeader {
  name: string;
  size: number;
  type: 'file' | 'link' | 'directory' | 'long-name' | 'pax' | 'other';
  /** Of a link. */
  target: string;
}

const TYPES: Readonly<Record<string, TarHeader['type']>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '2': 'link',
  '5': 'directory',
  L: 'long-name',
  x: 'pax',
};

/** The header in a block, undefined when its checksum is not that of one. */
export function parseTarHeader(block: Buffer): TarHeader | undefined {
  if (block.length < TAR_BLOCK) return undefined;
  const stored = octal(block, 148, 8);
  let sum = 0;
  for (let index = 0; index < TAR_BLOCK; index += 1) {
    sum += index >= 148 && index < 156 ? 0x20 : (block[index] ?? 0);
  }
  if (stored !== sum) return undefined;
  const prefix = block.toString('latin1', 257, 262) === 'ustar' ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    size: size(block),
    type: TYPES[String.fromCharCode(block[156] ?? 0)] ?? 'other',
    target: text(block, 157, 100),
  };
}

export function padding(bytes: number): number {
  return (TAR_BLOCK - (bytes % TAR_BLOCK)) % TAR_BLOCK;
}

/** Sizes of 8 GiB and more are written in binary. */
function size(block: Buffer): number {
  if (((block[124] ?? 0) & 0x80) === 0) return octal(block, 124, 12);
  return Number(block.readBigUInt64BE(128));
}

function octal(block: Buffer, offset: number, length: number): number {
  const digits = block.toString('latin1', offset, offset + length).replace(/[\0 ]/g, '');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function text(block: Buffer, offset: number, length: number): string {
  const end = block.indexOf(0, offset);
  return block.toString('utf8', offset, end < 0 || end > offset + length ? offset + length : end);
}
