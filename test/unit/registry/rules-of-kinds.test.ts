// Rules of Kubernetes' validation that no recording has, one example each: what is refused, and in which words.
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../../src/api/object.ts';
import { createStrategies } from '../../../src/server/registry/strategies/index.ts';

const strategies = createStrategies();

/** `field: message` of what is wrong with a new object. */
function problems(resource: string, given: JsonObject, apiVersion?: string): string[] {
  const strategy = strategies.get(resource);
  if (!strategy) throw new Error(`no strategy for ${resource}`);
  const object = structuredClone({ metadata: { name: 'x', namespace: 'default' }, ...given }) as JsonObject;
  strategy.applyDefaults?.(object);
  strategy.prepareForCreate?.(object, 0);
  return [
    ...(strategy.validate?.(object, apiVersion) ?? []),
    ...(strategy.validateCreate?.(object, apiVersion) ?? []),
  ].map(({ field, message }) => `${field}: ${message}`);
}

const container = (more: JsonObject = {}): JsonObject => ({ name: 'a', image: 'b', ...more });
const pod = (spec: JsonObject): string[] =>
  problems('pods', { spec: { containers: [container()], ...spec } });
const inContainer = (more: JsonObject): string[] => pod({ containers: [container(more)] });

describe('pods', () => {
  test.each<[string, JsonObject, string[]]>([
    [
      'a gated pod has no node yet',
      { nodeName: 'n', schedulingGates: [{ name: 'a' }] },
      ['spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared'],
    ],
    [
      'ephemeral containers come later',
      { ephemeralContainers: [{ name: 'e', image: 'i' }] },
      ['spec.ephemeralContainers: Forbidden: cannot be set on create'],
    ],
    [
      'Windows knows no groups of files',
      { os: { name: 'windows' }, securityContext: { fsGroup: 1 } },
      ['spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod'],
    ],
    [
      "a user namespace shares none of the host's",
      { hostUsers: false, hostPID: true },
      ['spec.hostPID: Forbidden: when `hostUsers` is false'],
    ],
    [
      'a profile on the node lies below the profiles',
      { securityContext: { seccompProfile: { type: 'Localhost', localhostProfile: '/a' } } },
      ['spec.securityContext.seccompProfile.localhostProfile: Invalid value: "/a": must be a relative path'],
    ],
    [
      'keys of labels need a selector',
      {
        topologySpreadConstraints: [
          { maxSkew: 1, topologyKey: 'z', whenUnsatisfiable: 'DoNotSchedule', matchLabelKeys: ['a'] },
        ],
      },
      [
        'spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set',
      ],
    ],
    [
      'a claim is of a device or of a template',
      { resourceClaims: [{ name: 'gpu' }] },
      [
        'spec.resourceClaims[0]: Invalid value: {"name":"gpu"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`',
      ],
    ],
  ])('%s', (_, spec, expected) => {
    expect(pod(spec)).toEqual(expected);
  });

  test.each<[string, JsonObject, string[]]>([
    [
      'claims name what the pod claims',
      { resources: { claims: [{ name: 'gpu' }] } },
      [
        'spec.containers[0].resources.claims[0]: Not found: "gpu": must be one of the names in pod.spec.resourceClaims which is empty',
      ],
    ],
    [
      'a hook does not sleep longer than the pod has',
      { lifecycle: { preStop: { sleep: { seconds: 31 } } } },
      [
        'spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)',
      ],
    ],
    [
      'rules of restarts need exit codes',
      { restartPolicy: 'Never', restartPolicyRules: [{ action: 'Restart' }] },
      ['spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified'],
    ],
    [
      'CPU is divided by one or a thousandth',
      { env: [{ name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '3' } } }] },
      [
        'spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
      ],
    ],
  ])('%s', (_, more, expected) => {
    expect(inContainer(more)).toEqual(expected);
  });

  test('the values of matchLabelKeys are merged into the selectors', () => {
    const term = {
      topologyKey: 'zone',
      labelSelector: { matchLabels: { app: 'web' } },
      matchLabelKeys: ['hash'],
      mismatchLabelKeys: ['tenant'],
    };
    const object: JsonObject = {
      metadata: { name: 'p', labels: { hash: '1', tenant: 'a' } },
      spec: {
        containers: [container()],
        affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
      },
    };
    strategies.get('pods')?.prepareForCreate?.(object, 0);
    expect(term.labelSelector).toEqual({
      matchLabels: { app: 'web' },
      matchExpressions: [
        { key: 'hash', operator: 'In', values: ['1'] },
        { key: 'tenant', operator: 'NotIn', values: ['a'] },
      ],
    });
  });
});

