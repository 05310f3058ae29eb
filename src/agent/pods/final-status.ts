import type { ContainerState, ContainerStatus } from '../../api/types/core-v1.ts';

/** The kubelet's words for what it cannot say anything about. */
export const LOST: ContainerState = {
  terminated: {
    exitCode: 137,
    reason: 'ContainerStatusUnknown',
    message: 'The container could not be located when the pod was terminated',
  },
};

/**
 * Container statuses of a pod that has ended for good: nobody shall wait for what never began. A container without an end
 * of its own counts as failed; of a pod that never got past its init containers only those that were tried do.
 */
export function settled(statuses: {
  initContainerStatuses: readonly ContainerStatus[];
  containerStatuses: readonly ContainerStatus[];
}): { initContainerStatuses: ContainerStatus[]; containerStatuses: ContainerStatus[] } {
  const { initContainerStatuses, containerStatuses } = statuses;
  const tried = Math.max(initContainerStatuses.findLastIndex(isTried), 0);
  return {
    initContainerStatuses: initContainerStatuses.map((status, index) =>
      index <= tried ? ended(status) : status,
    ),
    containerStatuses: initialized(statuses) ? containerStatuses.map(ended) : [...containerStatuses],
  };
}

function ended(status: ContainerStatus): ContainerStatus {
  return status.state?.terminated ? status : { ...status, state: LOST };
}

function isTried({ state, lastState }: ContainerStatus): boolean {
  return state?.waiting === undefined || lastState?.terminated !== undefined;
}

/** Did the pod ever get to its regular containers? */
function initialized({ initContainerStatuses, containerStatuses }: Parameters<typeof settled>[0]): boolean {
  const last = initContainerStatuses.at(-1);
  return (
    last === undefined ||
    containerStatuses.some(isTried) ||
    last.state?.terminated?.exitCode === 0 ||
    last.lastState?.terminated?.exitCode === 0
  );
}
