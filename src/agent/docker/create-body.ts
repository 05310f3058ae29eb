import type { ContainerSpec } from '../runtime.ts';

/** Where json-file logs rotate: a board's card must not fill up with them. */
export interface LogFiles {
  /** Bytes of one file. */
  maxSize: number;
  maxFiles: number;
}

/** The kubelet's. */
export const DEFAULT_LOG_FILES: LogFiles = { maxSize: 10 * 1024 * 1024, maxFiles: 5 };
const CPU_PERIOD_US = 100_000;

/** The body of `POST /containers/create`. Pure. */
export function createBody(spec: ContainerSpec, logFiles = DEFAULT_LOG_FILES): object {
  const { security, resources } = spec;
  return {
    Image: spec.image,
    Labels: spec.labels,
    Env: spec.env,
    Tty: spec.tty,
    OpenStdin: spec.stdin,
    StdinOnce: spec.stdinOnce,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    // An image's own HEALTHCHECK would run beside the pod's probes: the kubelet knows nothing of it either.
    Healthcheck: { Test: ['NONE'] },
    ...(spec.entrypoint ? { Entrypoint: spec.entrypoint } : {}),
    ...(spec.args ? { Cmd: spec.args } : {}),
    ...(spec.workingDir ? { WorkingDir: spec.workingDir } : {}),
    ...(spec.user ? { User: spec.user } : {}),
    ...(spec.hostname ? { Hostname: spec.hostname } : {}),
    ...(spec.stopSignal ? { StopSignal: spec.stopSignal } : {}),
    HostConfig: {
      NetworkMode: spec.networkMode,
      IpcMode: spec.ipcMode,
      ...(spec.pidMode ? { PidMode: spec.pidMode } : {}),
      RestartPolicy: { Name: 'no' },
      LogConfig: {
        Type: 'json-file',
        Config: { 'max-size': String(logFiles.maxSize), 'max-file': String(logFiles.maxFiles) },
      },
      Mounts: spec.mounts.map((mount) => ({
        Type: 'bind',
        Source: mount.hostPath,
        Target: mount.containerPath,
        ReadOnly: mount.readOnly,
        BindOptions: {
          // Private is what the engine takes by itself, but for what holds its own files (`/`): that it wants as a slave.
          ...(mount.propagation === undefined || mount.propagation === 'rprivate'
            ? {}
            : { Propagation: mount.propagation }),
          // Engines before API 1.44 know neither: they are not asked for it (see NodeVolumes).
          ...(mount.readOnly && mount.readOnlyBelow === 'always' ? { ReadOnlyForceRecursive: true } : {}),
          ...(mount.readOnly && mount.readOnlyBelow === 'never' ? { ReadOnlyNonRecursive: true } : {}),
        },
      })),
      Devices: spec.devices.map((device) => ({
        PathOnHost: device.hostPath,
        PathInContainer: device.containerPath,
        CgroupPermissions: device.permissions,
      })),
      ...(spec.groups ? { GroupAdd: spec.groups } : {}),
      OomScoreAdj: spec.oomScoreAdj,
      ...limits(resources),
      Privileged: security.privileged,
      ReadonlyRootfs: security.readOnlyRootFilesystem,
      ...(security.capAdd.length > 0 ? { CapAdd: security.capAdd } : {}),
      ...(security.capDrop.length > 0 ? { CapDrop: security.capDrop } : {}),
      SecurityOpt: [...(security.noNewPrivileges ? ['no-new-privileges'] : []), ...security.options],
      ...(Object.keys(security.sysctls).length > 0 ? { Sysctls: security.sysctls } : {}),
      ...(security.maskedPaths ? { MaskedPaths: security.maskedPaths } : {}),
      ...(security.readonlyPaths ? { ReadonlyPaths: security.readonlyPaths } : {}),
      ...(spec.cgroupParent ? { CgroupParent: spec.cgroupParent } : {}),
      ...(spec.shmSizeBytes ? { ShmSize: spec.shmSizeBytes } : {}),
    },
  };
}

/** Docker's names of the limits; also the body of `POST /containers/<id>/update`. */
export function limits(resources: ContainerSpec['resources']): Record<string, number> {
  return {
    ...(resources.cpuShares !== undefined ? { CpuShares: resources.cpuShares } : {}),
    ...(resources.cpuQuota !== undefined ? { CpuQuota: resources.cpuQuota, CpuPeriod: CPU_PERIOD_US } : {}),
    // Swap equal to memory: none on top, as the kubelet's default (NoSwap).
    ...(resources.memoryBytes !== undefined
      ? { Memory: resources.memoryBytes, MemorySwap: resources.memoryBytes }
      : {}),
    ...(resources.pidsLimit !== undefined ? { PidsLimit: resources.pidsLimit } : {}),
  };
}
