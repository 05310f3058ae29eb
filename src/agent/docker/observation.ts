import type { ObservedContainer, ResourceLimits } from '../runtime.ts';

/** An entry of `GET /containers/json`: the fields that are read. */
export interface ContainerSummary {
  Id: string;
  Names: string[];
  Image: string;
  ImageID: string;
  /** Seconds. */
  Created: number;
  State: string;
  Labels: Record<string, string>;
}

/** The fields of `GET /containers/<id>/json` that are read. */
export interface ContainerDetails {
  Id: string;
  Name: string;
  Created: string;
  Image: string;
  Config: { Image: string; Labels: Record<string, string> | null };
  State: {
    Status: string;
    Pid: number;
    ExitCode: number;
    OOMKilled: boolean;
    Error: string;
    StartedAt: string;
    FinishedAt: string;
  };
  HostConfig?: { CpuShares?: number; CpuQuota?: number; Memory?: number };
}

type State = ObservedContainer['state'];
const STATES: Readonly<Record<string, State>> = {
  created: 'created',
  running: 'running',
  paused: 'paused',
  restarting: 'restarting',
  removing: 'exited',
  exited: 'exited',
  dead: 'dead',
};

export function stateOf(status: string): State {
  return STATES[status] ?? 'exited';
}

export function fromDetails(details: ContainerDetails): ObservedContainer {
  const { State } = details;
  const startedAt = time(State.StartedAt);
  const finishedAt = time(State.FinishedAt);
  const state = stateOf(State.Status);
  const ended = state !== 'running' && state !== 'paused';
  return {
    id: details.Id,
    name: details.Name.replace(/^\//, ''),
    labels: details.Config.Labels ?? {},
    image: details.Config.Image,
    imageId: details.Image,
    state,
    createdAt: Date.parse(details.Created),
    ...(State.Pid > 0 ? { pid: State.Pid } : {}),
    ...(startedAt !== undefined ? { startedAt } : {}),
    ...(ended && finishedAt !== undefined ? { finishedAt } : {}),
    // A created container that could not be started carries its exit code (126, 127, 128) and the engine's error.
    ...(ended && (state !== 'created' || State.ExitCode !== 0) ? { exitCode: State.ExitCode } : {}),
    ...(State.OOMKilled ? { oomKilled: true } : {}),
    ...(State.Error ? { error: State.Error } : {}),
    ...(details.HostConfig ? { limits: limitsOf(details.HostConfig) } : {}),
  };
}

/** Docker writes 0 for "not limited". */
function limitsOf({
  CpuShares = 0,
  CpuQuota = 0,
  Memory = 0,
}: NonNullable<ContainerDetails['HostConfig']>): ResourceLimits {
  return {
    ...(CpuShares > 0 ? { cpuShares: CpuShares } : {}),
    ...(CpuQuota > 0 ? { cpuQuota: CpuQuota } : {}),
    ...(Memory > 0 ? { memoryBytes: Memory } : {}),
  };
}

/** What the list alone tells, for a container that the engine does not answer for. */
export function fromSummary(summary: ContainerSummary): ObservedContainer {
  return {
    id: summary.Id,
    name: (summary.Names[0] ?? '').replace(/^\//, ''),
    labels: summary.Labels ?? {},
    image: summary.Image,
    imageId: summary.ImageID,
    state: stateOf(summary.State),
    createdAt: summary.Created * 1000,
  };
}

/** Docker writes year 1 for "never". */
function time(text: string): number | undefined {
  const milliseconds = Date.parse(text);
  return Number.isNaN(milliseconds) || milliseconds <= 0 ? undefined : milliseconds;
}
