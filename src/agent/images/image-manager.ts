import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import { Limiter } from '../limiter.ts';
import { containersOf, identity, type NamedContainer } from '../names.ts';
import { goDuration } from '../pods/backoff.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { DesiredState } from '../ports.ts';
import { type ContainerRuntime, type ObservedImage, RuntimeError } from '../runtime.ts';
import type { ArchitectureVerdicts } from './architectures.ts';
import { type Credential, podKeyring } from './credentials.ts';
import type { ImageEngine } from './engine.ts';
import { type EndedInstance, refusedProgram } from './foreign-program.ts';
import { runsOn, wrongArchitecture } from './platform.ts';
import type { PullProgress } from './progress.ts';
import { Puller } from './puller.ts';
import { PullCancelled, SharedPulls } from './pulls.ts';
import type { ImageRecords, VerificationPolicy } from './records.ts';
import { type ImageReference, parseImageReference } from './reference.ts';
import type { RegistryFiles } from './registry-files.ts';

/** The image cannot be had; `reason` is the container's waiting reason. */
export class ImageError extends Error {
  readonly reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName';
  /** The image has nothing for this board's CPU: another board may run the pod, this one never. */
  readonly wrongArchitecture: boolean;
  constructor(reason: ImageError['reason'], message: string, wrongArchitecture = false) {
    super(message);
    this.name = 'ImageError';
    this.reason = reason;
    this.wrongArchitecture = wrongArchitecture;
  }
}

/** An image that is there. */
export interface ReadyImage extends ObservedImage {
  /** What the engine knows it by, where that is not the name in the pod. */
  engineName?: string;
}

/** What the machine adds to the care for images; without it (simulation, tests) only pulls are made. */
export interface ImageParts {
  engine: ImageEngine;
  files: Pick<RegistryFiles, 'current' | 'dockerAuths'>;
  records: ImageRecords;
  policy: VerificationPolicy;
  /** GOARCH. */
  architecture: string;
  /** The interpreters that the kernel has registered for foreign programs. */
  interpreters: () => Promise<string[]>;
  verdicts: () => ArchitectureVerdicts;
  /** Something was pulled. */
  onPulled: () => void;
  stallMs: number;
}

/** One wish for an image, from a container or a volume. */
interface Wanted {
  pod: Pod;
  written: string;
  policy: string | undefined;
  ranBefore: boolean;
  /** Nothing of it is run. */
  content?: boolean;
  tell: (type: 'Normal' | 'Warning', reason: string, message: string) => void;
}

/**
 * Sees to it that images are there: pull policy, credentials, one pull per reference at a time, a few at once on the
 * board. The back-off between attempts is the pod worker's.
 */
export class ImageManager {
  private readonly runtime: ContainerRuntime;
  private readonly clock: Clock;
  private readonly desired: Pick<DesiredState, 'secret' | 'pod' | 'onChange'>;
  private readonly events: PodEvents;
  private readonly parts: ImageParts | undefined;
  private readonly puller: Puller;
  private readonly pulls: SharedPulls;
  /** Ids of images whose programs the kernel refused, whatever they say of their architecture. */
  private readonly unrunnable = new Set<string>();
  /** By name: questions to the engine that it has not answered yet. */
  private readonly asking = new Map<string, Promise<ObservedImage | undefined>>();

  constructor(options: {
    runtime: ContainerRuntime;
    clock: Clock;
    desired: Pick<DesiredState, 'secret' | 'pod' | 'onChange'>;
    events: PodEvents;
    /** 1: one after the other. */
    parallelPulls: number;
    parts?: ImageParts | undefined;
  }) {
    const { clock, desired, parts } = options;
    this.runtime = options.runtime;
    this.clock = clock;
    this.desired = desired;
    this.events = options.events;
    this.parts = parts;
    this.puller = new Puller({ runtime: options.runtime, engine: parts?.engine, files: parts?.files });
    this.pulls = new SharedPulls({
      clock,
      limiter: new Limiter(options.parallelPulls),
      wants: (uid, image) => wants(desired.pod(uid), image),
    });
    desired.onChange((change) => {
      if (change.kind === 'pod' || change.kind === 'whole') this.pulls.review();
    });
  }

