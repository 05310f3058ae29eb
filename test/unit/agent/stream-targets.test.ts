import { describe, expect, it } from 'vitest';
import type { PodManager } from '../../../src/agent/pods/manager.ts';
import { streamTargets } from '../../../src/agent/pods/stream-targets.ts';
import type { ContainerStatus } from '../../../src/api/types/core-v1.ts';

/** A board with one pod of one container, `main`, whose runs are given newest first. */
function targets(
  runs: { id: string; state: 'created' | 'running' | 'exited' }[],
  status: Partial<ContainerStatus>,
) {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'default', uid: 'u' },
    spec: { containers: [{ name: 'main' }] },
  };
  const manager = {
    pod: () => ({ pod, status: { containerStatuses: [{ name: 'main', ...status }] } }),
    instances: () => runs,
  };
  return streamTargets(manager as unknown as PodManager);
}
const ended = (id: string) => ({ terminated: { exitCode: 3, containerID: `docker://${id}` } });

describe('the container whose log is meant', () => {
  it('previous: the run before, while the next one runs', () => {
    const board = targets(
      [
        { id: 'b', state: 'running' },
        { id: 'a', state: 'exited' },
      ],
      { state: { running: {} }, lastState: ended('a') },
    );
    expect(board.container('u', 'main', 'previous')).toBe('a');
    expect(board.container('u', 'main', 'newest')).toBe('b');
  });

  it('previous: the newest run, while the container waits for its restart', () => {
    const board = targets([{ id: 'a', state: 'exited' }], {
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: ended('a'),
    });
    expect(board.container('u', 'main', 'previous')).toBe('a');
  });

  it('previous: none, when the first run has ended for good', () => {
    const board = targets([{ id: 'a', state: 'exited' }], { state: ended('a') });
    expect(() => board.container('u', 'main', 'previous')).toThrow(
      'previous terminated container "main" in pod "web" not found',
    );
  });
});
