// More rules of Kubernetes' validation that no recording has: volumes, claims, limits, statuses, warnings, selectors.
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../../src/api/object.ts';
import { createStrategies } from '../../../src/server/registry/strategies/index.ts';

const strategies = createStrategies();

function strategyOf(resource: string) {
  const strategy = strategies.get(resource);
  if (!strategy) throw new Error(`no strategy for ${resource}`);
  return strategy;
}

/** `field: message` of what is wrong with a new object. */
function problems(resource: string, given: JsonObject): string[] {
  const strategy = strategyOf(resource);
  const object = structuredClone({ metadata: { name: 'x', namespace: 'default' }, ...given }) as JsonObject;
  strategy.applyDefaults?.(object);
  strategy.prepareForCreate?.(object, 0);
  return [...(strategy.validate?.(object) ?? []), ...(strategy.validateCreate?.(object) ?? [])].map(
    ({ field, message }) => `${field}: ${message}`,
  );
}

/** What is wrong with a change of the status. */
function statusProblems(resource: string, now: JsonObject, before: JsonObject = {}, spec: JsonObject = {}) {
  const whole = (status: JsonObject): JsonObject => ({ metadata: { name: 'x' }, spec, status });
  return (strategyOf(resource).validateStatusUpdate?.(whole(now), whole(before)) ?? []).map(
    ({ field, message }) => `${field}: ${message}`,
  );
}

function warnings(resource: string, given: JsonObject): readonly string[] {
  const object = structuredClone({ metadata: { name: 'x', namespace: 'default' }, ...given }) as JsonObject;
  strategyOf(resource).applyDefaults?.(object);
  return strategyOf(resource).warnings?.(object, undefined) ?? [];
}

describe('volumes', () => {
  const pod = (volume: JsonObject): string[] =>
    problems('pods', {
      spec: { containers: [{ name: 'a', image: 'b' }], volumes: [{ name: 'v', ...volume }] },
    });
  test.each<[string, JsonObject, string[]]>([
    [
      'a path on nfs is absolute',
      { nfs: { server: '', path: 'a' } },
      [
        'spec.volumes[0].nfs.server: Required value',
        'spec.volumes[0].nfs.path: Invalid value: "a": must be an absolute path',
      ],
    ],
    [
      'a token has a path',
      { projected: { sources: [{ serviceAccountToken: { expirationSeconds: 5, path: '' } }] } },
      [
        'spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes',
        'spec.volumes[0].projected.path: Required value',
      ],
    ],
  ])('%s', (_name, volume, expected) => {
    expect(pod(volume)).toEqual(expected);
  });
});

test('bounds of a LimitRange are in order', () => {
  const limits = (...list: JsonObject[]): string[] => problems('limitranges', { spec: { limits: list } });
  const all = { min: { cpu: '2' }, max: { cpu: '1' }, default: { cpu: '3' }, defaultRequest: { cpu: '4' } };
  expect(limits({ type: 'Container', ...all })).toEqual([
    'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
    'spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than max value 1',
    'spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than default value 3',
    'spec.limits[0].default[cpu]: Invalid value: "1": default value 3 is greater than max value 1',
  ]);
  expect(limits({ type: 'Pod', max: { pods: '1' }, default: { cpu: '1' } })).toEqual([
    'spec.limits[0].max[pods]: Invalid value: "pods": must be a standard resource for containers',
    "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
  ]);
});

test('nodes: amounts and taints', () => {
  const taint = { key: 'a', effect: 'NoSchedule' };
  expect(
    problems('nodes', {
      spec: { taints: [taint, { ...taint, value: 'z' }] },
      status: { allocatable: { cpu: '-1', pods: '1500m' } },
    }),
  ).toEqual([
    'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"z","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair',
    'status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0',
    'status.allocatable.pods: Invalid value: "1500m": must be an integer',
  ]);
});

test('finalizers of a namespace: named without an index at first, with one by /finalize', () => {
  const why = 'name is neither a standard finalizer name nor is it fully qualified';
  expect(problems('namespaces', { spec: { finalizers: ['bad'] } })).toEqual([
    `spec.finalizers: Invalid value: "bad": ${why}`,
  ]);
  const namespace = { metadata: { name: 'x' }, spec: { finalizers: ['bad'] } };
  expect(strategyOf('namespaces').validateUpdate?.(namespace, namespace)).toMatchObject([
    { field: 'spec.finalizers[0]' },
  ]);
});

