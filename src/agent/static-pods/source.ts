import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Pod } from '../../api/types/core-v1.ts';
import { type Clock, type Timer, timestamp } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { ManifestError, staticPod } from './manifest.ts';

/** kubelet's fileCheckFrequency: for file systems that tell of no change. */
const CHECK_MS = 20_000;
/** An editor writes in several steps. */
const SETTLE_MS = 500;
const LONGEST_MANIFEST = 1024 * 1024;

interface Read {
  /** What tells that the file is another: size and times. */
  version: string;
  pod: Pod | undefined;
  problem: string | undefined;
  /** The file was good before and is not now: its pod stays until the next regular check. */
  spared: boolean;
}

/**
 * The static pods of a directory, one in each file (YAML or JSON), hidden files left out. A file that is no pod is told
 * of once; what it was before goes with the next regular check.
 */
export class ManifestSource implements Service {
  private readonly directory: string;
  private readonly nodeName: string;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly onPods: (pods: Pod[]) => void;
  private readonly onProblem: (file: string, problem: string) => void;
  private readonly files = new Map<string, Read>();
  private watcher: FSWatcher | undefined;
  private regular: Timer | undefined;
  private soon: Timer | undefined;
  private reading: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(options: {
    /** Made when missing. A single file is taken as well. */
    path: string;
    nodeName: string;
    clock: Clock;
    logger: Logger;
    /** All of them, whenever something has changed; before `start` resolves for the first time. */
    onPods: (pods: Pod[]) => void;
    onProblem: (file: string, problem: string) => void;
  }) {
    this.directory = options.path;
    this.nodeName = options.nodeName;
    this.clock = options.clock;
    this.logger = options.logger;
    this.onPods = options.onPods;
    this.onProblem = options.onProblem;
  }

  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 }).catch(() => {});
    await this.read(true);
    try {
      this.watcher = watch(this.directory, { persistent: false }, () => {
        this.soon ??= this.clock.after(SETTLE_MS, () => {
          this.soon = undefined;
          void this.read(false);
        });
      });
      this.watcher.on('error', () => {});
    } catch (error) {
      this.logger.debug(
        { err: error },
        'the directory of static pods cannot be watched; it is read regularly',
      );
    }
    this.regular = this.clock.every(CHECK_MS, () => void this.read(true));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.watcher?.close();
    this.regular?.cancel();
    this.soon?.cancel();
    await this.reading;
  }

  /** One after the other. `regular`: what is bad now is not spared any longer. */
  private read(regular: boolean): Promise<void> {
    this.reading = this.reading
      .then(() => (this.stopped ? undefined : this.readAll(regular)))
      .catch((error: Error) => {
        this.logger.warn({ directory: this.directory, error: error.message }, 'static pods cannot be read');
      });
    return this.reading;
  }

  private async readAll(regular: boolean): Promise<void> {
    const paths = await this.list();
    let changed = false;
    for (const path of [...this.files.keys()]) {
      if (paths.includes(path)) continue;
      this.files.delete(path);
      changed = true;
    }
    for (const path of paths) changed = (await this.readFile(path, regular)) || changed;
    if (changed) this.onPods(this.pods());
  }

  private async list(): Promise<string[]> {
    const entry = await stat(this.directory);
    if (!entry.isDirectory()) return [this.directory];
    const names = await readdir(this.directory);
    return names
      .filter((name) => !name.startsWith('.'))
      .sort()
      .map((name) => join(this.directory, name));
  }

  private async readFile(path: string, regular: boolean): Promise<boolean> {
    const info = await stat(path).catch(() => undefined);
    if (!info?.isFile()) return false;
    const version = `${info.ino} ${info.size} ${info.mtimeMs} ${info.ctimeMs}`;
    const before = this.files.get(path);
    if (before?.version === version) {
      if (!before.spared || !regular) return false;
      this.files.set(path, { ...before, pod: undefined, spared: false });
      return true;
    }
    try {
      if (info.size > LONGEST_MANIFEST) throw new ManifestError('the file is larger than a manifest may be');
      const pod = staticPod(await parse(await readFile(path, 'utf8')), {
        nodeName: this.nodeName,
        file: path,
        seen: timestamp(this.clock.now()),
      });
      // Touched, but the same.
      const same = before?.pod?.metadata.uid === pod.metadata.uid;
      this.files.set(path, { version, pod: same ? before?.pod : pod, problem: undefined, spared: false });
      return !same;
    } catch (error) {
      const problem = (error as Error).message;
      if (before?.problem !== problem) {
        this.logger.error({ file: path, problem }, 'a file of the static pods is no pod and is left out');
        this.onProblem(path, problem);
      }
      const spared = before?.pod !== undefined && !regular;
      this.files.set(path, { version, pod: spared ? before.pod : undefined, problem, spared });
      return before?.pod !== undefined && !spared;
    }
  }

  /** Of two of one name the first file's counts. */
  private pods(): Pod[] {
    const byName = new Map<string, Pod>();
    for (const [path, { pod }] of [...this.files].sort(([left], [right]) => (left < right ? -1 : 1))) {
      if (!pod) continue;
      const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
      if (byName.has(key)) {
        this.onProblem(path, `another file of ${basename(this.directory)} has the pod ${key} already`);
      } else byName.set(key, pod);
    }
    return [...byName.values()];
  }
}

/** JSON is YAML; the parser is loaded with the first manifest. */
async function parse(content: string): Promise<unknown> {
  const { parseAllDocuments } = await import('yaml');
  const documents = parseAllDocuments(content);
  if ('empty' in documents || documents.length === 0) throw new ManifestError('the file is empty');
  if (documents.length > 1) throw new ManifestError('the file has more than one document');
  const [document] = documents;
  const [error] = document?.errors ?? [];
  if (error) throw new ManifestError(error.message.split('\n')[0] ?? 'no YAML');
  // Aliases are counted, so that a small file cannot become a large one.
  return document?.toJS({ maxAliasCount: 100 });
}
