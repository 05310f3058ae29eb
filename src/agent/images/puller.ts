import { type ContainerRuntime, type PullOptions, type RegistryAuth, RuntimeError } from '../runtime.ts';
import { type Credential, type Keyring, nodeKeyring } from './credentials.ts';
import type { ImageEngine } from './engine.ts';
import { type ImageReference, parseImageReference, versionOf } from './reference.ts';
import { hostOf, NO_REGISTRIES, type PullSource, type Registries, sourcesOf } from './registries.ts';
import type { RegistryFiles } from './registry-files.ts';

export interface Pulled {
  /** What the engine knows the image by now. */
  name: string;
  /** The credential that the registry took; none: everybody may have the image. */
  credential?: Credential;
  /** `name@sha256:…` under the name that was asked for, when the engine does not say so itself (from a mirror). */
  digest?: string;
}

const NO_CREDENTIALS: Keyring = () => [];

/**
 * Gets an image from the first place that has it: its mirrors (registries.yaml), then its own registry. At each place the
 * credentials that fit its name are tried in order, at last none. Docker itself knows mirrors of Docker Hub only, so a
 * mirror's host is put into the name of the pull, and the image is given its own name afterwards.
 */
export class Puller {
  private readonly runtime: Pick<ContainerRuntime, 'pull' | 'inspectImage'>;
  private readonly engine: Pick<ImageEngine, 'tag' | 'remove' | 'allowsInsecure'> | undefined;
  private readonly files: Pick<RegistryFiles, 'current' | 'dockerAuths'> | undefined;

  constructor(options: {
    runtime: Pick<ContainerRuntime, 'pull' | 'inspectImage'>;
    /** Without it there are no mirrors. */
    engine?: Pick<ImageEngine, 'tag' | 'remove' | 'allowsInsecure'> | undefined;
    files?: Pick<RegistryFiles, 'current' | 'dockerAuths'> | undefined;
  }) {
    this.runtime = options.runtime;
    this.engine = options.engine;
    this.files = options.files;
  }

  async pull(image: ImageReference, keyring: Keyring, options: Omit<PullOptions, 'auth'>): Promise<Pulled> {
    const registries = await this.registries();
    const failures: { source: PullSource; error: unknown }[] = [];
    for (const source of this.sources(image, registries)) {
      try {
        return await this.pullFrom(source, image, { registries, keyring, options });
      } catch (error) {
        if (options.signal?.aborted) throw error;
        failures.push({ source, error });
      }
    }
    throw summary(failures);
  }

  /** Further names that an image of this reference may have here: one pulled by digest from a mirror keeps the mirror's. */
  async names(image: ImageReference): Promise<string[]> {
    if (image.digest === undefined) return [image.engineName];
    const registries = await this.registries().catch(() => NO_REGISTRIES);
    const sources = this.sources(image, registries).map(({ name }) => name);
    return [image.engineName, ...sources.filter((name) => name !== image.engineName)];
  }

  /** Where it would be looked for first, and with which credential: for a question instead of a pull. */
  async first(
    image: ImageReference,
    keyring: Keyring,
  ): Promise<{ name: string; auth: RegistryAuth | undefined } | undefined> {
    const registries = await this.registries();
    const [source] = this.sources(image, registries);
    if (!source || (await this.refusal(source, registries))) return undefined;
    const [credential] = await this.credentials(source, registries, keyring);
    return { name: source.name, auth: credential?.auth };
  }

  private registries(): Promise<Registries> {
    return this.files?.current() ?? Promise.resolve(NO_REGISTRIES);
  }

  private sources(image: ImageReference, registries: Registries): PullSource[] {
    const sources = sourcesOf(image, registries);
    return this.engine ? sources : sources.filter(({ mirror }) => !mirror);
  }

