import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import { Limiter } from '../limiter.ts';
import type { NamedContainer } from '../names.ts';
import { goDuration } from '../pods/backoff.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { DesiredState } from '../ports.ts';
import { type ContainerRuntime, type ObservedImage, type RegistryAuth, RuntimeError } from '../runtime.ts';
import { pullCredentials } from './credentials.ts';
import { type ImageReference, parseImageReference } from './reference.ts';

/** The image cannot be had; `reason` is the container's waiting reason. */
export class ImageError extends Error {
  readonly reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName';
  constructor(reason: ImageError['reason'], message: string) {
    super(message);
    this.name = 'ImageError';
    this.reason = reason;
  }
}

/** Sees to it that images are there: pull policy, one pull per reference at a time, a few at once on the board. */
export class ImageManager {
  private readonly runtime: ContainerRuntime;
  private readonly clock: Clock;
  private readonly desired: Pick<DesiredState, 'secret'>;
  private readonly events: PodEvents;
  private readonly pulls: Limiter;
  private readonly underWay = new Map<string, Promise<void>>();

  constructor(options: {
    runtime: ContainerRuntime;
    clock: Clock;
    desired: Pick<DesiredState, 'secret'>;
    events: PodEvents;
    parallelPulls: number;
  }) {
    this.runtime = options.runtime;
    this.clock = options.clock;
    this.desired = options.desired;
    this.events = options.events;
    this.pulls = new Limiter(options.parallelPulls);
  }

  /**
   * The image for a container's next instance, pulled if its policy asks for that. Throws ImageError. `ranBefore`: an
   * instance of this container was made from it on this board; then a registry out of reach does not hold it back
   * (a board that boots without its network starts its pods, also those with policy Always).
   */
  async ensure(pod: Pod, named: NamedContainer, ranBefore: boolean): Promise<ObservedImage> {
    const written = named.container.image ?? '';
    const image = parseImageReference(written);
    if (!image) {
      const message = `Failed to apply default image tag "${written}": couldn't parse image name "${written}": invalid reference format`;
      this.events.container(pod, named, 'Warning', 'InspectFailed', message);
      throw new ImageError('InvalidImageName', message);
    }
    const policy = named.container.imagePullPolicy ?? defaultPolicy(image);
    const present = await this.runtime.inspectImage(image.reference);
    if (present && policy !== 'Always') {
      this.alreadyPresent(pod, named, written);
      return present;
    }
    if (policy === 'Never') {
      const message = `Container image "${written}" is not present with pull policy of Never`;
      this.events.container(pod, named, 'Warning', 'ErrImageNeverPull', message);
      throw new ImageError('ErrImageNeverPull', message);
    }
    try {
      return await this.pull(pod, named, image, written);
    } catch (error) {
      const unreachable = !(error instanceof RuntimeError) || error.code !== 'ImageNotFound';
      const message = `Failed to pull image "${written}": ${(error as Error).message}`;
      this.events.container(pod, named, 'Warning', 'Failed', message);
      if (present && ranBefore && unreachable) {
        this.alreadyPresent(pod, named, written);
        return present;
      }
      throw new ImageError('ErrImagePull', (error as Error).message);
    }
  }

  private alreadyPresent(pod: Pod, named: NamedContainer, written: string): void {
    const message = `Container image "${written}" already present on machine and can be accessed by the pod`;
    this.events.container(pod, named, 'Normal', 'Pulled', message);
  }

  private async pull(
    pod: Pod,
    named: NamedContainer,
    image: ImageReference,
    written: string,
  ): Promise<ObservedImage> {
    this.events.container(pod, named, 'Normal', 'Pulling', `Pulling image "${written}"`);
    const asked = this.clock.monotonic();
    let began = asked;
    await this.shared(image.reference, () => {
      began = this.clock.monotonic();
      return this.withCredentials(pullCredentials(pod, image, this.desired), (auth) =>
        this.runtime.pull(image.reference, auth),
      );
    });
    const pulled = await this.runtime.inspectImage(image.reference);
    if (!pulled) throw new RuntimeError('ImagePull', `image ${image.reference} is not there after its pull`);
    const now = this.clock.monotonic();
    this.events.container(
      pod,
      named,
      'Normal',
      'Pulled',
      `Successfully pulled image "${written}" in ${goDuration(Math.round(now - began))} (${goDuration(Math.round(now - asked))} including waiting). Image size: ${pulled.sizeBytes} bytes.`,
    );
    return pulled;
  }

  /** Pods that want the same image wait for one pull. */
  private shared(reference: string, pull: () => Promise<void>): Promise<void> {
    const running = this.underWay.get(reference);
    if (running) return running;
    const started = this.pulls.run(pull).finally(() => this.underWay.delete(reference));
    this.underWay.set(reference, started);
    return started;
  }

  /** Each set of credentials in turn; the last failure counts. Without any, once without. */
  private async withCredentials(
    credentials: RegistryAuth[],
    pull: (auth: RegistryAuth | undefined) => Promise<void>,
  ): Promise<void> {
    let failure: unknown;
    for (const auth of credentials.length > 0 ? credentials : [undefined]) {
      try {
        await pull(auth);
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }
}

/** The API server sets it; this is its rule. */
function defaultPolicy(image: ImageReference): 'Always' | 'IfNotPresent' {
  const latest = image.digest === undefined && (image.tag === undefined || image.tag === 'latest');
  return latest ? 'Always' : 'IfNotPresent';
}
