import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { tarOf } from '../docker/pause/tar.ts';
import type { Journal } from '../journal.ts';
import { type ContainerRuntime, RuntimeError } from '../runtime.ts';
import { BadArchive, compressionOf } from './archive-names.ts';
import type { ArchiveContent } from './archive-reader.ts';
import type { ImageEngine } from './engine.ts';
import { TAR_BLOCK } from './tar.ts';

/** A file that has not changed for so long is whole. */
const SETTLED_MS = 2_000;
/** inotify may be missing (some network file systems), and its queue may overflow. */
const RESCAN_MS = 60_000;
/** An engine that does not answer is asked again soon. */
const RETRY_MS = 5_000;

/** What the journal keeps of an archive, by its file name. */
interface LoadedArchive {
  /** Size and time of the file. */
  signature: string;
  /** sha256 of its content; of a bad one too, so that it is not read again at each start. */
  digest: string;
  /** Image id by name; the name of a nameless image is its id. */
  images: Record<string, string>;
  problem?: string;
}

/**
 * `<data>/images`: archives that are loaded into the engine, at the start and when they are put there. Each content once;
 * an image that was removed from the engine comes back with the next start of the agent.
 */
export class ImageArchives implements Service {
  private readonly directory: string;
  private readonly engine: Pick<ImageEngine, 'load'>;
  private readonly runtime: Pick<ContainerRuntime, 'inspectImage'>;
  private readonly architecture: string;
  private readonly journal: Pick<Journal, 'take' | 'put' | 'delete'>;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly onLoaded: (images: { name: string; architecture: string }[]) => void;
  private readonly onBad: (message: string) => void;
  private readonly settling = new Map<string, { signature: string; since: number }>();
  private readonly checked = new Set<string>();
  private readonly abort = new AbortController();
  private held: Map<string, LoadedArchive> | undefined;
  private watcher: FSWatcher | undefined;
  private timer: Timer | undefined;
  private scanning: Promise<void> | undefined;
  private again = false;

  constructor(options: {
    /** Made when it is missing. */
    directory: string;
    engine: Pick<ImageEngine, 'load'>;
    runtime: Pick<ContainerRuntime, 'inspectImage'>;
    /** GOARCH: which image of several is taken. */
    architecture: string;
    journal: Pick<Journal, 'take' | 'put' | 'delete'>;
    clock: Clock;
    logger: Logger;
    onLoaded: (images: { name: string; architecture: string }[]) => void;
    /** A file that cannot be loaded, once for each content. */
    onBad: (message: string) => void;
  }) {
    this.directory = options.directory;
    this.engine = options.engine;
    this.runtime = options.runtime;
    this.architecture = options.architecture;
    this.journal = options.journal;
    this.clock = options.clock;
    this.logger = options.logger;
    this.onLoaded = options.onLoaded;
    this.onBad = options.onBad;
  }

