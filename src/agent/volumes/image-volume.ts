import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Pod, Volume } from '../../api/types/core-v1.ts';
import type { ImageEngine } from '../images/engine.ts';
import { ImageError, type ReadyImage } from '../images/image-manager.ts';
import { type Mounter, VolumeError } from './port.ts';

const run = promisify(execFile);
const MOUNT_TIMEOUT_MS = 20_000;
/** mount(2) takes one page of options. */
const LONGEST_OPTIONS = 4000;
/** What is left to others when an image has to be copied out. */
const SPARE_BYTES = 64 * 1024 * 1024;
/** What a container adds to its image. */
const NOT_OF_THE_IMAGE = ['.dockerenv', './.dockerenv'];

/**
 * Volumes whose content is an image (KEP-4639), read-only. The layers that the engine has unpacked already are mounted
 * over each other: nothing is copied, and the garbage collection keeps an image that a pod's volume names. Where the
 * engine's storage has no such layers (containerd's image store), the image is copied into the pod's directory.
 */
export class ImageVolumes {
  private readonly ensure: (pod: Pod, source: NonNullable<Volume['image']>) => Promise<ReadyImage>;
  private readonly engine: Pick<ImageEngine, 'layers' | 'export'>;
  private readonly mounter: Pick<Mounter, 'mountsBelow'>;

  constructor(options: {
    ensure: (pod: Pod, source: NonNullable<Volume['image']>) => Promise<ReadyImage>;
    engine: Pick<ImageEngine, 'layers' | 'export'>;
    mounter: Pick<Mounter, 'mountsBelow'>;
  }) {
    this.ensure = options.ensure;
    this.engine = options.engine;
    this.mounter = options.mounter;
  }

  /** Idempotent: what a pod has once been given stays, whatever becomes of the tag. Throws VolumeError. */
  async prepare(pod: Pod, volume: Volume, directory: string): Promise<void> {
    if (
      (await this.mounter.mountsBelow(directory)).includes(directory) ||
      (await exists(copied(directory)))
    ) {
      return;
    }
    try {
      const image = await this.ensure(pod, volume.image ?? {});
      const layers = await this.engine.layers(image.id);
      await mkdir(directory, { recursive: true, mode: 0o755 });
      if (layers && (await mountLayers(directory, layers))) return;
      await this.copy(image, directory);
    } catch (error) {
      if (error instanceof ImageError)
        throw new VolumeError(volume.name, `${error.reason}: ${error.message}`, { costly: true });
      throw new VolumeError(volume.name, (error as Error).message, { costly: true });
    }
  }

  private async copy(image: ReadyImage, directory: string): Promise<void> {
    const { bavail, bsize } = await statfs(directory);
    if (bavail * bsize < image.sizeBytes + SPARE_BYTES) {
      throw new Error(
        `no room to copy the image: it has ${image.sizeBytes} bytes, the disk ${bavail * bsize} left`,
      );
    }
    // One that was begun by an agent before this one.
    const part = `${directory}.part`;
    await rm(part, { recursive: true, force: true });
    await mkdir(part, { recursive: true, mode: 0o755 });
    const { tar, done } = await this.engine.export(image.id);
    try {
      const excluded = NOT_OF_THE_IMAGE.map((name) => `--exclude=${name}`);
      const child = spawn('tar', ['-x', '-p', '--numeric-owner', ...excluded, '-C', part], {
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      let words = '';
      child.stderr.on('data', (chunk: Buffer) => {
        words = (words + chunk.toString()).slice(0, 1024);
      });
      child.stdin.on('error', () => {});
      tar.on('error', (error) => child.stdin.destroy(error));
      tar.pipe(child.stdin);
      const [code] = (await once(child, 'close')) as [number | null];
      if (code !== 0) throw new Error(`the image could not be unpacked: ${words.trim() || `tar ${code}`}`);
    } finally {
      tar.destroy();
      await done();
    }
    await rm(directory, { recursive: true, force: true });
    await rename(part, directory);
    await mkdir(copied(directory));
  }
}

/** Marks a copy that is whole, beside it. */
function copied(directory: string): string {
  return `${directory}.copied`;
}

/** False when there are more layers than one mount can name. */
async function mountLayers(target: string, layers: readonly string[]): Promise<boolean> {
  const [only, ...more] = layers;
  if (only !== undefined && more.length === 0) {
    await mount(['--bind', only, target]);
    await mount(['-o', 'remount,bind,ro', target]);
    return true;
  }
  const options = `ro,lowerdir=${(await Promise.all(layers.map(shortName))).join(':')}`;
  if (options.length > LONGEST_OPTIONS) return false;
  await mount(['-t', 'overlay', '-o', options, 'overlay', target]);
  return true;
}

/** Docker keeps a short link for each layer, for the same page of options. */
async function shortName(layer: string): Promise<string> {
  const directory = dirname(layer);
  const link = await readFile(join(directory, 'link'), 'utf8').catch(() => undefined);
  return link === undefined ? layer : join(dirname(directory), 'l', link.trim());
}

async function mount(args: string[]): Promise<void> {
  await run('mount', args, { timeout: MOUNT_TIMEOUT_MS });
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
