import type { Pod } from '../../api/types/core-v1.ts';
import { ContainerConfigError } from '../containers/config-error.ts';
import { environment, type FileVariables } from '../containers/environment.ts';
import { localSeccompProfile } from '../containers/security.ts';
import { containerSpec, sandboxSpec } from '../containers/spec.ts';
import { ImageError, isReplaced } from '../images/image-manager.ts';
import { containersOf, identity, LABEL, type NamedContainer } from '../names.ts';
import { type ContainerMount, type ContainerSpec, RuntimeError } from '../runtime.ts';
import { VolumeError } from '../volumes/port.ts';
import { IMAGE_BACKOFF, nextBackoff } from './backoff.ts';
import { latest } from './observe.ts';
import { backoffKey } from './plan-containers.ts';
import { resizePod } from './resize.ts';
import type { PodServices } from './services.ts';
import { StepError } from './step-error.ts';
import type { Step, StepOf } from './steps.ts';
import { endContainer, hookTarget, runPreStop, stopContainer } from './stop.ts';
import type { PodSubject } from './subject.ts';

const RETRY = { retryMs: 1_000, longestMs: 30_000 };
const CONTAINER_RETRY = { retryMs: 10_000, longestMs: 10_000 };
/** The kubelet's back-off for volumes. */
const VOLUME_RETRY = { retryMs: 500, longestMs: 122_000 };
/** For those that one look at the board's own files decides: who plugs the camera in does not want to wait for minutes. */
const LOCAL_VOLUME_RETRY = { retryMs: 500, longestMs: 4_000 };
const HOOK_TIMEOUT_MS = 10 * 60_000;

/**
 * Carries out one step of a plan. What it changes is visible in the view and the facts when it resolves. Throws StepError
 * with what status and events say; connection failures pass through (the view watches the engine's health).
 */
export async function execute(step: Step, subject: PodSubject, services: PodServices): Promise<void> {
  switch (step.kind) {
    case 'StopContainer':
      return await stopContainer(step, subject, services);
    case 'PreStop':
      await runPreStop(step, subject, services);
      subject.facts.preStopped.add(step.id);
      return;
    case 'RemoveContainer':
      return await removeContainer(step, subject, services);
    case 'RemoveSandbox':
      return await removeSandbox(step, services);
    case 'DetachNetwork':
      return await detachNetwork(subject, services);
    case 'RemoveLogs':
      await services.files.removeLogs(subject.uid);
      subject.facts.logsRemoved = true;
      return;
    case 'TeardownVolumes':
      return await teardown(subject, services);
    case 'RemoveCgroup':
      await services.cgroups?.remove(subject.uid);
      subject.facts.cgroupReleased = true;
      return;
    default: {
      const { pod } = subject;
      if (!pod) throw new Error(`${step.kind} needs the pod`);
      return await executeStart(step, pod, subject, services);
    }
  }
}

async function executeStart(step: Step, pod: Pod, subject: PodSubject, services: PodServices): Promise<void> {
  switch (step.kind) {
    case 'PrepareVolumes':
      return await prepareVolumes(pod, subject, services);
    case 'PullImage':
      return await pullImage(step, pod, subject, services);
    case 'CreateSandbox':
      return await sandboxStep(pod, services, () => createSandbox(step, pod, subject, services));
    case 'StartSandbox':
      return await sandboxStep(pod, services, () => start(step.id, subject.uid, services));
    case 'AttachNetwork':
      return await sandboxStep(pod, services, () => attachNetwork(step, pod, subject, services));
    case 'CreateContainer':
      return await createContainer(step, pod, subject, services);
    case 'StartContainer':
      return await startContainer(step, pod, subject, services);
    case 'ResizePod':
      return await resizePod(
        step.resizes,
        { uid: subject.uid, pod, applied: subject.facts.applied },
        services,
      );
    default:
      throw new Error(`unknown step ${step.kind}`);
  }
}

async function prepareVolumes(pod: Pod, { facts }: PodSubject, services: PodServices): Promise<void> {
  // Before anything is made: what fails half-way has to be torn down too.
  facts.volumesReleased = false;
  try {
    await services.files.prepare(pod);
    await services.volumes.prepare(pod);
    facts.volumesReady = true;
  } catch (error) {
    const text = (error as Error).message;
    const message =
      error instanceof VolumeError ? `MountVolume.SetUp failed for volume "${error.volume}" : ${text}` : text;
    const before = facts.failures.get('PrepareVolumes');
    // Told as rarely as by a kubelet that looks at 1, 2, 4, 8, … times half a second.
    if (before?.message !== message || isPowerOfTwo(before.count + 1)) {
      services.events.pod(pod, 'Warning', 'FailedMount', message);
    }
    const costly = error instanceof VolumeError && error.costly;
    throw new StepError({ reason: 'FailedMount', message, ...(costly ? VOLUME_RETRY : LOCAL_VOLUME_RETRY) });
  }
}

