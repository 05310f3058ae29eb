import { describe, expect, it } from 'vitest';
import { newFacts, type PodFacts } from '../../../../src/agent/pods/facts.ts';
import { observePod } from '../../../../src/agent/pods/observe.ts';
import { parseProcessUser } from '../../../../src/agent/pods/process-user.ts';
import { computeStatus } from '../../../../src/agent/pods/status.ts';
import { volumeMountStatuses } from '../../../../src/agent/pods/volume-mount-status.ts';
import type { Pod, PodStatus } from '../../../../src/api/types/core-v1.ts';
import { testPod } from '../../../support/fake-node.ts';

function statusOf(pod: Pod, more: { facts?: Partial<PodFacts>; previous?: PodStatus } = {}): PodStatus {
  return computeStatus({
    pod,
    observed: observePod('uid-a', []),
    facts: { ...newFacts(), ...more.facts },
    waiting: new Map(),
    previous: more.previous,
    messages: new Map(),
    imageNames: new Map(),
    node: { ips: ['192.168.1.10'], recursiveReadOnly: true },
    ended: false,
    now: 0,
  });
}

describe('a container status', () => {
  it('tells of mounts, and whether what is below them is read-only too', () => {
    const volumeMounts = [
      { name: 'a', mountPath: '/a' },
      { name: 'b', mountPath: '/b', readOnly: true },
      { name: 'c', mountPath: '/c', readOnly: true, recursiveReadOnly: 'IfPossible' },
      { name: 'd', mountPath: '/d', readOnly: true, recursiveReadOnly: 'Enabled' },
    ];
    const told = (recursive: boolean) =>
      volumeMountStatuses({ name: 'web', volumeMounts }, recursive).map(
        ({ name, readOnly, recursiveReadOnly }) => [name, readOnly, recursiveReadOnly],
      );
    expect(told(true)).toEqual([
      ['a', undefined, undefined],
      ['b', true, 'Disabled'],
      ['c', true, 'Enabled'],
      ['d', true, 'Enabled'],
    ]);
    expect(told(false).map(([, , recursive]) => recursive)).toEqual([
      undefined,
      'Disabled',
      'Disabled',
      'Disabled',
    ]);
    const [status] =
      statusOf(testPod('a', { containers: [{ name: 'web', volumeMounts }] })).containerStatuses ?? [];
    expect(status?.volumeMounts).toHaveLength(4);
  });

  it('tells whom the container runs as', () => {
    const text =
      'Name:\tsleep\nUid:\t1000\t1000\t1000\t1000\nGid:\t3000\t3000\t3000\t3000\nGroups:\t4000 5000 \n';
    expect(parseProcessUser(text)).toEqual({ uid: 1000, gid: 3000, supplementalGroups: [3000, 4000, 5000] });
    expect(parseProcessUser('Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t \n')).toEqual({
      uid: 0,
      gid: 0,
      supplementalGroups: [0],
    });
    expect(parseProcessUser('')).toBeUndefined();
  });

  it('stands in the list by its name; those of init containers keep their order', () => {
    const named = (name: string) => ({ name, image: 'web' });
    const pod = testPod('a', {
      initContainers: [named('z'), named('y')],
      containers: [named('b'), named('a'), named('B')],
    });
    const status = statusOf(pod);
    expect(status.containerStatuses?.map(({ name }) => name)).toEqual(['B', 'a', 'b']);
    expect(status.initContainerStatuses?.map(({ name }) => name)).toEqual(['z', 'y']);
  });
});

describe('the status of a pod', () => {
  const asks = (name: string, limits: Record<string, string>) => ({
    name,
    resources: { requests: { cpu: '250m', memory: '64Mi' }, limits },
  });

  it('tells what it has been given as a whole, and the limits that its group has', () => {
    const containers = [asks('a', { cpu: '1', memory: '128Mi' }), asks('b', { memory: '128Mi' })];
    const { allocatedResources, resources } = statusOf(testPod('a', { containers }));
    expect(allocatedResources).toEqual({ cpu: '500m', memory: '128Mi' });
    expect(resources).toEqual({ requests: { cpu: '500m', memory: '128Mi' }, limits: { memory: '256Mi' } });
    const own = { requests: { memory: '100Mi' }, limits: { memory: '1Gi' } };
    expect(statusOf(testPod('a', { containers, resources: own }))).toMatchObject({
      allocatedResources: { cpu: '500m', memory: '100Mi' },
      resources: own,
    });
    expect(statusOf(testPod('a', { containers: [{ name: 'web' }] })).resources).toEqual({});
  });
});

describe('the status of a pod that is ended', () => {
  const pod = testPod('a', { containers: [{ name: 'web', image: 'web' }] });
  const killed = { reason: 'Evicted', message: 'low', disruption: true };

  it('is as before until nothing runs, and says why then', () => {
    const previous: PodStatus = { phase: 'Running' };
    expect(statusOf(pod, { previous, facts: { killed } })).toMatchObject({ phase: 'Running' });
    expect(statusOf(pod, { previous, facts: { killed } }).reason).toBeUndefined();
    const status = statusOf(pod, { previous, facts: { killed, stopped: true } });
    expect(status).toMatchObject({ phase: 'Failed', reason: 'Evicted', message: 'low' });
    expect(status.conditions?.at(-1)).toMatchObject({ type: 'DisruptionTarget', status: 'True' });
  });

  it('never goes back', () => {
    const previous: PodStatus = { phase: 'Succeeded' };
    expect(statusOf(pod, { previous, facts: { killed, stopped: true } }).phase).toBe('Succeeded');
  });
});
