import type { Lifecycle } from '../../api/types/core-v1.ts';
import type { ResourceLimits } from '../runtime.ts';

/** What the planner wants done, as data. The executor knows how; `keyOf` says which steps are the same. */
export type Step =
  | { kind: 'PrepareVolumes' }
  | { kind: 'PullImage'; container: string; attempt: number }
  | { kind: 'CreateSandbox'; attempt: number; changed: boolean }
  | { kind: 'StartSandbox'; id: string }
  | { kind: 'AttachNetwork'; sandboxId: string; pid: number }
  | { kind: 'CreateContainer'; container: string; attempt: number; sandboxId: string; restarts: boolean }
  /** Runs the postStart hook too: the container is not done starting before. */
  | { kind: 'StartContainer'; container: string; id: string }
  | {
      kind: 'StopContainer';
      container: string;
      id: string;
      /** Monotonic: when SIGKILL is due. */
      deadline: number;
      preStop?: PreStop;
      message: string;
      /** It is to be run again whatever its restart policy says. */
      restarts?: boolean;
    }
  /** The hook of a sidecar: it runs when the pod begins to end, and the sidecar goes on until its turn comes. */
  | { kind: 'PreStop'; container: string; id: string; deadline: number; preStop: PreStop }
  /** Changes limits of running containers, one after the other, as the pod as a whole allows. */
  | { kind: 'ResizePod'; resizes: ContainerResize[] }
  | { kind: 'RemoveContainer'; id: string; container: string }
  | { kind: 'RemoveSandbox'; id: string }
  | { kind: 'DetachNetwork' }
  | { kind: 'RemoveLogs' }
  | { kind: 'TeardownVolumes' }
  /** When no container of the pod is left in it. */
  | { kind: 'RemoveCgroup' };

export type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>;

export type PreStop = NonNullable<Lifecycle['preStop']>;

export interface ContainerResize {
  container: string;
  id: string;
  limits: ResourceLimits;
  /** Refused below what the container uses. */
  shrinksMemory?: boolean;
}

/** Two steps with one key are the same piece of work: it is under way, or it failed and waits for its retry. */
export function keyOf(step: Step): string {
  switch (step.kind) {
    case 'PullImage':
    case 'CreateContainer':
      return `${step.kind}/${step.container}`;
    case 'StartSandbox':
    case 'StartContainer':
    case 'RemoveContainer':
    case 'RemoveSandbox':
    case 'PreStop':
      return `${step.kind}/${step.id}`;
    case 'StopContainer':
      return `${step.kind}/${step.id}/${Math.round(step.deadline)}`;
    case 'AttachNetwork':
      return `${step.kind}/${step.sandboxId}`;
    default:
      return step.kind;
  }
}

/** Why a container waits: what its status and the plan's retry are computed from. */
export interface Failure {
  /** ErrImagePull, CreateContainerConfigError, … */
  reason: string;
  message: string;
  /** How often in a row. */
  count: number;
  /** Monotonic. */
  failedAt: number;
  retryAt: number;
}
