/**
 * What the agent needs of a container engine. Docker (src/agent/docker) is one implementation, the fake of
 * test/support another; the contract test runs against both. Every call ends within its own deadline.
 * Errors are RuntimeError with a code that the pod's status can be computed from.
 */
export interface ContainerRuntime {
  /** Every container that carries our labels, running or not, in one call. */
  list(): Promise<ObservedContainer[]>;
  /** One container, undefined when it is gone: what an event or a finished call is followed by. */
  inspect(id: string): Promise<ObservedContainer | undefined>;
  /** Creates a container, does not start it. Returns its id. */
  create(spec: ContainerSpec): Promise<string>;
  start(id: string): Promise<void>;
  /** SIGTERM (or the image's STOPSIGNAL), after `graceSeconds` SIGKILL. Resolves when it has ended. Not running is no error. */
  stop(id: string, graceSeconds: number): Promise<void>;
  /** Removes with its anonymous volumes. Missing is no error. */
  remove(id: string): Promise<void>;
  /** Bytes that the container has written into its own layer. The engine may have to walk through it: ask rarely. */
  writableBytes(id: string): Promise<number>;
  /** Updates CPU and memory limits in place. */
  update(id: string, resources: ResourceLimits): Promise<void>;

  imageId(reference: string): Promise<string | undefined>;
  /** By reference or id; undefined when it is not on this machine. */
  inspectImage(reference: string): Promise<ObservedImage | undefined>;
  pull(reference: string, options?: PullOptions): Promise<void>;
  /** Loads a tar as an image, for the sandbox image that the bundle carries. */
  importImage(tar: Buffer, reference: string, config: { entrypoint: string[] }): Promise<void>;

  /**
   * Something happened to one of our containers: look again. Also called after a reconnect, without an id. `what`: the
   * engine's word for it, as far as known (`start`, `die`, …).
   */
  onEvent(listener: (containerId: string | undefined, what?: string) => void): () => void;

  logs(id: string, options: LogOptions, sink: OutputSink, signal: AbortSignal): Promise<void>;
  exec(id: string, options: ExecOptions): Promise<ExecSession>;
  attach(id: string, options: { stdin: boolean; tty: boolean }): Promise<ExecSession>;

  /** Engine facts for nodeInfo; also the liveness test of the engine. */
  version(): Promise<{ name: string; version: string; apiVersion: string; dataDirectory: string }>;
}

export interface ObservedContainer {
  id: string;
  name: string;
  labels: Record<string, string>;
  image: string;
  imageId: string;
  state: 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'dead';
  /** The main process's pid in the host's pid namespace while running. */
  pid?: number;
  /** Milliseconds since 1970. */
  createdAt: number;
  startedAt?: number;
  finishedAt?: number;
  exitCode?: number;
  oomKilled?: boolean;
  /** The engine's message when the start failed. */
  error?: string;
  /** What it was made with, or updated to; absent when the engine does not say. */
  limits?: ResourceLimits;
}

export interface ObservedImage {
  /** `sha256:…` of the configuration. */
  id: string;
  /** `name@sha256:…` when it came from a registry. */
  repoDigests: string[];
  sizeBytes: number;
  /** Go's names: arm64, arm, amd64. */
  architecture: string;
  /** USER of the image: empty, a name or an id, perhaps with a group after a colon. */
  user: string;
}

export interface ContainerSpec {
  /** dockershim convention: k8s_<container>_<pod>_<namespace>_<uid>_<attempt>; POD for the sandbox. */
  name: string;
  labels: Record<string, string>;
  image: string;
  /** Replaces the image's ENTRYPOINT when present (Kubernetes' command). */
  entrypoint?: string[];
  /** Replaces the image's CMD when present (Kubernetes' args); with entrypoint set and this absent CMD is dropped. */
  args?: string[];
  env: string[];
  workingDir?: string;
  user?: string;
  groups?: string[];
  hostname?: string;
  tty: boolean;
  stdin: boolean;
  stdinOnce: boolean;
  /** `none`, `host`, or `container:<id>` to join a sandbox. */
  networkMode: string;
  ipcMode: string;
  pidMode?: string;
  mounts: ContainerMount[];
  devices: { hostPath: string; containerPath: string; permissions: string }[];
  resources: ResourceLimits;
  oomScoreAdj: number;
  security: {
    privileged: boolean;
    readOnlyRootFilesystem: boolean;
    capAdd: string[];
    capDrop: string[];
    noNewPrivileges: boolean;
    /** Docker's --security-opt values: seccomp=…, apparmor=…, label=… */
    options: string[];
    sysctls: Record<string, string>;
    maskedPaths?: string[];
    readonlyPaths?: string[];
  };
  cgroupParent?: string;
  shmSizeBytes?: number;
  /** Instead of the image's STOPSIGNAL. */
  stopSignal?: string;
}

export interface ContainerMount {
  hostPath: string;
  containerPath: string;
  readOnly: boolean;
  propagation?: 'rprivate' | 'rslave' | 'rshared';
  /** What readOnly means for mounts below it; the engine's own way when absent. */
  readOnlyBelow?: 'always' | 'never';
  /** Not a mount: this device is given to the container, and no other. `rwm`, `rm`. */
  device?: string;
}

/** Absent: not limited. */
export interface ResourceLimits {
  cpuShares?: number;
  /** CFS quota in microseconds per 100 ms period. */
  cpuQuota?: number;
  memoryBytes?: number;
  pidsLimit?: number;
}

export interface RegistryAuth {
  username: string;
  password: string;
  serverAddress: string;
  /** In place of both, where a registry gave one. */
  identityToken?: string;
}

export interface PullOptions {
  auth?: RegistryAuth;
  signal?: AbortSignal;
  /** A pull that shows no progress so long is given up; 2 minutes. */
  stallMs?: number;
  /** The engine's report, line by line. */
  onProgress?: (line: {
    id?: string;
    status?: string;
    progressDetail?: { current?: number; total?: number };
  }) => void;
}

export interface LogOptions {
  follow: boolean;
  timestamps: boolean;
  tailLines?: number;
  /** Milliseconds since 1970. */
  since?: number;
}

export interface OutputSink {
  stdout(chunk: Buffer): void;
  stderr(chunk: Buffer): void;
  /** When set and true, the producer waits for `drained` before it reads on. */
  readonly blocked?: boolean;
  drained?(): Promise<void>;
}

export interface ExecOptions {
  command: string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
  user?: string;
}

export interface ExecSession {
  onOutput(sink: OutputSink): void;
  write(chunk: Buffer): boolean;
  onDrain(listener: () => void): void;
  closeStdin(): void;
  resize(columns: number, rows: number): Promise<void>;
  /** The command's exit code. */
  readonly exit: Promise<number>;
  /** Ends the session from our side; the process is left to the engine. */
  close(): void;
  /** Kills the process (exec only): a probe or hook that ran out of time must not pile up in the container. */
  kill(): Promise<void>;
}

export type RuntimeErrorCode =
  | 'NotFound'
  | 'NameConflict'
  | 'ImageNotFound'
  | 'ImagePull'
  | 'ImageArchitecture'
  | 'CommandNotFound'
  | 'InvalidSpec'
  | 'Timeout'
  | 'Unavailable'
  | 'Other';

export class RuntimeError extends Error {
  readonly code: RuntimeErrorCode;
  constructor(code: RuntimeErrorCode, message: string) {
    super(message);
    this.name = 'RuntimeError';
    this.code = code;
  }
}
