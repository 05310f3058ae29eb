import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { BadArchive, compressionOf } from './archive-names.ts';
import { type OciDescriptor, toDockerManifest } from './oci-layout.ts';
import { padding, parseTarHeader, TAR_BLOCK, type TarHeader } from './tar.ts';

export interface ArchiveContent {
  /** sha256 of the file. */
  digest: string;
  /** What has to be put in front as `manifest.json` before an engine that knows docker-save only can read it. */
  manifest?: Buffer;
}

/** Documents of an OCI layout are small; blobs above this are layers. */
const LARGEST_DOCUMENT = 1024 * 1024;
const MOST_DOCUMENTS_BYTES = 16 * 1024 * 1024;

/** The file's bytes, unpacked unless the engine can do that itself. */
export function openArchive(
  path: string,
  options: { unpack: boolean; onBytes?: (chunk: Buffer) => void },
): Readable {
  const file = createReadStream(path);
  if (options.onBytes) file.on('data', (chunk) => options.onBytes?.(chunk as Buffer));
  const compression = compressionOf(path);
  if (compression === 'zstd') return piped(file, unzstd(file));
  if (compression === 'gzip' && options.unpack) return piped(file, file.pipe(zlib.createGunzip()));
  return file;
}

/** Reads the whole file once, to know what it is before anything is given to the engine. Throws BadArchive. */
export async function readArchive(path: string, architecture: string): Promise<ArchiveContent> {
  const hash = createHash('sha256');
  const stream = openArchive(path, { unpack: true, onBytes: (chunk) => hash.update(chunk) });
  const documents = new Map<string, Buffer>();
  try {
    await walk(stream, documents);
  } catch (error) {
    if (error instanceof BadArchive) throw error;
    throw new BadArchive((error as Error).message);
  } finally {
    stream.destroy();
  }
  const digest = hash.digest('hex');
  if (documents.has('manifest.json')) return { digest };
  const index = documents.get('index.json');
  if (!index || !documents.has('oci-layout')) {
    throw new BadArchive(
      'neither an archive of docker save nor an OCI layout: it has no manifest.json and no index.json',
    );
  }
  const document = (descriptor: OciDescriptor): unknown => {
    const blob = documents.get(blobPath(descriptor.digest ?? ''));
    return blob && parse(blob, descriptor.digest ?? '');
  };
  const manifest = toDockerManifest(parse(index, 'index.json'), { document, architecture });
  if (manifest.length === 0) throw new BadArchive(`its index has no image for linux/${architecture}`);
  return { digest, manifest: Buffer.from(JSON.stringify(manifest)) };
}

export function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** Keeps the small files that may be documents; passes over the rest. */
async function walk(stream: AsyncIterable<Buffer>, documents: Map<string, Buffer>): Promise<void> {
  let pending: Buffer = Buffer.alloc(0);
  let skip = 0;
  let kept = 0;
  let ended = false;
  let wanted: { header: TarHeader; chunks: Buffer[]; left: number } | undefined;
  for await (const chunk of stream) {
    let data: Buffer = pending.length > 0 ? Buffer.concat([pending, chunk]) : chunk;
    pending = Buffer.alloc(0);
    while (data.length > 0 && !ended) {
      if (wanted) {
        const part = data.subarray(0, wanted.left);
        wanted.chunks.push(part);
        wanted.left -= part.length;
        data = data.subarray(part.length);
        if (wanted.left > 0) continue;
        documents.set(plainName(wanted.header.name), Buffer.concat(wanted.chunks));
        skip = padding(wanted.header.size);
        wanted = undefined;
        continue;
      }
      if (skip > 0) {
        const passed = Math.min(skip, data.length);
        skip -= passed;
        data = data.subarray(passed);
        continue;
      }
      if (data.length < TAR_BLOCK) {
        pending = data;
        break;
      }
      const block = data.subarray(0, TAR_BLOCK);
      data = data.subarray(TAR_BLOCK);
      if (block.every((byte) => byte === 0)) {
        ended = true;
        break;
      }
      const header = parseTarHeader(block);
      if (!header) throw new BadArchive('not a tar archive, or a damaged one');
      if (header.type === 'file' && header.size > 0 && isDocument(header)) {
        kept += header.size;
        if (kept > MOST_DOCUMENTS_BYTES) throw new BadArchive('more documents than an image archive has');
        wanted = { header, chunks: [], left: header.size };
      } else {
        skip = header.size + padding(header.size);
      }
    }
  }
  if (wanted || skip > 0 || (pending.length > 0 && !ended))
    throw new BadArchive('it ends in the middle of a file');
}

function isDocument({ name, size }: TarHeader): boolean {
  if (size > LARGEST_DOCUMENT) return false;
  const plain = plainName(name);
  return (
    plain === 'manifest.json' ||
    plain === 'index.json' ||
    plain === 'oci-layout' ||
    plain.startsWith('blobs/')
  );
}

function plainName(name: string): string {
  return name.replace(/^\.\//, '');
}

function parse(blob: Buffer, name: string): unknown {
  try {
    return JSON.parse(blob.toString('utf8')) as unknown;
  } catch {
    throw new BadArchive(`${name} is not JSON`);
  }
}

/** The end of `from` ends `to` as well, its error included. */
function piped(from: Readable, to: Readable): Readable {
  from.on('error', (error) => to.destroy(error));
  to.on('close', () => from.destroy());
  return to;
}

function unzstd(file: Readable): Readable {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream & Readable };
  if (createZstdDecompress) return file.pipe(createZstdDecompress());
  // This Node is older than 22.15.
  const child: ChildProcess = spawn('zstd', ['-dcq'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new BadArchive('zstd could not be started');
  child.on('error', () =>
    stdout.destroy(
      new BadArchive(
        'it is compressed with zstd, and the program zstd is not there (Debian: apt install zstd)',
      ),
    ),
  );
  child.on('exit', (code) => {
    if (code !== 0) stdout.destroy(new BadArchive('zstd cannot read it'));
  });
  stdin.on('error', () => {});
  file.pipe(stdin);
  stdout.on('close', () => child.kill('SIGKILL'));
  return stdout;
}