  /** Returns at once; the loading goes on beside the start of the pods. */
  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o755 });
    try {
      this.watcher = watch(this.directory, { persistent: false }, () => this.poke());
      this.watcher.on('error', () => {});
    } catch (error) {
      this.logger.warn({ error: (error as Error).message }, 'the folder of image archives is not watched');
    }
    this.poke();
  }

  async stop(): Promise<void> {
    this.abort.abort(new Error('the agent is being stopped'));
    this.watcher?.close();
    this.timer?.cancel();
    await this.scanning;
    this.timer?.cancel();
  }

  /** Ids of the images that archives in the folder hold: to be kept, since no registry may bring them back. */
  pinned(): ReadonlySet<string> {
    return new Set([...this.records.values()].flatMap(({ images }) => Object.values(images)));
  }

  /** Looks at the folder, now; one look at a time, and one more if something happened meanwhile. */
  poke(): void {
    if (this.abort.signal.aborted) return;
    if (this.scanning) {
      this.again = true;
      return;
    }
    this.timer?.cancel();
    this.scanning = this.scan()
      .catch((error: Error) => {
        this.logger.warn({ error: error.message }, 'the folder of image archives could not be read');
        return RESCAN_MS;
      })
      .then((waitMs) => {
        this.scanning = undefined;
        if (this.abort.signal.aborted) return;
        const { again } = this;
        this.again = false;
        if (again) this.poke();
        else this.timer = this.clock.after(waitMs, () => this.poke());
      });
  }

  /** Resolves when no look is under way. */
  async idle(): Promise<void> {
    while (this.scanning) await this.scanning;
  }

  /** The time until the next look. */
  private async scan(): Promise<number> {
    const names = (await readdir(this.directory)).filter((name) => compressionOf(name) !== undefined).sort();
    for (const gone of [...this.records.keys()].filter((name) => !names.includes(name))) {
      this.records.delete(gone);
      this.journal.delete('archive', gone);
    }
    for (const name of [...this.settling.keys()]) if (!names.includes(name)) this.settling.delete(name);
    let waitMs = RESCAN_MS;
    for (const name of names) {
      if (this.abort.signal.aborted) break;
      try {
        const left = await this.visit(name);
        waitMs = Math.min(waitMs, left);
      } catch (error) {
        const away = error instanceof RuntimeError && error.code === 'Unavailable';
        if (!away)
          this.logger.warn({ archive: name, error: (error as Error).message }, 'image archive not loaded');
        waitMs = Math.min(waitMs, RETRY_MS);
      }
    }
    return waitMs;
  }

  /** Loads the archive if that is due; returns when to look again. */
  private async visit(name: string): Promise<number> {
    const path = join(this.directory, name);
    const info = await stat(path).catch(() => undefined);
    if (!info?.isFile()) return RESCAN_MS;
    const signature = `${info.size}/${info.mtimeMs}`;
    const record = this.records.get(name);
    if (record?.signature === signature && (await this.stillThere(name, record))) return RESCAN_MS;
    const now = this.clock.monotonic();
    const settling = this.settling.get(name);
    if (record?.signature !== signature && settling?.signature !== signature) {
      this.settling.set(name, { signature, since: now });
      return SETTLED_MS;
    }
    const left = settling ? settling.since + SETTLED_MS - now : 0;
    if (left > 0) return left;
    await this.load(name, path, signature, record);
    this.settling.delete(name);
    return RESCAN_MS;
  }

  /** Asked once in the life of the agent: an image removed by hand stays away until then. */
  private async stillThere(name: string, { images, problem }: LoadedArchive): Promise<boolean> {
    if (problem !== undefined || this.checked.has(name)) return true;
    for (const [image, id] of Object.entries(images)) {
      const found = await this.runtime.inspectImage(image);
      if (found?.id !== id) return false;
    }
    this.checked.add(name);
    return true;
  }

  private async load(
    name: string,
    path: string,
    signature: string,
    record: LoadedArchive | undefined,
  ): Promise<void> {
    let content: ArchiveContent;
    // Most boards have no archive.
    const { openArchive, readArchive } = await import('./archive-reader.ts');
    try {
      content = await readArchive(path, this.architecture);
    } catch (error) {
      if (!(error instanceof BadArchive)) throw error;
      this.bad(name, { signature, digest: '', images: {} }, error.message);
      return;
    }
    if (record?.digest === content.digest && (await this.stillThere(name, record))) {
      this.note(name, { ...record, signature });
      return;
    }
    this.logger.info({ archive: name }, 'loading images');
    let loaded: string[];
    try {
      loaded = await this.engine.load(streamOf(openArchive, path, content), this.abort.signal);
    } catch (error) {
      const away = error instanceof RuntimeError && ['Unavailable', 'Timeout'].includes(error.code);
      if (away || this.abort.signal.aborted) throw error;
      this.bad(name, { signature, digest: content.digest, images: {} }, (error as Error).message);
      return;
    }
    const images: Record<string, string> = {};
    const told: { name: string; architecture: string }[] = [];
    for (const image of loaded) {
      const found = await this.runtime.inspectImage(image);
      if (!found) continue;
      images[image] = found.id;
      told.push({ name: image, architecture: found.architecture });
    }
    this.checked.add(name);
    this.note(name, { signature, digest: content.digest, images });
    this.logger.info({ archive: name, images: loaded }, 'images loaded');
    this.onLoaded(told);
  }

  private bad(name: string, record: LoadedArchive, problem: string): void {
    this.note(name, { ...record, problem });
    this.logger.error({ archive: name, error: problem }, 'bad image archive');
    this.onBad(`image archive ${join(this.directory, name)}: ${problem}`);
  }

  private note(name: string, record: LoadedArchive): void {
    this.records.set(name, record);
    this.journal.put('archive', name, record);
  }

  private get records(): Map<string, LoadedArchive> {
    this.held ??= this.journal.take<LoadedArchive>('archive');
    return this.held;
  }
}

/** What the engine is given: the file as it is, or with docker-save's table of contents in front. */
function streamOf(
  openArchive: typeof import('./archive-reader.ts').openArchive,
  path: string,
  { manifest }: ArchiveContent,
): Readable {
  if (!manifest) return openArchive(path, { unpack: false });
  const file = openArchive(path, { unpack: true });
  return Readable.from(
    (async function* (): AsyncGenerator<Buffer> {
      const first = tarOf([{ name: 'manifest.json', mode: 0o644, data: manifest }]);
      // Without the two empty blocks that end a tar.
      yield first.subarray(0, first.length - 2 * TAR_BLOCK);
      yield* file as AsyncIterable<Buffer>;
    })(),
    { objectMode: false },
  );
}
