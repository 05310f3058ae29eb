import { isIPv4 } from 'node:net';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import type { ImageEngine, ListedImage } from '../images/engine.ts';
import { parseTarHeader, TAR_BLOCK } from '../images/tar.ts';
import { type RegistryAuth, RuntimeError } from '../runtime.ts';
import { DockerClient } from './client.ts';
import { toRuntimeError } from './errors.ts';
import { registryAuth, splitReference } from './pull.ts';
import { encodeReference } from './runtime.ts';

/** A card writes a few megabytes a second: an archive of a gigabyte takes its time before Docker says a word. */
const LOAD_TIMEOUT_MS = 60 * 60_000;
const LIST_TIMEOUT_MS = 60_000;
const REMOVE_TIMEOUT_MS = 120_000;
/** The registry has to answer; a pull without this question would work as well. */
const DISTRIBUTION_TIMEOUT_MS = 10_000;
/** On containers that are made to read an image and never started. */
const READ_LABEL = 'io.copepod.image-reader';
const MOST_LINKS = 8;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** ImageEngine on the Docker Engine API. */
export class DockerImages implements ImageEngine {
  private readonly client: DockerClient;
  private readonly owner: string;
  private swept = false;

  constructor(options: {
    clock: Clock;
    socketPath: string;
    /** Names this agent among others on the same engine. */
    owner: string;
  }) {
    this.client = new DockerClient(options);
    this.owner = options.owner;
  }

  close(): void {
    this.client.close();
  }

  async list(): Promise<ListedImage[]> {
    const images = await this.client.call<
      { Id: string; RepoTags?: string[] | null; RepoDigests?: string[] | null; Size: number }[]
    >({ path: '/images/json', timeoutMs: LIST_TIMEOUT_MS });
    const named = (names: string[] | null | undefined): string[] =>
      (names ?? []).filter((name) => !name.startsWith('<none>'));
    return images.map(({ Id, RepoTags, RepoDigests, Size }) => ({
      id: Id,
      tags: named(RepoTags),
      digests: named(RepoDigests),
      sizeBytes: Size,
    }));
  }

  async inUse(): Promise<ReadonlySet<string>> {
    const containers = await this.client.call<{ ImageID: string }[]>({
      path: '/containers/json',
      query: { all: true },
      timeoutMs: LIST_TIMEOUT_MS,
    });
    return new Set(containers.map(({ ImageID }) => ImageID));
  }

  async remove(reference: string): Promise<boolean> {
    try {
      await this.client.call({
        method: 'DELETE',
        path: `/images/${encodeReference(reference)}`,
        timeoutMs: REMOVE_TIMEOUT_MS,
      });
      return true;
    } catch (error) {
      const { code, message } = toRuntimeError(error);
      if (code === 'ImageNotFound' || code === 'NotFound') return true;
      if (/conflict|is being used|is using its referenced image|must be forced/i.test(message)) return false;
      throw error;
    }
  }

  async tag(source: string, target: string): Promise<void> {
    const { name, tag } = splitReference(target);
    await this.client.call({
      method: 'POST',
      path: `/images/${encodeReference(source)}/tag`,
      query: { repo: name, tag },
    });
  }

  async load(archive: Readable, signal: AbortSignal): Promise<string[]> {
    const answer = await this.client.stream({
      method: 'POST',
      path: '/images/load',
      query: { quiet: true },
      file: archive,
      timeoutMs: LOAD_TIMEOUT_MS,
      signal,
    });
    const loaded: string[] = [];
    let failure: string | undefined;
    for await (const line of lines(answer, signal)) {
      const { stream = '', error } = line as { stream?: string; error?: string };
      failure ??= error;
      const [, name] = /^Loaded image(?: ID)?: (.+?)\s*$/.exec(stream) ?? [];
      if (name !== undefined) loaded.push(name);
    }
    if (failure !== undefined) throw new RuntimeError('Other', failure);
    return loaded;
  }

  async architectures(reference: string, auth: RegistryAuth | undefined): Promise<string[]> {
    const answer = await this.client.call<{
      Platforms?: { architecture?: string; os?: string }[] | null;
    }>({
      path: `/distribution/${encodeReference(reference)}/json`,
      ...(auth ? { registryAuth: registryAuth(auth) } : {}),
      timeoutMs: DISTRIBUTION_TIMEOUT_MS,
    });
    // Attestations of BuildKit stand in an index as a platform that nobody has.
    const platforms = (answer.Platforms ?? []).filter(({ os }) => os !== 'unknown');
    return [...new Set(platforms.map(({ architecture = '' }) => architecture))];
  }

