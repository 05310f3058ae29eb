/** The file is no image archive that can be loaded; the message says why. */
export class BadArchive extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BadArchive';
  }
}

type Compression = 'none' | 'gzip' | 'zstd';
const ENDINGS: readonly [RegExp, Compression][] = [
  [/\.tar$/, 'none'],
  [/\.(tar\.gz|tgz)$/, 'gzip'],
  [/\.(tar\.zst|tzst)$/, 'zstd'],
];

/** How the file is compressed, by its name; undefined: not an archive. */
export function compressionOf(name: string): Compression | undefined {
  return ENDINGS.find(([pattern]) => pattern.test(name))?.[1];
}
