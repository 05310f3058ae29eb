import type { Pod } from '../../api/types/core-v1.ts';
import { containerHash, containerName, identity, LABEL, type NamedContainer, SANDBOX } from '../names.ts';
import { oomScoreAdjust, SANDBOX_OOM_SCORE } from '../pods/qos.ts';
import type { ContainerMount, ContainerSpec } from '../runtime.ts';
import { ContainerConfigError } from './config-error.ts';
import { expand } from './expansion.ts';
import { podHostname } from './hosts.ts';
import { resourceLimits } from './resources.ts';
import { containerSecurity, containerUser } from './security.ts';

export interface ContainerSpecInput {
  pod: Pod;
  named: NamedContainer;
  attempt: number;
  sandboxId: string;
  /** The container that an ephemeral one looks into. */
  targetId?: string;
  env: Map<string, string>;
  /** Volumes, hosts, resolv.conf and the termination log. */
  mounts: ContainerMount[];
  /** The image's USER. */
  imageUser: string;
  memoryCapacityBytes: number;
  /** How many processes it may have; absent: no limit. */
  pidsLimit?: number;
  /** Where /var/log/pods has the log. */
  logPath: string;
  /** Content of the profile that localSeccompProfile names. */
  seccompProfile?: string | undefined;
  /** The pod's control group. */
  cgroupParent?: string | undefined;
}

/** A container of a pod as the engine is to make it. Pure; throws ContainerConfigError. */
export function containerSpec(input: ContainerSpecInput): ContainerSpec {
  const { pod, named, attempt, sandboxId, env } = input;
  const { container, role } = named;
  const lookup = (name: string): string | undefined => env.get(name);
  const { hostPID, hostIPC, hostNetwork, shareProcessNamespace } = pod.spec ?? {};
  const pidTarget = input.targetId ?? (shareProcessNamespace ? sandboxId : undefined);
  const preStop = container.lifecycle?.preStop;
  return {
    name: containerName(pod, container.name, attempt),
    labels: {
      ...podLabels(pod),
      [LABEL.type]: 'container',
      [LABEL.containerName]: container.name,
      [LABEL.sandboxId]: sandboxId,
      [LABEL.restartCount]: String(attempt),
      [LABEL.hash]: containerHash(container),
      [LABEL.logPath]: input.logPath,
      [LABEL.terminationMessagePath]: container.terminationMessagePath ?? '/dev/termination-log',
      [LABEL.terminationMessagePolicy]: container.terminationMessagePolicy ?? 'File',
      ...(preStop ? { [LABEL.preStop]: JSON.stringify(preStop) } : {}),
    },
    image: container.image ?? '',
    ...(container.command ? { entrypoint: container.command.map((word) => expand(word, lookup)) } : {}),
    ...(container.args ? { args: container.args.map((word) => expand(word, lookup)) } : {}),
    env: [...env].map(([key, value]) => `${key}=${value}`),
    ...(container.workingDir ? { workingDir: container.workingDir } : {}),
    ...containerUser(pod, container, input.imageUser),
    tty: container.tty ?? false,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    networkMode: hostNetwork ? 'host' : `container:${sandboxId}`,
    ipcMode: hostIPC ? 'host' : `container:${sandboxId}`,
    ...(pidTarget ? { pidMode: `container:${pidTarget}` } : hostPID ? { pidMode: 'host' } : {}),
    mounts: input.mounts.filter(({ device }) => device === undefined),
    devices: input.mounts.flatMap(({ device, hostPath, containerPath }) =>
      device === undefined ? [] : [{ hostPath, containerPath, permissions: device }],
    ),
    resources: {
      ...(role === 'ephemeral' ? {} : resourceLimits(container)),
      ...(input.pidsLimit === undefined ? {} : { pidsLimit: input.pidsLimit }),
    },
    oomScoreAdj: oomScoreAdjust(pod, container, input.memoryCapacityBytes),
    security: containerSecurity(pod, container, input.seccompProfile),
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
    ...(input.cgroupParent ? { cgroupParent: input.cgroupParent } : {}),
  };
}

/** The sandbox: it holds the pod's namespaces and does nothing. Pure; throws ContainerConfigError. */
export function sandboxSpec(pod: Pod, attempt: number, image: string, clusterDomain: string): ContainerSpec {
  const { hostNetwork, hostIPC, hostPID, securityContext, hostUsers, runtimeClassName, resourceClaims } =
    pod.spec ?? {};
  if (hostUsers === false) {
    throw new ContainerConfigError('user namespaces (hostUsers: false) are not supported with Docker');
  }
  if (runtimeClassName)
    throw new ContainerConfigError(`RuntimeClass "${runtimeClassName}" is not supported on this node`);
  if (resourceClaims?.length)
    throw new ContainerConfigError('resource claims are not supported on this node');
  const sysctls: Record<string, string> = {};
  for (const { name, value } of securityContext?.sysctls ?? []) sysctls[name.replaceAll('/', '.')] = value;
  return {
    name: containerName(pod, SANDBOX, attempt),
    labels: {
      ...podLabels(pod),
      [LABEL.type]: 'podsandbox',
      [LABEL.containerName]: SANDBOX,
      [LABEL.restartCount]: String(attempt),
    },
    image,
    env: [],
    ...(hostNetwork ? {} : { hostname: podHostname(pod, clusterDomain).hostname }),
    tty: false,
    stdin: false,
    stdinOnce: false,
    networkMode: hostNetwork ? 'host' : 'none',
    ipcMode: hostIPC ? 'host' : 'shareable',
    ...(hostPID ? { pidMode: 'host' } : {}),
    mounts: [],
    devices: [],
    resources: { cpuShares: 2 },
    oomScoreAdj: SANDBOX_OOM_SCORE,
    security: {
      privileged: false,
      readOnlyRootFilesystem: true,
      capAdd: [],
      capDrop: [],
      noNewPrivileges: true,
      options: [],
      sysctls,
    },
  };
}

function podLabels(pod: Pod): Record<string, string> {
  const { namespace, name, uid } = identity(pod);
  return {
    // The pod's own labels too, as dockershim has them: monitors select containers by them.
    ...pod.metadata.labels,
    [LABEL.podName]: name,
    [LABEL.podNamespace]: namespace,
    [LABEL.podUid]: uid,
    [LABEL.gracePeriod]: String(pod.spec?.terminationGracePeriodSeconds ?? 30),
  };
}