  async allowsInsecure(host: string): Promise<boolean> {
    const { RegistryConfig } = await this.client.call<{
      RegistryConfig?: {
        InsecureRegistryCIDRs?: string[] | null;
        IndexConfigs?: Record<string, { Secure: boolean }> | null;
      };
    }>({ path: '/info', timeoutMs: 15_000 });
    if (RegistryConfig?.IndexConfigs?.[host]?.Secure === false) return true;
    const name = host.replace(/:\d+$/, '');
    const address = name === 'localhost' ? '127.0.0.1' : name;
    return (
      isIPv4(address) && (RegistryConfig?.InsecureRegistryCIDRs ?? []).some((cidr) => contains(cidr, address))
    );
  }

  async layers(imageId: string): Promise<string[] | undefined> {
    const { GraphDriver } = await this.client.call<{
      GraphDriver?: { Name: string; Data?: { UpperDir?: string; LowerDir?: string } | null } | null;
    }>({ path: `/images/${encodeReference(imageId)}/json`, timeoutMs: 15_000 });
    const { UpperDir, LowerDir } = GraphDriver?.Data ?? {};
    if (GraphDriver?.Name !== 'overlay2' || !UpperDir) return undefined;
    return [UpperDir, ...(LowerDir ? LowerDir.split(':') : [])];
  }

  async export(imageId: string): Promise<{ tar: Readable; done(): Promise<void> }> {
    await this.sweep();
    const { Id } = await this.client.call<{ Id: string }>({
      method: 'POST',
      path: '/containers/create',
      body: { Image: imageId, Cmd: ['none'], Labels: { [READ_LABEL]: this.owner } },
    });
    const done = async (): Promise<void> => {
      await this.client.call({
        method: 'DELETE',
        path: `/containers/${Id}`,
        query: { v: true, force: true },
        accept: [404],
      });
    };
    try {
      return { tar: await this.client.stream({ path: `/containers/${Id}/export` }), done };
    } catch (error) {
      await done().catch(() => {});
      throw error;
    }
  }

  async programHead(containerId: string, bytes: number): Promise<Buffer | undefined> {
    const { Path, Config } = await this.client.call<{
      Path: string;
      Config: { WorkingDir?: string; Env?: string[] | null };
    }>({ path: `/containers/${containerId}/json`, timeoutMs: 15_000 });
    const path =
      Config.Env?.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH;
    const places = Path.includes('/')
      ? [posix.resolve('/', Config.WorkingDir ?? '', Path)]
      : path.split(':').map((directory) => posix.join('/', directory, Path));
    for (const place of places) {
      const head = await this.head(containerId, place, bytes);
      if (head) return head;
    }
    return undefined;
  }

  private async head(containerId: string, path: string, bytes: number): Promise<Buffer | undefined> {
    let place = path;
    for (let links = 0; links <= MOST_LINKS; links += 1) {
      const start = await this.archiveStart(containerId, place, TAR_BLOCK + bytes);
      const header = start && parseTarHeader(start);
      if (!header) return undefined;
      if (header.type === 'file') return start.subarray(TAR_BLOCK, TAR_BLOCK + Math.min(bytes, header.size));
      if (header.type !== 'link') return undefined;
      place = posix.resolve(posix.dirname(place), header.target);
    }
    return undefined;
  }

  private async archiveStart(containerId: string, path: string, bytes: number): Promise<Buffer | undefined> {
    let stream: Readable;
    try {
      stream = await this.client.stream({ path: `/containers/${containerId}/archive`, query: { path } });
    } catch {
      return undefined;
    }
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      // Leaving the loop destroys the stream.
      if (length >= bytes) break;
    }
    return length < bytes ? undefined : Buffer.concat(chunks);
  }

  /** What an agent left behind that was killed while it read an image. */
  private async sweep(): Promise<void> {
    if (this.swept) return;
    this.swept = true;
    const left = await this.client.call<{ Id: string }[]>({
      path: '/containers/json',
      query: { all: true, filters: { label: [`${READ_LABEL}=${this.owner}`] } },
    });
    for (const { Id } of left) {
      await this.client.call({
        method: 'DELETE',
        path: `/containers/${Id}`,
        query: { v: true, force: true },
        accept: [404],
      });
    }
  }
}

/** One JSON document a line. */
async function* lines(stream: Readable, signal: AbortSignal): AsyncGenerator<unknown> {
  const stop = (): void => void stream.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    let buffered = '';
    stream.setEncoding('utf8');
    for await (const chunk of stream as AsyncIterable<string>) {
      buffered += chunk;
      const complete = buffered.split('\n');
      buffered = complete.pop() ?? '';
      for (const line of complete) if (line.trim() !== '') yield JSON.parse(line);
    }
    if (buffered.trim() !== '') yield JSON.parse(buffered);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function contains(cidr: string, address: string): boolean {
  const [network = '', bits = '32'] = cidr.split('/');
  if (!isIPv4(network)) return false;
  const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - Number(bits));
  return Math.floor(number(network) / size) === Math.floor(number(address) / size);
}
