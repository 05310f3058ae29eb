const BLOCK = 512;

/** A ustar archive of plain files owned by root, dated 1970, so that equal content gives equal bytes. */
export function tarOf(files: readonly { name: string; mode: number; data: Buffer }[]): Buffer {
  const parts: Buffer[] = [];
  for (const file of files) {
    const padding = Buffer.alloc((BLOCK - (file.data.length % BLOCK)) % BLOCK);
    parts.push(header(file.name, file.mode, file.data.length), file.data, padding);
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

function header(name: string, mode: number, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  };
  block.write(name, 0, 'latin1');
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  // The checksum counts its own field as spaces.
  block.fill(' ', 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