test('Jobs: policies of failure and success', () => {
  const job = (spec: JsonObject): string[] =>
    problems('jobs.batch', {
      metadata: { name: 'j', namespace: 'default', uid: 'u' },
      spec: {
        template: { spec: { restartPolicy: 'Never', containers: [container()] } },
        ...spec,
      },
    }).filter((text) => /Policy|managedBy/.test(text));
  expect(job({ managedBy: 'me' })).toEqual([
    'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
  ]);
  expect(job({ podFailurePolicy: { rules: [{ action: 'FailJob' }] } })).toEqual([
    'spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required',
  ]);
  expect(
    job({
      podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [3, 0] } }] },
    }),
  ).toEqual([
    'spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator',
    'spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0]: must be ordered',
  ]);
  const indexed = { completionMode: 'Indexed', completions: 3 };
  expect(
    job({ ...indexed, successPolicy: { rules: [{ succeededIndexes: '0,2', succeededCount: 3 }] } }),
  ).toEqual([
    'spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)',
  ]);
  expect(job({ ...indexed, successPolicy: { rules: [{ succeededIndexes: '5' }] } })[0]).toContain(
    'too large index: "5"',
  );
});

test('quotas and limits: names, whole numbers, scopes, ratios', () => {
  const quota = (spec: JsonObject): string[] => problems('resourcequotas', { spec });
  expect(quota({ hard: { foo: '1', pods: '1500m' } })).toEqual([
    'spec.hard[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
    'spec.hard[foo]: Invalid value: "foo": must be a standard resource for quota',
    'spec.hard[pods]: Invalid value: "1500m": must be an integer',
  ]);
  expect(quota({ hard: { cpu: '1' }, scopes: ['BestEffort'] })).toEqual([
    'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource',
  ]);
  expect(quota({ hard: { pods: '1' }, scopes: ['Terminating', 'NotTerminating'] })).toEqual([
    'spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes',
  ]);
  const limits = (limit: JsonObject): string[] => problems('limitranges', { spec: { limits: [limit] } });
  expect(limits({ type: 'PersistentVolumeClaim' })).toEqual([
    'spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided',
  ]);
  expect(limits({ type: 'Container', maxLimitRequestRatio: { cpu: '500m' } })).toEqual([
    'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
  ]);
});

test('Services, claims and Events', () => {
  const service = (spec: JsonObject): string[] =>
    problems('services', { spec: { ports: [{ port: 80 }], ...spec } });
  expect(service({ externalIPs: ['127.0.0.1'] })).toEqual([
    'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
  ]);
  expect(service({ clusterIPs: ['10.0.0.5', '10.0.0.6'], clusterIP: '10.0.0.5' })).toContain(
    'spec.clusterIPs: Invalid value: ["10.0.0.5","10.0.0.6"]: may specify no more than one IP for each IP family',
  );
  const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
  expect(
    problems('persistentvolumeclaims', { spec: { ...claim, dataSourceRef: { kind: 'Pod', name: 'p' } } }),
  ).toEqual([
    'spec.dataSourceRef: Invalid value: "Pod": must be \'PersistentVolumeClaim\' when referencing the default apiGroup',
  ]);
  const event = { involvedObject: { kind: 'Pod', namespace: 'default', name: 'p' }, type: 'Odd', count: 2 };
  expect(problems('events', event)).toEqual([]);
  expect(problems('events', event, 'events.k8s.io/v1')).toEqual([
    'eventTime: Required value',
    'type: Invalid value: "": has invalid value: Odd',
    'count: Invalid value: "": needs to be unset',
  ]);
});
