import { mkdir, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../lib/logger.ts';
import { authsOf, type DockerAuths } from './credentials.ts';
import { NO_REGISTRIES, parseRegistries, type Registries } from './registries.ts';

/** The names that our files have among those that Docker reads for a registry. */
const OURS = { ca: 'copepod.crt', cert: 'copepod.cert', key: 'copepod.key' } as const;
const LARGEST = 1024 * 1024;

/**
 * registries.yaml and Docker's own config.json on this machine. Looked at before each pull and read again when they have
 * changed: nothing is watched. A file that became bad leaves the last good one in force; one that is bad from the start
 * fails the pulls, whose pods then say so, and nothing else.
 */
export class RegistryFiles {
  private readonly path: string;
  private readonly dockerConfig: string | undefined;
  private readonly certificates: string;
  private readonly logger: Logger;
  private readonly onProblem: (message: string) => void;
  private seen: string | undefined;
  private good: Registries | undefined;
  private problem: Error | undefined;
  private auths: { seen: string; value: DockerAuths } = { seen: 'absent', value: {} };
  private reading: Promise<void> | undefined;

  constructor(options: {
    path: string;
    /** `~/.docker/config.json`, which `docker login` writes. */
    dockerConfig?: string;
    /** /etc/docker/certs.d: Docker reads there at each connection. */
    certificates: string;
    logger: Logger;
    /** Said once for each bad file. */
    onProblem: (message: string) => void;
  }) {
    this.path = options.path;
    this.dockerConfig = options.dockerConfig;
    this.certificates = options.certificates;
    this.logger = options.logger;
    this.onProblem = options.onProblem;
  }

  /** What holds now. Throws when there has never been a file that could be used. */
  async current(): Promise<Registries> {
    this.reading ??= this.look().finally(() => {
      this.reading = undefined;
    });
    await this.reading;
    if (this.good) return this.good;
    throw this.problem ?? new Error(`${this.path} was not read`);
  }

  /** Credentials that somebody left on this machine with `docker login`. */
  async dockerAuths(): Promise<DockerAuths> {
    if (this.dockerConfig === undefined) return {};
    const seen = await signature(this.dockerConfig);
    if (seen === this.auths.seen) return this.auths.value;
    let value: DockerAuths = {};
    try {
      if (seen !== 'absent')
        value = authsOf((JSON.parse(await read(this.dockerConfig)) as { auths?: unknown } | null)?.auths);
    } catch (error) {
      this.logger.warn({ path: this.dockerConfig, error: (error as Error).message }, 'not read');
    }
    this.auths = { seen, value };
    return value;
  }

  private async look(): Promise<void> {
    const seen = await signature(this.path);
    if (seen === this.seen) return;
    try {
      const registries = seen === 'absent' ? NO_REGISTRIES : await this.load();
      await this.trust(registries);
      if (this.seen !== undefined || seen !== 'absent') {
        this.logger.info({ path: this.path, mirrors: registries.mirrors.size }, 'registries read');
      }
      this.good = registries;
      this.problem = undefined;
    } catch (error) {
      this.problem = new Error(`${this.path}: ${(error as Error).message}`);
      // No file is no good file: what somebody has just begun to write shall not be passed over.
      if (this.seen === 'absent') this.good = undefined;
      this.logger.error({ error: this.problem.message, inForce: this.good !== undefined }, 'bad registries');
      this.onProblem(this.problem.message);
    }
    this.seen = seen;
  }

  private async load(): Promise<Registries> {
    const { parse } = await import('yaml');
    return parseRegistries(parse(await read(this.path)) as unknown);
  }

  /** Gives Docker the certificates that the file names, under names of our own, and takes back what it names no more. */
  private async trust({ hosts }: Registries): Promise<void> {
    const wanted = new Map<string, Map<string, Buffer>>();
    for (const [host, { tls }] of hosts) {
      for (const kind of ['ca', 'cert', 'key'] as const) {
        const path = tls?.[kind];
        if (path === undefined) continue;
        const field = `configs.${host}.tls.${kind}_file`;
        if (host === '*') throw new Error(`${field}: Docker takes certificates for a named registry only`);
        const content = await readFile(path).catch((error: Error) => {
          throw new Error(`${field}: ${error.message}`);
        });
        wanted.set(host, (wanted.get(host) ?? new Map<string, Buffer>()).set(OURS[kind], content));
      }
    }
    const present = await readdir(this.certificates).catch(() => []);
    for (const host of new Set([...present, ...wanted.keys()])) {
      await this.trustHost(join(this.certificates, host), wanted.get(host)).catch((error: Error) => {
        throw new Error(
          `configs.${host}.tls: Docker reads certificates of registries in ${this.certificates}, which cannot be written: ${error.message}`,
        );
      });
    }
  }

  private async trustHost(directory: string, files: ReadonlyMap<string, Buffer> | undefined): Promise<void> {
    if (files) await mkdir(directory, { recursive: true });
    let removed = false;
    for (const name of Object.values(OURS)) {
      const path = join(directory, name);
      const content = files?.get(name);
      const before = await readFile(path).catch(() => undefined);
      if (content && !before?.equals(content)) {
        await writeFile(path, content, { mode: name === OURS.key ? 0o600 : 0o644 });
      } else if (!content && before) {
        await rm(path, { force: true });
        removed = true;
      }
    }
    // Only when nobody else has something in it.
    if (removed && !files) await rmdir(directory).catch(() => {});
  }
}

async function read(path: string): Promise<string> {
  const content = await readFile(path, 'utf8');
  if (content.length > LARGEST) throw new Error('larger than a mebibyte');
  return content;
}

async function signature(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino}/${size}/${mtimeMs}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent';
    throw error;
  }
}