  /**
   * The image for a container's next instance, pulled if its policy asks for that. Throws ImageError. `ranBefore`: an
   * instance of this container was made from it on this board; then a registry out of reach does not hold it back
   * (a board that boots without its network starts its pods, also those with policy Always).
   */
  ensure(pod: Pod, named: NamedContainer, ranBefore: boolean): Promise<ReadyImage> {
    const { image = '', imagePullPolicy } = named.container;
    return this.see({
      pod,
      written: image,
      policy: imagePullPolicy,
      ranBefore,
      tell: (type, reason, message) => this.events.container(pod, named, type, reason, message),
    });
  }

  /** The image of a volume. Throws ImageError. */
  ensureForVolume(pod: Pod, source: { reference?: string; pullPolicy?: string }): Promise<ReadyImage> {
    return this.see({
      pod,
      written: source.reference ?? '',
      policy: source.pullPolicy,
      ranBefore: true,
      content: true,
      tell: (type, reason, message) => this.events.pod(pod, type, reason, message),
    });
  }

  /**
   * Why a container ended at once, if the kernel refused its program as one for another CPU: told in an event, and
   * remembered of the image.
   */
  async refused(pod: Pod, named: NamedContainer, instance: EndedInstance): Promise<string | undefined> {
    const { parts, runtime, clock } = this;
    const { image = '' } = named.container;
    if (!parts) return undefined;
    const found = await refusedProgram(instance, { runtime, engine: parts.engine, clock });
    if (found === undefined || (await this.anyRuns([found]))) return undefined;
    const message = `exec format error: the program of ${wrongArchitecture(image, parts.architecture, [found])}`;
    this.unrunnable.add(instance.imageId);
    parts.verdicts().learn(image, false);
    this.events.container(pod, named, 'Warning', 'ImageArchitecture', message);
    return message;
  }

  /** Does the registry have the image for this board? Undefined when it cannot be asked. */
  async availableHere(image: ImageReference): Promise<boolean | undefined> {
    const { parts } = this;
    if (!parts) return undefined;
    const found = await this.architecturesAt(image, () => []);
    return found && (await this.anyRuns(found));
  }

  private async see(wanted: Wanted): Promise<ReadyImage> {
    const { written, tell } = wanted;
    const image = parseImageReference(written);
    if (!image) {
      const message = `Failed to apply default image tag "${written}": couldn't parse image name "${written}": invalid reference format`;
      tell('Warning', 'InspectFailed', message);
      throw new ImageError('InvalidImageName', message);
    }
    const policy = wanted.policy ?? defaultPolicy(image);
    const present = await this.find(image);
    const foreign = present && !(await this.fits(wanted, present));
    if (present && !foreign && policy !== 'Always' && this.mayUse(present, image, wanted.pod)) {
      this.runsHere(written, present.id);
      alreadyPresent(wanted);
      return present;
    }
    if (policy === 'Never') {
      if (foreign) throw this.wrong(wanted, image, [present.architecture], 'ErrImageNeverPull');
      const message = `Container image "${written}" is not present with pull policy of Never`;
      tell('Warning', 'ErrImageNeverPull', message);
      throw new ImageError('ErrImageNeverPull', message);
    }
    return await this.pullFor(wanted, image, present, foreign === true);
  }

