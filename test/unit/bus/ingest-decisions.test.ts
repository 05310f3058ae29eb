import { describe, expect, it } from 'vitest';
import type { Node, NodeCondition, Pod, PodStatus } from '../../../src/api/types/core-v1.ts';
import {
  conditionsAfterHeartbeat,
  nodeToCreate,
  REGISTERED_LABELS,
  registrationPatch,
  statusAfterRegistration,
} from '../../../src/server/bus/node-objects.ts';
import { judgeReport, mergePodStatus } from '../../../src/server/bus/pod-status.ts';
import type { NodeRegistration } from '../../../src/wire/messages.ts';

const registration: NodeRegistration = {
  v: 1,
  labels: { disk: 'ssd', room: 'attic' },
  taints: [{ key: 'edge', effect: 'NoSchedule' }],
  addresses: [{ type: 'InternalIP', address: '10.0.0.5' }],
  capacity: { cpu: '4', memory: '1000Mi', pods: '110' },
  allocatable: { cpu: '4', memory: '900Mi', pods: '110' },
  nodeInfo: {
    architecture: 'arm64',
    bootID: 'b',
    containerRuntimeVersion: 'docker://20.10.24',
    kernelVersion: '6.1',
    kubeProxyVersion: '',
    kubeletVersion: 'v1.36.0',
    machineID: 'm',
    operatingSystem: 'linux',
    osImage: 'Debian',
    systemUUID: 's',
  },
};

const created = (): Node => ({ apiVersion: 'v1', kind: 'Node', ...nodeToCreate('pi', registration) }) as Node;

describe('registration', () => {
  it('creates with labels and taints', () => {
    const node = created();
    expect(node.metadata.labels).toMatchObject({
      disk: 'ssd',
      'kubernetes.io/hostname': 'pi',
      'kubernetes.io/arch': 'arm64',
      'kubernetes.io/os': 'linux',
    });
    expect(node.spec?.taints).toEqual(registration.taints);
    expect(registrationPatch(node, registration)).toBeUndefined();
  });

  it('keeps what users set and follows what the agent changes', () => {
    const node = created();
    node.metadata.labels = {
      ...node.metadata.labels,
      room: 'cellar',
      mine: 'yes',
      'kubernetes.io/arch': 'wrong',
    };
    delete node.metadata.labels.disk;
    expect(registrationPatch(node, registration)).toEqual({
      metadata: { labels: { 'kubernetes.io/arch': 'arm64' } },
    });
    const next = { ...registration, labels: { disk: 'nvme', zone: 'z' } };
    expect(registrationPatch(node, next)).toEqual({
      metadata: {
        labels: { 'kubernetes.io/arch': 'arm64', disk: 'nvme', zone: 'z' },
        annotations: { [REGISTERED_LABELS]: JSON.stringify(next.labels) },
      },
    });
    const unchanged = created();
    expect(registrationPatch(unchanged, { ...registration, labels: { disk: 'ssd' } })).toMatchObject({
      metadata: { labels: { room: null } },
    });
  });

  it('changes the status only when a fact is new, and leaves conditions alone', () => {
    const conditions = [{ type: 'Ready', status: 'True' }];
    const status = statusAfterRegistration({ conditions, images: [] }, registration);
    expect(status).toMatchObject({
      conditions,
      capacity: registration.capacity,
      nodeInfo: registration.nodeInfo,
    });
    expect(statusAfterRegistration(status, registration)).toBeUndefined();
    expect(statusAfterRegistration(status, { ...registration, addresses: [] })?.addresses).toEqual([]);
  });
});