async function pullImage(
  step: StepOf<'PullImage'>,
  pod: Pod,
  subject: PodSubject,
  services: PodServices,
): Promise<void> {
  const named = find(pod, step.container);
  const written = named.container.image ?? '';
  const ranBefore = latest(subject.observed(), step.container)?.image === written;
  try {
    const image = await services.images.ensure(pod, named, ranBefore);
    const digest = image.repoDigests[0];
    services.imageNames.set(image.id, digest ? `docker-pullable://${digest}` : `docker://${image.id}`);
    subject.facts.images.set(step.container, {
      attempt: step.attempt,
      imageId: image.id,
      user: image.user,
      ...(image.engineName === undefined ? {} : { engineName: image.engineName }),
    });
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    // A bound pod cannot move: one that has a controller ends here, and the controller's next goes where it can run.
    if (error.wrongArchitecture && named.role !== 'ephemeral' && isReplaced(pod)) {
      subject.facts.killed = { reason: 'ImageArchitecture', message: `Pod was rejected: ${error.message}` };
    }
    services.events.container(pod, named, 'Warning', 'Failed', `Error: ${error.reason}`);
    const pulls = error.reason === 'ErrImagePull';
    throw new StepError({
      reason: error.reason,
      message: error.message,
      retryMs: IMAGE_BACKOFF.initialMs,
      longestMs: pulls ? IMAGE_BACKOFF.maxMs : IMAGE_BACKOFF.initialMs,
    });
  }
}

/** Everything up to the network is, for those who look at the pod, the making of its sandbox. */
async function sandboxStep(pod: Pod, services: PodServices, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isAway(error)) throw error;
    const message = `Failed to create pod sandbox: ${(error as Error).message}`;
    services.events.pod(pod, 'Warning', 'FailedCreatePodSandBox', message);
    throw new StepError({ reason: 'FailedCreatePodSandBox', message, ...RETRY });
  }
}

async function createSandbox(
  step: StepOf<'CreateSandbox'>,
  pod: Pod,
  { facts }: PodSubject,
  services: PodServices,
): Promise<void> {
  facts.cgroupReleased = false;
  if (step.changed) {
    services.events.pod(
      pod,
      'Normal',
      'SandboxChanged',
      'Pod sandbox changed, it will be killed and re-created.',
    );
  }
  const cgroupParent = await services.cgroups?.prepare(pod);
  const spec: ContainerSpec = {
    ...sandboxSpec(pod, step.attempt, services.sandboxImage.reference, services.clusterDomain()),
    ...(cgroupParent ? { cgroupParent } : {}),
  };
  try {
    await create(spec, '', services);
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.code !== 'ImageNotFound') throw error;
    // Somebody has cleaned up the engine's images.
    await services.sandboxImage.ensure();
    await create(spec, '', services);
  }
}

async function attachNetwork(
  step: StepOf<'AttachNetwork'>,
  pod: Pod,
  { facts, uid }: PodSubject,
  services: PodServices,
): Promise<void> {
  facts.networkReleased = false;
  const ips = pod.spec?.hostNetwork
    ? [...services.node().ips]
    : (await services.network.attach(pod, step.pid)).ips;
  await Promise.all([
    services.files.writeHosts(pod, ips),
    services.files.saveNetwork(uid, { sandboxId: step.sandboxId, ips }),
  ]);
  facts.network = { sandboxId: step.sandboxId, ips };
}