  private async pullFor(
    wanted: Wanted,
    image: ImageReference,
    present: ReadyImage | undefined,
    foreign: boolean,
  ): Promise<ReadyImage> {
    const { written, tell } = wanted;
    try {
      const pulled = await this.pull(wanted, image, present);
      if (!(await this.fits(wanted, pulled))) throw this.wrong(wanted, image, [pulled.architecture]);
      this.runsHere(written, pulled.id);
      return pulled;
    } catch (error) {
      if (error instanceof PullCancelled || error instanceof ImageError) throw error;
      // The engine is lost: that is no news of the image.
      if (error instanceof RuntimeError && error.code === 'Unavailable') throw error;
      if (error instanceof RuntimeError && error.code === 'ImageArchitecture') {
        throw this.wrong(wanted, image, [], 'ErrImagePull', error.message);
      }
      const unreachable = !(error instanceof RuntimeError) || error.code !== 'ImageNotFound';
      const message = `Failed to pull image "${written}": ${(error as Error).message}`;
      tell('Warning', 'Failed', message);
      const usable = present && !foreign && this.mayUse(present, image, wanted.pod);
      if (usable && wanted.ranBefore && unreachable) {
        alreadyPresent(wanted);
        return present;
      }
      if (present && foreign) throw this.wrong(wanted, image, [present.architecture]);
      throw new ImageError('ErrImagePull', (error as Error).message);
    }
  }

  private runsHere(written: string, imageId: string): void {
    if (!this.unrunnable.has(imageId)) this.parts?.verdicts().learn(written, true);
  }

  private wrong(
    { tell }: Wanted,
    { reference }: ImageReference,
    madeFor: string[],
    reason: ImageError['reason'] = 'ErrImagePull',
    detail?: string,
  ): ImageError {
    const { parts } = this;
    const text = wrongArchitecture(reference, parts?.architecture ?? '', madeFor);
    const message = detail === undefined ? text : `${text}: ${detail}`;
    parts?.verdicts().learn(reference, false);
    tell('Warning', 'ImageArchitecture', message);
    return new ImageError(reason, message, parts !== undefined);
  }

  private async find(image: ImageReference): Promise<ReadyImage | undefined> {
    for (const name of this.parts ? await this.puller.names(image) : [image.engineName]) {
      const found = await this.inspect(name);
      if (found) return this.withDigest(found, name, image);
    }
    return undefined;
  }

  /** Pods that come together ask for their image with one call. */
  private inspect(name: string): Promise<ObservedImage | undefined> {
    const asked = this.asking.get(name) ?? this.runtime.inspectImage(name);
    if (!this.asking.has(name)) {
      this.asking.set(name, asked);
      const answered = (): boolean => this.asking.delete(name);
      asked.then(answered, answered);
    }
    return asked;
  }

  private withDigest(found: ObservedImage, name: string, image: ImageReference): ReadyImage {
    const digest = this.parts?.records.of(found.id)?.digest;
    return {
      ...found,
      ...(found.repoDigests.length === 0 && digest !== undefined ? { repoDigests: [digest] } : {}),
      ...(name === image.reference ? {} : { engineName: name }),
    };
  }

  private mayUse(present: ObservedImage, image: ImageReference, pod: Pod): boolean {
    const { parts } = this;
    if (!parts) return true;
    const { records, policy } = parts;
    return records.mayUse(present.id, policy, () => podKeyring(pod, this.desired).keyring(image));
  }