describe('the end of a Job', () => {
  const condition = (...types: string[]): JsonObject[] => types.map((type) => ({ type, status: 'True' }));
  const start = '2026-01-01T00:00:00Z';
  test.each<[string, JsonObject, JsonObject, string[]]>([
    [
      'is told whole',
      { conditions: condition('Complete') },
      {},
      [
        'status.completionTime: Required value: completionTime is required for Complete jobs',
        'status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition',
        'status.startTime: Required value: startTime is required for finished job',
      ],
    ],
    [
      'has a reason',
      { startTime: start, active: 1, conditions: condition('Failed') },
      { startTime: start },
      [
        'status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition',
        'status.active: Invalid value: 1: active>0 is invalid for finished job',
      ],
    ],
    [
      'is not taken back',
      { startTime: start, failed: 1 },
      { startTime: start, failed: 2, conditions: condition('FailureTarget', 'Failed') },
      [
        'status.conditions: Invalid value: cannot disable the terminal Failed=True condition',
        'status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition',
        'status.failed: Invalid value: 1: cannot decrease the failed counter',
      ],
    ],
    [
      'may be told with its reason',
      { startTime: start, conditions: condition('FailureTarget', 'Failed') },
      { startTime: start },
      [],
    ],
    [
      'a resumed one starts anew',
      { startTime: start },
      { startTime: 'x', conditions: condition('Suspended') },
      [],
    ],
  ])('%s', (_name, now, before, expected) => {
    expect(statusProblems('jobs.batch', now, before)).toEqual(expected);
  });
});

test('the status of a pod', () => {
  const status = {
    nominatedNodeName: 'A_b',
    podIPs: [{ ip: '10.0.0.1' }, { ip: '10.0.0.2' }],
    hostIPs: [{ ip: '1.2.3.4' }],
    conditions: [{ type: 'a b', status: 'True' }],
  };
  expect(statusProblems('pods', status).map((text) => text.split(': ', 1)[0])).toEqual([
    'metadata.conditions[0].Type',
    'status.nominatedNodeName',
    'status.podIPs',
    'status.hostIPs[0].ip',
  ]);
  const pod: JsonObject = {
    spec: { containers: [] },
    status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.9' }] },
  };
  strategyOf('pods').applyDefaults?.(pod);
  expect(pod.status).toEqual({ podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] });
});

test('warnings of classes and accounts', () => {
  const key = 'beta.kubernetes.io/os';
  const renamed = 'deprecated since v1.14; use "kubernetes.io/os" instead';
  expect(
    warnings('runtimeclasses.node.k8s.io', { scheduling: { nodeSelector: { [key]: 'linux' } } }),
  ).toEqual([`scheduling.nodeSelector: ${renamed}`]);
  const topologies = [{ matchLabelExpressions: [{ key, values: ['linux'] }] }];
  expect(warnings('storageclasses.storage.k8s.io', { allowedTopologies: topologies })).toEqual([
    `allowedTopologies[0].matchLabelExpressions[0].key: ${renamed}`,
  ]);
  const annotations = { 'kubernetes.io/enforce-mountable-secrets': 'true' };
  expect(warnings('serviceaccounts', { metadata: { name: 'x', annotations } })).toEqual([
    'metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets',
  ]);
});

test('warnings of pods and services', () => {
  const pod = {
    containers: [
      {
        name: 'a',
        image: 'b',
        env: [
          { name: 'E', value: '1' },
          { name: 'E', value: '2' },
        ],
      },
    ],
  };
  expect(warnings('pods', { spec: pod })).toEqual([
    'spec.containers[0].env[1]: hides previous definition of "E", which may be dropped when using apply',
  ]);
  const headless = {
    ports: [{ port: 80 }],
    clusterIP: 'None',
    clusterIPs: ['None'],
    loadBalancerIP: '1.2.3.4',
  };
  expect(warnings('services', { spec: headless })).toEqual([
    'spec.loadBalancerIP is ignored for headless services',
  ]);
});

test('events.k8s.io calls the fields of an Event otherwise', () => {
  const { fieldNames } = strategyOf('events');
  expect(fieldNames?.['events.k8s.io/v1']?.['regarding.name']).toBe('involvedObject.name');
});
