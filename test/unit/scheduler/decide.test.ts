import { describe, expect, it } from 'vitest';
import type { BoardMeasurements } from '../../../src/api/board.ts';
import type { Node, Pod } from '../../../src/api/types/core-v1.ts';
import { type Decision, decide, nodesToFind } from '../../../src/scheduler/decide.ts';
import { podInfo } from '../../../src/scheduler/pod-info.ts';
import { preempt } from '../../../src/scheduler/preemption.ts';
import { Snapshot } from '../../../src/scheduler/snapshot.ts';
import {
  cluster,
  node,
  type PodSpec,
  Pods,
  PROFILE,
  readingsOf,
  schedule as scheduleWith,
  situation,
} from '../../support/scheduling.ts';

const pods = new Pods();
const pod = (spec: PodSpec & { requests?: Record<string, string> } = {}, owner?: string): Pod =>
  pods.make(spec, owner === undefined ? {} : { owner });

const schedule = (
  one: Pod,
  snapshot: Snapshot,
  readings: Record<string, Partial<BoardMeasurements>> = {},
): Decision => scheduleWith(one, snapshot, { readings: readingsOf(readings) });

describe('why a pod fits nowhere', () => {
  it('is worded as by kube-scheduler, reasons counted and sorted', () => {
    const snapshot = cluster([
      node('a', { allocatable: { cpu: '500m' } }),
      node('b', { spec: { taints: [{ key: 'dedicated', value: 'db', effect: 'NoSchedule' }] } }),
      node('c', { spec: { taints: [{ key: 'dedicated', value: 'db', effect: 'NoSchedule' }] } }),
    ]);
    const decision = schedule(pod({ requests: { cpu: '1' } }), snapshot);
    expect(decision.node).toBeUndefined();
    expect(decision.message).toBe(
      '0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).',
    );
    expect(decision.refusedBy).toEqual(['NodeResourcesFit', 'TaintToleration']);
  });

  it('names every resource that is short on a node', () => {
    const one = pod({
      requests: { cpu: '3', memory: '2Gi', 'ephemeral-storage': '11Gi', 'example.com/gpu': '1' },
    });
    expect(schedule(one, cluster([node('a')])).message).toBe(
      '0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, 1 Insufficient example.com/gpu, 1 Insufficient memory.',
    );
  });

  it('without nodes says so', () => {
    expect(schedule(pod(), new Snapshot()).message).toBe('no nodes available to schedule pods');
  });

  const ports = (hostPort: number, hostIP?: string) => ({
    containers: [{ name: 'main', ports: [{ containerPort: 80, hostPort, ...(hostIP ? { hostIP } : {}) }] }],
  });
  it.each<[string, PodSpec, Node, Pod[], string]>([
    ['cordoned', {}, node('a', { spec: { unschedulable: true } }), [], 'node(s) were unschedulable'],
    ['full', {}, node('a'), [1, 2, 3].map(() => pod({ nodeName: 'a' })), 'Too many pods'],
    [
      'node selector',
      { nodeSelector: { disk: 'ssd' } },
      node('a'),
      [],
      "node(s) didn't match Pod's node affinity/selector",
    ],
    [
      'host port',
      ports(80),
      node('a'),
      [pod({ nodeName: 'a', ...ports(80, '10.0.0.1') })],
      "node(s) didn't have free ports for the requested pod ports",
    ],
    [
      'taint without value',
      {},
      node('a', { spec: { taints: [{ key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' }] } }),
      [],
      'node(s) had untolerated taint(s)',
    ],
  ])('%s', (_name, spec, one, pods, reason) => {
    expect(schedule(pod(spec), cluster([one], pods)).message).toBe(`0/1 nodes are available: 1 ${reason}.`);
  });

  it('leaves out nodes that a daemon pod does not mean', () => {
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchFields: [{ key: 'metadata.name', operator: 'In' as const, values: ['b'] }] },
          ],
        },
      },
    };
    const nodes = [node('a'), node('b', { allocatable: { cpu: '0' } }), node('c')];
    expect(schedule(pod({ affinity, requests: { cpu: '1' } }), cluster(nodes)).message).toBe(
      "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    );
    expect(schedule(pod({ affinity }), cluster(nodes)).node).toBe('b');
  });
});

describe('what fits', () => {
  it('counts the larger of init containers and containers, sidecars with both, and overhead', () => {
    const { requests } = podInfo(
      pod({
        initContainers: [
          { name: 'proxy', restartPolicy: 'Always', resources: { requests: { cpu: '100m' } } },
          { name: 'setup', resources: { requests: { cpu: '1', memory: '10Mi' } } },
        ],
        containers: [
          { name: 'a', resources: { requests: { cpu: '300m', memory: '100Mi' } } },
          { name: 'b', resources: { requests: { cpu: '200m' } } },
        ],
        overhead: { cpu: '50m' },
      }),
    );
    expect(requests).toMatchObject({ cpu: 1150, memory: 100 * 2 ** 20 });
  });

  it('counts the most of what a pod wants, was given and runs with while it is resized', () => {
    const resized = (wanted: string, given: string, runs: string, reason?: string) => {
      const made = pod({ containers: [{ name: 'a', resources: { requests: { cpu: wanted } } }] });
      return podInfo({
        ...made,
        status: {
          containerStatuses: [
            {
              name: 'a',
              image: '',
              imageID: '',
              ready: true,
              restartCount: 0,
              allocatedResources: { cpu: given },
              resources: { requests: { cpu: runs } },
            },
          ],
          ...(reason ? { conditions: [{ type: 'PodResizePending', status: 'True', reason }] } : {}),
        },
      }).requests.cpu;
    };
    expect(resized('3', '1', '1')).toBe(3000);
    expect(resized('1', '3', '2')).toBe(3000);
    expect(resized('1', '1', '3')).toBe(3000);
    // What its node can never give it keeps no room.
    expect(resized('9', '1', '1', 'Infeasible')).toBe(1000);
    expect(resized('9', '1', '1', 'Deferred')).toBe(9000);
  });

  it.each([
    ['In', ['x', 'y'], 'x', true],
    ['In', ['x'], undefined, false],
    ['NotIn', ['x'], undefined, true],
    ['NotIn', ['x'], 'x', false],
    ['Exists', undefined, 'x', true],
    ['DoesNotExist', undefined, 'x', false],
    ['Gt', ['3'], '4', true],
    ['Gt', ['3'], 'many', false],
    ['Lt', ['3'], '2', true],
  ] as const)('node affinity %s %s for %s: %s', (operator, values, value, fits) => {
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'k', operator, ...(values ? { values: [...values] } : {}) }] },
          ],
        },
      },
    };
    const one = node('a', value === undefined ? {} : { labels: { k: value } });
    expect(schedule(pod({ affinity }), cluster([one])).node).toBe(fits ? 'a' : undefined);
  });

  it('tolerates by key, value, effect and existence', () => {
    const tainted = node('a', { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } });
    const fits = (toleration: object): boolean =>
      schedule(pod({ tolerations: [toleration] }), cluster([tainted])).node === 'a';
    expect(fits({ key: 'k', value: 'v' })).toBe(true);
    expect(fits({ key: 'k', operator: 'Exists', effect: 'NoSchedule' })).toBe(true);
    expect(fits({ operator: 'Exists' })).toBe(true);
    expect(fits({ key: 'k', value: 'w' })).toBe(false);
    expect(fits({ key: 'k', operator: 'Exists', effect: 'NoExecute' })).toBe(false);
  });

  it('releases what a pod held when it ends', () => {
    const held = pod({ nodeName: 'a', requests: { cpu: '2' } });
    const snapshot = cluster([node('a')], [held]);
    expect(schedule(pod({ requests: { cpu: '1' } }), snapshot).node).toBeUndefined();
    snapshot.setPod({ ...held, status: { phase: 'Succeeded' } }, 0);
    expect(schedule(pod({ requests: { cpu: '1' } }), snapshot).node).toBe('a');
  });
});