  private async pullFrom(
    source: PullSource,
    image: ImageReference,
    { registries, keyring, options }: PullContext,
  ): Promise<Pulled> {
    const refusal = await this.refusal(source, registries);
    if (refusal) throw new RuntimeError('ImagePull', refusal);
    const credentials = await this.credentials(source, registries, keyring);
    const errors: unknown[] = [];
    for (const credential of [...credentials, undefined]) {
      // A registry that refuses a name and password may still give everybody the image; no other failure is worth that.
      if (!credential && credentials.length > 0 && !errors.every(isDenied)) break;
      try {
        await this.runtime.pull(source.name, {
          ...options,
          ...(credential ? { auth: credential.auth } : {}),
        });
        const taken = await this.named(source, image);
        return { ...taken, ...(credential ? { credential } : {}) };
      } catch (error) {
        if (options.signal?.aborted) throw error;
        errors.push(error);
      }
    }
    throw combined(credentials.length > 0 ? errors.slice(0, credentials.length) : errors);
  }

  private async credentials(
    source: PullSource,
    registries: Registries,
    keyring: Keyring,
  ): Promise<Credential[]> {
    const target = parseImageReference(source.name);
    if (!target) return [];
    const { auth } = hostOf(source.host, registries);
    const own = auth ? [{ auth: { ...auth, serverAddress: source.host } }] : [];
    const left = this.files ? nodeKeyring(await this.files.dockerAuths()) : NO_CREDENTIALS;
    return [...keyring(target), ...own, ...left(target)];
  }

  /** Docker decides by its own configuration whether TLS may be left out: what it will not do is said, not tried. */
  private async refusal(source: PullSource, registries: Registries): Promise<string | undefined> {
    const unchecked = hostOf(source.host, registries).tls?.unchecked ?? false;
    if ((!source.plain && !unchecked) || !this.engine) return undefined;
    if (await this.engine.allowsInsecure(source.host)) return undefined;
    const how = source.plain ? 'without TLS' : 'without checking its certificate';
    return `registries.yaml wants registry ${source.host} used ${how}; Docker has to allow that: add "${source.host}" to "insecure-registries" in /etc/docker/daemon.json and restart Docker`;
  }

  /** A mirror's image under its own name. One by digest cannot be renamed: it stays known by the mirror's. */
  private async named(source: PullSource, image: ImageReference): Promise<Pulled> {
    if (!source.mirror || !this.engine) return { name: image.engineName };
    if (image.digest !== undefined) return { name: source.name };
    const found = await this.runtime.inspectImage(source.name);
    const digest = found?.repoDigests.find((each) => each.startsWith(`${source.repository}@`))?.split('@')[1];
    await this.engine.tag(source.name, image.engineName);
    await this.engine.remove(source.name);
    const repository = image.engineName.slice(0, image.engineName.length - versionOf(image).length);
    return { name: image.engineName, ...(digest === undefined ? {} : { digest: `${repository}@${digest}` }) };
  }
}

interface PullContext {
  registries: Registries;
  keyring: Keyring;
  options: Omit<PullOptions, 'auth'>;
}

function isDenied(error: unknown): boolean {
  return /unauthorized|denied|forbidden|authentication required|no basic auth|incorrect username/i.test(
    (error as Error).message,
  );
}

/** As the kubelet joins what several credentials led to. */
function combined(errors: unknown[]): unknown {
  const messages = [...new Set(errors.map((error) => (error as Error).message))];
  if (messages.length < 2) return errors.at(-1);
  const last = errors.at(-1);
  const code = last instanceof RuntimeError ? last.code : 'ImagePull';
  return new RuntimeError(code, `[${messages.join(', ')}]`);
}

/** The registry's own answer counts; what the mirrors said is added. */
function summary(failures: { source: PullSource; error: unknown }[]): unknown {
  const last = failures.at(-1)?.error;
  const mirrors = failures.filter(({ source }) => source.mirror);
  if (mirrors.length === 0 || !(last instanceof Error)) return last;
  const told = mirrors.map(({ source, error }) => `mirror ${source.host}: ${(error as Error).message}`);
  const code = last instanceof RuntimeError ? last.code : 'ImagePull';
  return new RuntimeError(code, `${last.message} (${told.join('; ')})`);
}
