// What may not change about pods and workloads: each row makes one, changes it, and reads the refusal.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { UpdateProbe, type UpdateRow } from '../../support/update-probe.ts';

let updates: UpdateProbe;
beforeAll(async () => {
  updates = await UpdateProbe.start();
});
afterAll(() => updates.stop());

const CONTAINER = { name: 'c', image: 'i' };
const template = (rest: object = {}): object => ({
  metadata: { labels: { app: 'a' } },
  spec: { containers: [CONTAINER], ...rest },
});
const SELECTOR = { matchLabels: { app: 'a' } };
const workload = (rest: object = {}): object => ({
  spec: { selector: SELECTOR, template: template(), ...rest },
});
const OTHER_SELECTOR = {
  spec: { selector: { matchLabels: { app: 'b' } }, template: { metadata: { labels: { app: 'b' } } } },
};
const SELECTOR_FIXED = ['spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable'];
const job = (rest: object = {}): object => ({
  spec: { suspend: true, template: { spec: { restartPolicy: 'Never', containers: [CONTAINER] } }, ...rest },
});
const GATED = { schedulingGates: [{ name: 'example.com/gate' }] };
const term = (...values: string[]): object => ({
  matchExpressions: [{ key: 'zone', operator: 'In', values }],
});
const nodeAffinity = (...terms: object[]): object => ({
  affinity: {
    nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } },
  },
});
const TERMS = 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms';
const pod = (rest: object = {}): object => ({ spec: { containers: [CONTAINER], ...rest } });
const POD_FIXED =
  'spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n…';

const WORKLOADS: UpdateRow[] = [
  ...['deployments', 'daemonsets', 'replicasets'].map((resource) => ({
    what: `the selector of ${resource}`,
    kind: `apps/v1/${resource}`,
    base: workload(),
    change: OTHER_SELECTOR,
    refused: SELECTOR_FIXED,
  })),
  {
    what: 'the service name of a StatefulSet',
    kind: 'apps/v1/statefulsets',
    base: workload({ serviceName: 's' }),
    change: { spec: { serviceName: 't' } },
    refused: [
      "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    ],
  },
  {
    what: 'replicas and minReadySeconds of a StatefulSet',
    kind: 'apps/v1/statefulsets',
    base: workload({ serviceName: 's' }),
    change: { spec: { replicas: 3, minReadySeconds: 4 } },
    refused: [],
    shows: { metadata: { generation: 2 } },
  },
  {
    what: 'more pods ready than there are',
    kind: 'apps/v1/deployments',
    base: workload(),
    change: { status: { replicas: 1, readyReplicas: 2, availableReplicas: 3 } },
    subresource: 'status',
    refused: [
      'status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas',
      'status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas',
      'status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas',
    ],
  },
  {
    what: 'fewer collisions than before',
    kind: 'apps/v1/daemonsets',
    base: workload(),
    status: { collisionCount: 2 },
    change: { status: { collisionCount: 1 } },
    subresource: 'status',
    refused: ['status.collisionCount: Invalid value: 1: cannot be decremented'],
  },
  {
    what: 'the data of a ControllerRevision',
    kind: 'apps/v1/controllerrevisions',
    base: { revision: 1, data: { a: 1 } },
    change: { data: { a: 2 } },
    refused: ['data: Invalid value: {"a":2}: field is immutable'],
  },
  {
    what: 'the selector of a ReplicationController, which may change',
    kind: 'v1/replicationcontrollers',
    base: { spec: { selector: { app: 'a' }, template: template() } },
    change: { spec: { selector: { app: 'b' }, template: { metadata: { labels: { app: 'b' } } } } },
    refused: [],
    shows: { metadata: { generation: 2 } },
  },
  {
    what: 'the completions of a Job',
    kind: 'batch/v1/jobs',
    base: job({ completions: 2 }),
    change: { spec: { completions: 3 } },
    refused: ['spec.completions: Invalid value: 3: field is immutable'],
  },
  {
    what: 'the completions of an indexed Job alone',
    kind: 'batch/v1/jobs',
    base: job({ completionMode: 'Indexed', completions: 2, parallelism: 2 }),
    change: { spec: { completions: 3 } },
    refused: ['spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism'],
  },
  {
    what: 'the completions of an indexed Job with its parallelism',
    kind: 'batch/v1/jobs',
    base: job({ completionMode: 'Indexed', completions: 2, parallelism: 2 }),
    change: { spec: { completions: 3, parallelism: 3 } },
    refused: [],
  },
  {
    what: 'completion mode, manager and policies of a Job',
    kind: 'batch/v1/jobs',
    base: job({ completions: 1 }),
    change: { spec: { completionMode: 'Indexed', managedBy: 'example.com/m', backoffLimitPerIndex: 1 } },
    refused: [
      'spec.completionMode: Invalid value: "Indexed": field is immutable',
      'spec.backoffLimitPerIndex: Invalid value: 1: field is immutable',
      'spec.managedBy: Invalid value: "example.com/m": field is immutable',
    ],
  },
  {
    what: 'the template of a Job that runs',
    kind: 'batch/v1/jobs',
    base: job({ suspend: false }),
    change: { spec: { template: { spec: { nodeSelector: { a: 'b' } } } } },
    refused: ['spec.template: Invalid value: …'],
  },
  {
    what: 'where and with what the pods of a suspended Job run',
    kind: 'batch/v1/jobs',
    base: job(),
    change: {
      spec: {
        template: {
          metadata: { annotations: { a: 'b' } },
          spec: {
            nodeSelector: { a: 'b' },
            ...nodeAffinity(term('a')),
            containers: [{ ...CONTAINER, resources: { requests: { cpu: '1' } } }],
          },
        },
      },
    },
    refused: [],
  },
  {
    what: 'the pod affinity of a suspended Job',
    kind: 'batch/v1/jobs',
    base: job(),
    change: {
      spec: {
        template: {
          spec: {
            affinity: {
              podAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: [
                  { topologyKey: 'zone', labelSelector: SELECTOR },
                ],
              },
            },
          },
        },
      },
    },
    refused: ['spec.template.spec: Invalid value: …'],
  },
  {
    what: 'the template of a suspended Job whose pods still run',
    kind: 'batch/v1/jobs',
    base: job(),
    status: { active: 1 },
    change: { spec: { template: { spec: { nodeSelector: { a: 'b' } } } } },
    refused: ['spec.template: Invalid value: …'],
  },
  {
    what: 'the template of a Job that ran and was suspended',
    kind: 'batch/v1/jobs',
    base: job(),
    status: {
      startTime: '2026-01-01T00:00:00Z',
      conditions: [{ type: 'Suspended', status: 'True' }],
    },
    change: { spec: { template: { spec: { nodeSelector: { a: 'b' } } } } },
    refused: [],
  },
  {
    what: 'any part of a CronJob',
    kind: 'batch/v1/cronjobs',
    base: { spec: { schedule: '0 * * * *', jobTemplate: job() } },
    change: { spec: { schedule: '5 * * * *', jobTemplate: { spec: { completions: 4 } } } },
    refused: [],
    shows: { metadata: { generation: 2 } },
  },
];