  private async pull(
    wanted: Wanted,
    image: ImageReference,
    present: ReadyImage | undefined,
  ): Promise<ReadyImage> {
    const { pod, written, tell } = wanted;
    const { keyring, missing } = podKeyring(pod, this.desired);
    if (missing.length > 0) {
      const names = missing.join(', ');
      const message = `Unable to retrieve some image pull secrets (${names}); attempting to pull the image may not succeed.`;
      tell('Warning', 'FailedToRetrieveImagePullSecret', message);
    }
    tell('Normal', 'Pulling', `Pulling image "${written}"`);
    const asked = this.clock.monotonic();
    if (!present) await this.refuseForeign(wanted, image, keyring);
    const { result, beganAt } = await this.pulls.join({
      // Who has no credentials must not get what another pod's had.
      key: `${image.engineName} ${keyring(image).map(({ auth }) => `${auth.username}:${auth.password}`)}`,
      pod: identity(pod).uid,
      written,
      onLongPull: (text) => tell('Normal', 'Pulling', `Pulling image "${written}": ${text}`),
      pull: (signal, progress: PullProgress) =>
        this.puller.pull(image, keyring, {
          signal,
          onProgress: (entry) => progress.add(entry),
          ...(this.parts ? { stallMs: this.parts.stallMs } : {}),
        }),
    });
    const found = await this.runtime.inspectImage(result.name);
    if (!found) throw new RuntimeError('ImagePull', `image ${result.name} is not there after its pull`);
    const { digest, credential } = result;
    this.parts?.records.pulled(found.id, {
      name: result.name,
      before: present?.id,
      ...(digest === undefined ? {} : { digest }),
      ...(credential === undefined ? {} : { credential }),
    });
    this.parts?.onPulled();
    const now = this.clock.monotonic();
    const took = goDuration(Math.round(now - beganAt));
    const waited = goDuration(Math.round(now - asked));
    const size = `Image size: ${found.sizeBytes} bytes.`;
    tell(
      'Normal',
      'Pulled',
      `Successfully pulled image "${written}" in ${took} (${waited} including waiting). ${size}`,
    );
    return this.withDigest(found, result.name, image);
  }

  /**
   * Most images that a board cannot run are made for amd64 alone. There the registry is asked before gigabytes are
   * downloaded for nothing; for amd64 itself that would cost more (registries count requests) than it saves.
   */
  private async refuseForeign(
    wanted: Wanted,
    image: ImageReference,
    keyring: (image: ImageReference) => Credential[],
  ): Promise<void> {
    if (!this.parts || this.parts.architecture === 'amd64' || wanted.content) return;
    const found = await this.architecturesAt(image, keyring);
    if (found && !(await this.anyRuns(found))) throw this.wrong(wanted, image, found);
  }

  private async architecturesAt(
    image: ImageReference,
    keyring: (image: ImageReference) => Credential[],
  ): Promise<string[] | undefined> {
    try {
      const asked = await this.puller.first(image, keyring);
      const found = asked && (await this.parts?.engine.architectures(asked.name, asked.auth));
      return found && found.length > 0 ? found : undefined;
    } catch {
      // The pull itself will say what is wrong.
      return undefined;
    }
  }

  private async fits(wanted: Wanted, { architecture }: ObservedImage): Promise<boolean> {
    return wanted.content || (await this.anyRuns([architecture]));
  }

  private async anyRuns(architectures: readonly string[]): Promise<boolean> {
    const { parts } = this;
    if (!parts) return true;
    if (architectures.some((each) => runsOn(parts.architecture, each, []))) return true;
    const interpreters = await parts.interpreters();
    return architectures.some((each) => runsOn(parts.architecture, each, interpreters));
  }
}

function alreadyPresent({ written, tell }: Wanted): void {
  tell(
    'Normal',
    'Pulled',
    `Container image "${written}" already present on machine and can be accessed by the pod`,
  );
}

/** Is the pod still to run something of this image? */
function wants(pod: Pod | undefined, image: string): boolean {
  if (!pod || pod.metadata.deletionTimestamp !== undefined) return false;
  return (
    containersOf(pod).some(({ container }) => container.image === image) ||
    (pod.spec?.volumes ?? []).some((volume) => volume.image?.reference === image)
  );
}

/** The API server sets it; this is its rule. */
function defaultPolicy(image: ImageReference): 'Always' | 'IfNotPresent' {
  const latest = image.digest === undefined && (image.tag === undefined || image.tag === 'latest');
  return latest ? 'Always' : 'IfNotPresent';
}

/** Does a controller make another pod in the place of one that failed? A static pod's owner is its node. */
export function isReplaced(pod: Pod): boolean {
  return (pod.metadata.ownerReferences ?? []).some(({ controller, kind }) => controller && kind !== 'Node');
}