describe('the best node', () => {
  it('is the one with less requested, without measurements', () => {
    const snapshot = cluster(
      [node('a'), node('b')],
      [pod({ nodeName: 'a', requests: { cpu: '1', memory: '512Mi' } })],
    );
    expect(schedule(pod(), snapshot).node).toBe('b');
  });

  it('is the one that is really free, with measurements', () => {
    const snapshot = cluster([node('a'), node('b')]);
    expect(schedule(pod(), snapshot, { a: { cpu: 0.9 }, b: { cpu: 0.1 } }).node).toBe('b');
    expect(schedule(pod(), snapshot, { a: {}, b: { memAvailable: 2 ** 28 } }).node).toBe('a');
    expect(schedule(pod(), snapshot, { a: { temperature: 79 }, b: { cpu: 0.2 } }).node).toBe('b');
    expect(schedule(pod(), snapshot, { a: { throttled: true }, b: { cpu: 0.2 } }).node).toBe('b');
  });

  it('does not get a herd: placements count before their load shows', () => {
    const snapshot = cluster([
      node('a', { allocatable: { pods: '50' } }),
      node('b', { allocatable: { pods: '50' } }),
    ]);
    const readings = { a: { cpu: 0.1 }, b: { cpu: 0.3 } };
    const chosen: (string | undefined)[] = [];
    for (let count = 0; count < 10; count += 1) {
      const one = pod();
      const { node: name } = schedule(one, snapshot, readings);
      chosen.push(name);
      snapshot.assume(podInfo(one), name ?? '', 0);
    }
    expect(chosen[0]).toBe('a');
    expect(chosen.filter((name) => name === 'b').length).toBeGreaterThanOrEqual(3);
  });

  it('is the one where room was made for the pod, if it fits there now', () => {
    const snapshot = cluster([node('a'), node('b', { allocatable: { cpu: '8', memory: '8Gi' } })]);
    const choose = (one: Pod): string | undefined =>
      decide(podInfo(one), situation(snapshot), { ...PROFILE, random: () => 0, nominated: 'a' }).node;
    expect(schedule(pod(), snapshot).node).toBe('b');
    expect(choose(pod())).toBe('a');
    expect(choose(pod({ requests: { cpu: '4' } }))).toBe('b');
  });

  it('spreads the pods of one controller', () => {
    const snapshot = cluster(['a', 'b', 'c'].map((name) => node(name)));
    const chosen = [1, 2, 3].map(() => {
      const one = pod({}, 'web');
      const { node: name } = schedule(one, snapshot);
      snapshot.assume(podInfo(one), name ?? '', 0);
      return name;
    });
    expect(new Set(chosen).size).toBe(3);
  });

  it('honours preferred affinity and avoids PreferNoSchedule', () => {
    const nodes = [
      node('a', { labels: { disk: 'ssd' } }),
      node('b', { spec: { taints: [{ key: 'k', effect: 'PreferNoSchedule' }] } }),
      node('c'),
    ];
    expect(['a', 'c']).toContain(schedule(pod(), cluster(nodes)).node);
    const affinity = {
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 10,
            preference: { matchExpressions: [{ key: 'disk', operator: 'In' as const, values: ['ssd'] }] },
          },
        ],
      },
    };
    expect(schedule(pod({ affinity }), cluster(nodes)).node).toBe('a');
  });
});