async function createContainer(
  step: StepOf<'CreateContainer'>,
  pod: Pod,
  subject: PodSubject,
  services: PodServices,
): Promise<void> {
  const { facts, uid } = subject;
  const named = find(pod, step.container);
  try {
    const spec = await buildSpec(step, pod, named, subject, services);
    const image = facts.images.get(step.container);
    await create({ ...spec, image: image?.engineName ?? spec.image }, image?.imageId ?? '', services);
  } catch (error) {
    if (isAway(error)) throw error;
    const config = error instanceof ContainerConfigError || error instanceof VolumeError;
    const message = (error as Error).message;
    services.events.container(pod, named, 'Warning', 'Failed', `Error: ${message}`);
    throw new StepError({
      reason: config ? 'CreateContainerConfigError' : 'CreateContainerError',
      message,
      ...CONTAINER_RETRY,
    });
  }
  services.events.container(pod, named, 'Normal', 'Created', 'Container created');
  if (step.restarts) {
    const key = backoffKey(named.container);
    const now = services.clock.monotonic();
    const previous = subject.observed().containers.get(step.container)?.[1];
    const endedAt = (previous && facts.ended.get(previous.id)) ?? now;
    facts.backoff.set(key, nextBackoff(facts.backoff.get(key), endedAt, now));
  }
  const created = latest(subject.observed(), step.container);
  if (created) {
    // Nobody waits for a log link, and a pod runs without it.
    services.files.linkLogs(pod, step.container, step.attempt, created.id).catch((error: Error) => {
      services.logger.warn(
        { pod: uid, container: step.container, error: error.message },
        'log link not made',
      );
    });
  }
}

async function buildSpec(
  step: StepOf<'CreateContainer'>,
  pod: Pod,
  named: NamedContainer,
  { facts, uid, observed }: PodSubject,
  services: PodServices,
): Promise<ContainerSpec> {
  const node = services.node();
  const fields = {
    hostIPs: node.ips,
    podIPs: facts.network?.ips ?? [],
    allocatable: node.allocatable,
  };
  const variables = await fileVariables(pod, named, services);
  const env = environment(pod, named.container, services.desired, fields, variables);
  const mounts = await services.volumes.mounts(pod, named.container, env);
  const { hosts, resolvConf } = services.files.paths(uid);
  const addOwn = (hostPath: string, containerPath: string): void => {
    // A volume that the pod mounts there itself comes first.
    if (!mounts.some((mount) => mount.containerPath === containerPath)) {
      mounts.push({ hostPath, containerPath, readOnly: false } satisfies ContainerMount);
    }
  };
  addOwn(hosts, '/etc/hosts');
  addOwn(resolvConf, '/etc/resolv.conf');
  const terminationLog = await services.files.createTerminationLog(uid, step.container, step.attempt);
  addOwn(terminationLog, named.container.terminationMessagePath ?? '/dev/termination-log');
  const target = (named.container as { targetContainerName?: string }).targetContainerName;
  const targetId = target ? latest(observed(), target)?.id : undefined;
  if (target && !targetId) throw new ContainerConfigError(`unable to find target container ${target}`);
  return containerSpec({
    pod,
    named,
    attempt: step.attempt,
    sandboxId: step.sandboxId,
    env,
    mounts,
    imageUser: facts.images.get(step.container)?.user ?? '',
    ...(node.pidsLimit === undefined ? {} : { pidsLimit: node.pidsLimit }),
    memoryCapacityBytes: node.memoryCapacityBytes,
    logPath: services.files.logPath(pod, step.container, step.attempt),
    cgroupParent: await services.cgroups?.parent(pod),
    seccompProfile: await seccompProfile(pod, named, services),
    ...(targetId ? { targetId } : {}),
  });
}

/** Loaded with the first container that has variables in files. */
async function fileVariables(
  pod: Pod,
  { container }: NamedContainer,
  services: PodServices,
): Promise<FileVariables | undefined> {
  if (!container.env?.some(({ valueFrom }) => valueFrom?.fileKeyRef)) return undefined;
  const { readEnvFiles } = await import('./env-files.ts');
  return await readEnvFiles(pod, container, services);
}

async function seccompProfile(
  pod: Pod,
  { container }: NamedContainer,
  { files }: PodServices,
): Promise<string | undefined> {
  const name = localSeccompProfile(pod, container);
  return name === undefined ? undefined : await files.seccompProfile(name);
}

/** Makes a container and puts it into the view, without asking the engine for what is known. */
async function create(wanted: ContainerSpec, imageId: string, services: PodServices): Promise<void> {
  const spec = { ...wanted, oomScoreAdj: Math.max(wanted.oomScoreAdj, services.node().oomScoreFloor) };
  const id = await services.startLimiter
    .run(() => services.runtime.create(spec), spec.labels[LABEL.podUid])
    .catch(async (error) => {
      // An earlier call may have made it after all: look, and the next plan goes on from there.
      if (error instanceof RuntimeError && error.code === 'NameConflict') await services.view.resync();
      throw error;
    });
  services.view.put({
    id,
    name: spec.name,
    labels: spec.labels,
    image: spec.image,
    imageId,
    state: 'created',
    createdAt: services.clock.now(),
  });
}

