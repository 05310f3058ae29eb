/** Architectures whose programs a board runs besides its own: by GOARCH, as the engine chooses among an index's entries. */
const ALSO_RUNS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['386'],
  arm64: ['arm'],
};

/** Names of the kernel's registered interpreters (binfmt_misc), as qemu-user-static gives them, by GOARCH. */
const EMULATORS: Readonly<Record<string, string>> = {
  amd64: 'qemu-x86_64',
  arm64: 'qemu-aarch64',
  arm: 'qemu-arm',
  '386': 'qemu-i386',
  riscv64: 'qemu-riscv64',
  ppc64le: 'qemu-ppc64le',
  s390x: 'qemu-s390x',
};

/** Does a board of architecture `board` run programs of `image`? `interpreters`: what its kernel has registered. */
export function runsOn(board: string, image: string, interpreters: readonly string[]): boolean {
  // Images made by hand may not say.
  if (image === '' || image === board) return true;
  if (ALSO_RUNS[board]?.includes(image)) return true;
  const emulator = EMULATORS[image];
  return emulator !== undefined && interpreters.includes(emulator);
}

export function wrongArchitecture(image: string, board: string, madeFor?: readonly string[]): string {
  const has = madeFor && madeFor.length > 0 ? `is made for ${madeFor.join(', ')}, not` : 'is not made';
  return `image "${image}" ${has} for this node's CPU architecture ${board}`;
}

const ELF_MAGIC = 0x7f454c46;
/** e_machine of the ELF header to GOARCH. */
const MACHINES: Readonly<Record<number, string>> = {
  3: '386',
  21: 'ppc64le',
  22: 's390x',
  40: 'arm',
  62: 'amd64',
  183: 'arm64',
  243: 'riscv64',
};

/** The architecture of a program, by its first 20 bytes; undefined when it is no ELF file (a script) or an unknown one. */
export function programArchitecture(head: Buffer): string | undefined {
  if (head.length < 20 || head.readUInt32BE(0) !== ELF_MAGIC) return undefined;
  const bigEndian = head[5] === 2;
  return MACHINES[bigEndian ? head.readUInt16BE(18) : head.readUInt16LE(18)];
}