describe('conditions after a heartbeat', () => {
  const T0 = '2026-01-01T00:00:00Z';
  const T1 = '2026-01-01T00:00:10Z';
  const T9 = '2026-01-01T00:09:00Z';
  const byType = (conditions: readonly NodeCondition[] | undefined) =>
    Object.fromEntries((conditions ?? []).map((condition) => [condition.type, condition]));

  it('makes a new node Ready in the words of kubelet', () => {
    const conditions = byType(conditionsAfterHeartbeat([], {}, T0, 300_000));
    expect(Object.keys(conditions)).toEqual(['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready']);
    expect(conditions.Ready).toMatchObject({
      status: 'True',
      reason: 'KubeletReady',
      lastTransitionTime: T0,
    });
    expect(conditions.DiskPressure).toMatchObject({ status: 'False', reason: 'KubeletHasNoDiskPressure' });
  });

  it('is silent while nothing changes, and renews the times now and then', () => {
    const before = conditionsAfterHeartbeat([], {}, T0, 300_000) ?? [];
    expect(conditionsAfterHeartbeat(before, {}, T1, 300_000)).toBeUndefined();
    const renewed = byType(conditionsAfterHeartbeat(before, {}, T9, 300_000));
    expect(renewed.Ready).toMatchObject({ lastHeartbeatTime: T9, lastTransitionTime: T0 });
  });

  it('heals what the node monitor said, and keeps conditions of others', () => {
    const foreign = { type: 'NetworkUnavailable', status: 'False', reason: 'RouteCreated' };
    const unknown = { type: 'Ready', status: 'Unknown', reason: 'NodeStatusUnknown', lastTransitionTime: T0 };
    const conditions = byType(conditionsAfterHeartbeat([foreign, unknown], {}, T1, 300_000));
    expect(conditions.Ready).toMatchObject({ status: 'True', lastTransitionTime: T1 });
    expect(conditions.NetworkUnavailable).toEqual(foreign);
  });

  it('shows what is bad, and conditions of boards until they are over', () => {
    const before = conditionsAfterHeartbeat([], {}, T0, 300_000) ?? [];
    const bad =
      conditionsAfterHeartbeat(
        before,
        { Ready: 'docker is down', Throttled: 'under-voltage' },
        T1,
        300_000,
      ) ?? [];
    expect(byType(bad)).toMatchObject({
      Ready: {
        status: 'False',
        reason: 'KubeletNotReady',
        message: 'docker is down',
        lastTransitionTime: T1,
      },
      Throttled: { status: 'True', message: 'under-voltage' },
      MemoryPressure: { status: 'False', lastTransitionTime: T0 },
    });
    expect(byType(conditionsAfterHeartbeat(bad, {}, T9, 300_000)).Throttled).toMatchObject({
      status: 'False',
    });
  });
});

describe('pod status', () => {
  const scheduled = { type: 'PodScheduled', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' };

  it('takes the report and keeps what others wrote', () => {
    const existing: PodStatus = {
      phase: 'Pending',
      qosClass: 'Burstable',
      nominatedNodeName: 'x',
      conditions: [
        scheduled,
        { type: 'example.com/gate', status: 'True' },
        { type: 'Ready', status: 'False' },
      ],
    };
    const merged = mergePodStatus(existing, {
      phase: 'Running',
      podIP: '10.42.0.2',
      conditions: [
        { type: 'Ready', status: 'True' },
        { type: 'PodScheduled', status: 'True', observedGeneration: 2 },
      ],
    });
    expect(merged).toMatchObject({
      phase: 'Running',
      podIP: '10.42.0.2',
      qosClass: 'Burstable',
      nominatedNodeName: 'x',
    });
    expect(merged?.conditions).toEqual([
      { type: 'Ready', status: 'True' },
      { ...scheduled, observedGeneration: 2 },
      { type: 'example.com/gate', status: 'True' },
    ]);
    expect(
      mergePodStatus(merged, {
        phase: 'Running',
        podIP: '10.42.0.2',
        conditions: [{ type: 'Ready', status: 'True' }],
      }),
    ).toBeUndefined();
  });

  it('lets a resize be over when its agent says no more of it', () => {
    const conditions = [
      { type: 'PodResizePending', status: 'True' },
      { type: 'PodResizeInProgress', status: 'True' },
      { type: 'DisruptionTarget', status: 'True' },
    ];
    const merged = mergePodStatus({ phase: 'Running', conditions }, { phase: 'Running', conditions: [] });
    expect(merged?.conditions?.map(({ type }) => type)).toEqual(['DisruptionTarget']);
  });

  it('never brings an ended pod back', () => {
    const ended: PodStatus = { phase: 'Failed', reason: 'Evicted', message: 'memory' };
    const merged = mergePodStatus(ended, { phase: 'Running', containerStatuses: [] });
    expect(merged).toMatchObject({ phase: 'Failed', reason: 'Evicted', containerStatuses: [] });
  });

  it('hears a node on its own pods only, newest first', () => {
    const pod: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', namespace: 'd', uid: 'u' },
      spec: { nodeName: 'a', containers: [] },
    };
    const report = { uid: 'u', namespace: 'd', name: 'p', sequence: 5 };
    expect(judgeReport(pod, report, 'a', undefined)).toBe('apply');
    expect(judgeReport(pod, report, 'a', 5)).toBe('apply');
    expect(judgeReport(pod, report, 'a', 6)).toBe('stale');
    expect(judgeReport(pod, report, 'b', undefined)).toBe('forget');
    expect(judgeReport(pod, { ...report, uid: 'other' }, 'a', undefined)).toBe('forget');
    expect(judgeReport(pod, { ...report, name: 'q' }, 'a', undefined)).toBe('forget');
    expect(judgeReport(undefined, report, 'a', undefined)).toBe('forget');
  });
});