function start(id: string, podUid: string, services: PodServices): Promise<void> {
  return services.view.lookAfter(id, () =>
    services.startLimiter.run(() => services.runtime.start(id), podUid),
  );
}

async function startContainer(
  step: StepOf<'StartContainer'>,
  pod: Pod,
  subject: PodSubject,
  services: PodServices,
): Promise<void> {
  const named = find(pod, step.container);
  try {
    await start(step.id, subject.uid, services);
  } catch (error) {
    if (isAway(error)) throw error;
    const text = (error as Error).message;
    const quoted = `failed to start container "${step.id}": Error response from daemon: ${text}`;
    // The id would make every attempt's event a new one.
    services.events.container(
      pod,
      named,
      'Warning',
      'Failed',
      `Error: ${quoted.replaceAll(step.id, step.container)}`,
    );
    throw new StepError({ reason: 'RunContainerError', message: quoted, ...CONTAINER_RETRY });
  }
  services.events.container(pod, named, 'Normal', 'Started', 'Container started');
  const pid = services.view.container(step.id)?.pid;
  const user = pid === undefined ? undefined : await services.processUser?.(pid);
  if (user) subject.facts.users.set(step.id, user);
  const hook = named.container.lifecycle?.postStart;
  if (!hook) return;
  try {
    await services.handlers.hook(hook, hookTarget(pod, named, step.id, subject), HOOK_TIMEOUT_MS);
  } catch (error) {
    services.events.container(pod, named, 'Warning', 'FailedPostStartHook', 'PostStartHook failed');
    services.events.container(pod, named, 'Normal', 'Killing', 'FailedPostStartHook');
    const { preStop } = named.container.lifecycle ?? {};
    const deadline = services.clock.monotonic() + (pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000;
    await endContainer({ ...step, deadline, ...(preStop ? { preStop } : {}) }, subject, services);
    throw new StepError({
      reason: 'PostStartHookError',
      message: (error as Error).message,
      ...CONTAINER_RETRY,
    });
  }
}

async function removeContainer(
  step: StepOf<'RemoveContainer'>,
  subject: PodSubject,
  services: PodServices,
): Promise<void> {
  const container = services.view.container(step.id);
  await services.removeLimiter.run(() => services.runtime.remove(step.id), subject.uid);
  services.view.forget(step.id);
  subject.facts.ended.delete(step.id);
  subject.facts.applied.delete(step.id);
  subject.facts.users.delete(step.id);
  subject.facts.preStopped.delete(step.id);
  subject.facts.mustRestart.delete(step.id);
  subject.facts.failures.delete(`StartContainer/${step.id}`);
  if (container) {
    const { labels } = container;
    await services.files.unlinkLogs(
      identityOf(labels),
      step.container,
      Number(labels[LABEL.restartCount] ?? 0),
      step.id,
    );
  }
}

async function removeSandbox(step: StepOf<'RemoveSandbox'>, services: PodServices): Promise<void> {
  // The sandbox does nothing: killing it loses nothing, and removing it by force is one call.
  await services.removeLimiter.run(() => services.runtime.remove(step.id));
  services.view.forget(step.id);
}

async function detachNetwork({ uid, facts }: PodSubject, services: PodServices): Promise<void> {
  await services.network.detach(uid);
  facts.network = undefined;
  facts.networkReleased = true;
}

async function teardown({ uid, facts }: PodSubject, services: PodServices): Promise<void> {
  facts.volumesReady = false;
  await services.volumes.teardown(uid);
  facts.volumesReleased = true;
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}

function find(pod: Pod, name: string): NamedContainer {
  const named = containersOf(pod).find(({ container }) => container.name === name);
  if (!named) throw new Error(`pod ${identity(pod).name} has no container ${name}`);
  return named;
}

function identityOf(labels: Record<string, string>): { namespace: string; name: string; uid: string } {
  return {
    namespace: labels[LABEL.podNamespace] ?? '',
    name: labels[LABEL.podName] ?? '',
    uid: labels[LABEL.podUid] ?? '',
  };
}

function isAway(error: unknown): boolean {
  return error instanceof RuntimeError && error.code === 'Unavailable';
}