const PODS: UpdateRow[] = [
  {
    what: 'the image of a container',
    kind: 'v1/pods',
    base: pod(),
    change: { spec: { containers: [{ name: 'c', image: 'j' }] } },
    refused: [],
    shows: { metadata: { generation: 2 } },
  },
  {
    what: 'the node selector of a pod',
    kind: 'v1/pods',
    base: pod(),
    change: { spec: { nodeSelector: { a: 'b' } } },
    refused: [POD_FIXED],
  },
  {
    what: 'the deadline of a pod, taken away',
    kind: 'v1/pods',
    base: pod({ activeDeadlineSeconds: 10 }),
    change: { spec: { activeDeadlineSeconds: null } },
    refused: [
      'spec.activeDeadlineSeconds: Invalid value: "null": must not update from a positive integer to nil value',
    ],
  },
  {
    what: 'a new gate',
    kind: 'v1/pods',
    base: pod(GATED),
    change: { spec: { schedulingGates: [...GATED.schedulingGates, { name: 'example.com/b' }] } },
    refused: [
      "spec.schedulingGates[1]: Forbidden: only deletion is allowed, but found new scheduling gate 'example.com/b'",
    ],
  },
  {
    what: 'a label added to the node selector of a gated pod',
    kind: 'v1/pods',
    base: pod({ ...GATED, nodeSelector: { a: 'b' } }),
    change: { spec: { nodeSelector: { c: 'd' } } },
    refused: [],
  },
  {
    what: 'a label changed in the node selector of a gated pod',
    kind: 'v1/pods',
    base: pod({ ...GATED, nodeSelector: { a: 'b' } }),
    change: { spec: { nodeSelector: { a: 'z', c: 'd' } } },
    refused: [
      'spec.nodeSelector: Invalid value: {"a":"z","c":"d"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)',
    ],
  },
  {
    what: 'a requirement added to a term of a gated pod',
    kind: 'v1/pods',
    base: pod({ ...GATED, ...nodeAffinity(term('a')) }),
    change: {
      spec: nodeAffinity({
        matchExpressions: [
          { key: 'zone', operator: 'In', values: ['a'] },
          { key: 'b', operator: 'Exists' },
        ],
      }),
    },
    refused: [],
  },
  {
    what: 'a requirement changed in a term of a gated pod',
    kind: 'v1/pods',
    base: pod({ ...GATED, ...nodeAffinity(term('a')) }),
    change: { spec: nodeAffinity(term('b')) },
    refused: [
      `${TERMS}[0]: Invalid value: {"MatchExpressions":[{"Key":"zone","Operator":"In","Values":["b"]}],"MatchFields":null}: only additions are allowed (no mutations or deletions)`,
    ],
  },
  {
    what: 'a second term of a gated pod',
    kind: 'v1/pods',
    base: pod({ ...GATED, ...nodeAffinity(term('a')) }),
    change: { spec: nodeAffinity(term('a'), term('b')) },
    refused: [`${TERMS}: Invalid value: …`],
  },
  {
    what: 'the class of a pod in its status',
    kind: 'v1/pods',
    base: pod(),
    change: { status: { qosClass: 'Guaranteed' } },
    subresource: 'status',
    refused: ['status.qosClass: Invalid value: "Guaranteed": field is immutable'],
  },
];

describe.each([
  ['workloads', WORKLOADS],
  ['pods', PODS],
])('%s', (_group, rows) => {
  test.each(rows)('$what', (row) => updates.check(row));
});