describe('preemption', () => {
  const run = (one: Pod, snapshot: Snapshot, guarded: string[] = []) => {
    const info = podInfo(one);
    const { resolvable } = decide(info, situation(snapshot), { ...PROFILE, scores: [], random: () => 0 });
    const result = preempt(info, situation(snapshot), {
      filters: PROFILE.filters,
      resolvable,
      protectedOf: (pods) => new Set(pods.filter(({ uid }) => guarded.includes(uid))),
    });
    return { node: result.node, victims: result.victims.map(({ uid }) => uid), message: result.message };
  };
  const low = (nodeName: string, priority: number, cpu: string) =>
    pod({ nodeName, priority, requests: { cpu } });

  it('takes the fewest, least important pods, and leaves the snapshot as it was', () => {
    const [a1, a2, b1] = [low('a', 1, '1'), low('a', 5, '1'), low('b', 3, '2')];
    const snapshot = cluster([node('a'), node('b')], [a1, a2, b1] as Pod[]);
    expect(run(pod({ priority: 10, requests: { cpu: '1' } }), snapshot)).toMatchObject({
      node: 'a',
      victims: [a1?.metadata.uid],
    });
    expect(snapshot.get('a')?.cpu).toBe(2000);
    expect(snapshot.get('a')?.pods.size).toBe(2);
  });

  it('spares what a disruption budget protects if there is a choice', () => {
    const [a1, b1] = [low('a', 1, '2'), low('b', 3, '2')];
    const snapshot = cluster([node('a'), node('b')], [a1, b1] as Pod[]);
    expect(run(pod({ priority: 10, requests: { cpu: '1' } }), snapshot, [a1?.metadata.uid ?? '']).node).toBe(
      'b',
    );
  });

  it('says why it does not help', () => {
    const snapshot = cluster([node('a'), node('b', { spec: { unschedulable: true } })], [low('a', 0, '2')]);
    expect(run(pod({ requests: { cpu: '1' } }), snapshot).message).toBe(
      'no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.',
    );
    expect(
      run(pod({ priority: 9, preemptionPolicy: 'Never', requests: { cpu: '1' } }), snapshot).message,
    ).toBe('no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.');
  });
});

describe('large clusters', () => {
  it.each([
    [10, 10],
    [100, 100],
    [1000, 420],
    [6000, 300],
  ])('of %i nodes look for %i that fit', (nodes, enough) => {
    expect(nodesToFind(nodes)).toBe(enough);
  });
});
