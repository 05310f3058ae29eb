import { describe, expect, it } from 'vitest';
import type { HorizontalPodAutoscaler } from '../../../src/api/types/autoscaling-v2.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import {
  type History,
  limited,
  NO_HISTORY,
  remember,
  scaled,
} from '../../../src/server/controllers/autoscaler/behavior.ts';
import { type ResourceMetric, recommend } from '../../../src/server/controllers/autoscaler/usage.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const ago = (ms: number): string => new Date(NOW - ms).toISOString();

interface Given {
  /** CPU in cores; undefined: no metric. */
  cpu?: number | undefined;
  memory?: number;
  phase?: 'Pending' | 'Running' | 'Failed';
  ready?: boolean;
  startedMs?: number;
  readyMs?: number;
  request?: string | undefined;
  deleted?: boolean;
}

const DAY = 86_400_000;

function recommendFor(
  given: readonly Given[],
  metric: ResourceMetric = { resource: 'cpu', target: { utilization: 50 } },
  tolerance = { up: 0.1, down: 0.1 },
) {
  const uses = new Map<Pod, Given>();
  const pods = given.map((one, index): Pod => {
    const { phase = 'Running', ready = true, startedMs = DAY, readyMs = startedMs, deleted } = one;
    const request = 'request' in one ? one.request : '100m';
    const pod: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `p${index}`, ...(deleted ? { deletionTimestamp: ago(0) } : {}) },
      spec: {
        containers: [
          {
            name: 'main',
            ...(request ? { resources: { requests: { cpu: request, memory: '100Mi' } } } : {}),
          },
        ],
      },
      status: {
        phase,
        startTime: ago(startedMs),
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: ago(readyMs) }],
      },
    };
    uses.set(pod, one);
    return pod;
  });
  return recommend({
    metric,
    pods,
    usage: (pod) => {
      const { cpu, memory = 0 } = uses.get(pod) ?? {};
      return cpu === undefined
        ? undefined
        : { at: NOW, windowMs: 15_000, containers: [{ name: 'main', cpu, memory }] };
    },
    currentReplicas: given.length,
    tolerance,
    now: NOW,
  });
}

describe('what a metric asks for', () => {
  it.each<[string, Given[], number]>([
    ['all at the target', [{ cpu: 0.05 }, { cpu: 0.05 }], 2],
    ['twice the target', [{ cpu: 0.1 }, { cpu: 0.1 }], 4],
    ['half of it', [{ cpu: 0.02 }, { cpu: 0.03 }], 1],
    ['within tolerance', [{ cpu: 0.054 }, { cpu: 0.055 }], 2],
    ['just outside', [{ cpu: 0.056 }, { cpu: 0.056 }], 3],
    // Down, a pod without a metric counts as using all of its request; up, as using nothing.
    ['one missing, going down', [{ cpu: 0.02 }, { cpu: 0.02 }, { cpu: undefined }], 3],
    ['one missing, going up', [{ cpu: 0.2 }, { cpu: 0.2 }, { cpu: undefined }], 8],
    ['one pending, going up', [{ cpu: 0.2 }, { cpu: undefined, phase: 'Pending' }], 4],
    ['one pending, turning the ratio', [{ cpu: 0.08 }, { cpu: undefined, phase: 'Pending' }], 2],
    [
      'starting pods count as idle, going up',
      [{ cpu: 0.2 }, { cpu: 0.9, startedMs: 20_000, ready: false }],
      4,
    ],
    ['ready shorter than the window', [{ cpu: 0.1 }, { cpu: 0.9, startedMs: 60_000, readyMs: 5000 }], 2],
    ['ready for the whole window', [{ cpu: 0.1 }, { cpu: 0.1, startedMs: 60_000, readyMs: 20_000 }], 4],
    ['never ready, long after the start', [{ cpu: 0.2 }, { cpu: 0.9, ready: false, readyMs: DAY }], 4],
    ['fallen unready later', [{ cpu: 0.1 }, { cpu: 0.1, ready: false, readyMs: 60_000 }], 4],
    [
      'deleted and failed are nobody',
      [{ cpu: 0.1 }, { cpu: 9, deleted: true }, { cpu: 9, phase: 'Failed' }],
      2,
    ],
  ])('%s', (_name, given, replicas) => {
    expect(recommendFor(given).replicas).toBe(replicas);
  });

  it('reports percent and mean', () => {
    expect(recommendFor([{ cpu: 0.1 }, { cpu: 0.05 }])).toEqual({
      replicas: 3,
      utilization: 75,
      average: 75,
    });
  });

  it('takes values for each pod, and single containers', () => {
    const MIB = 2 ** 20;
    const memory = (target: number, more = {}) => ({
      resource: 'memory',
      target: { average: target },
      ...more,
    });
    const given = [
      { cpu: 0, memory: 300 * MIB },
      { cpu: 0, memory: 100 * MIB },
    ];
    expect(recommendFor(given, memory(100 * MIB))).toEqual({ replicas: 4, average: 200 * MIB });
    expect(recommendFor(given, memory(100 * MIB, { container: 'main' })).replicas).toBe(4);
    expect(() => recommendFor(given, memory(100 * MIB, { container: 'other' }))).toThrow(
      'did not receive metrics for targeted pods (pods might be unready)',
    );
  });

  it('says what is wrong', () => {
    expect(() => recommendFor([])).toThrow('no pods returned by selector');
    expect(() => recommendFor([{ cpu: undefined }])).toThrow('did not receive metrics');
    expect(() => recommendFor([{ cpu: 0.1, request: undefined }])).toThrow(
      'missing request for cpu in container main of Pod p0',
    );
  });

  it('heeds a tolerance of its own for each direction', () => {
    const up = [{ cpu: 0.06 }, { cpu: 0.06 }];
    expect(recommendFor(up, undefined, { up: 0.3, down: 0 }).replicas).toBe(2);
    expect(recommendFor([{ cpu: 0.049 }, { cpu: 0.02 }], undefined, { up: 0, down: 0.4 }).replicas).toBe(2);
  });
});

describe('how fast it may go', () => {
  type Behavior = HorizontalPodAutoscaler['spec']['behavior'];
  const spec = (behavior?: Behavior, more = {}): HorizontalPodAutoscaler['spec'] => ({
    maxReplicas: 100,
    minReplicas: 1,
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    ...(behavior ? { behavior } : {}),
    ...more,
  });
  const policies = (...list: [string, number, number][]) =>
    list.map(([type, value, periodSeconds]) => ({ type, value, periodSeconds }));

  /** Recommendations over time, in seconds: what the target becomes. */
  function run(
    given: HorizontalPodAutoscaler['spec'],
    start: number,
    steps: readonly [number, number][],
  ): number[] {
    let history: History = NO_HISTORY;
    let current = start;
    return steps.map(([seconds, desired]) => {
      const step = { spec: given, current, desired, history, now: seconds * 1000 };
      const { replicas } = limited(step);
      history = remember(step);
      if (replicas !== current) history = scaled(history, current, replicas, step.now);
      current = replicas;
      return replicas;
    });
  }
  const reason = (given: HorizontalPodAutoscaler['spec'], current: number, desired: number): string[] => {
    const { ableToScale, scalingLimited } = limited({
      spec: given,
      current,
      desired,
      history: NO_HISTORY,
      now: 0,
    });
    return [ableToScale.reason, scalingLimited.reason];
  };

  it('without behavior at most doubles, and goes down after five minutes of less', () => {
    expect(
      run(spec(), 1, [
        [0, 50],
        [15, 50],
        [30, 50],
      ]),
    ).toEqual([4, 8, 16]);
    expect(
      run(spec(), 10, [
        [0, 10],
        [15, 2],
        [290, 2],
        [301, 2],
      ]),
    ).toEqual([10, 10, 10, 2]);
    expect(reason(spec(undefined, { maxReplicas: 3 }), 2, 9)).toEqual([
      'ReadyForNewScale',
      'TooManyReplicas',
    ]);
    expect(reason(spec(undefined, { minReplicas: 2 }), 3, 1)).toEqual(['ReadyForNewScale', 'TooFewReplicas']);
    expect(reason(spec(), 5, 90)).toEqual(['ReadyForNewScale', 'ScaleUpLimit']);
  });

  it('adds what the policies allow within their periods, the larger or the smaller of them', () => {
    const rules = { policies: policies(['Pods', 4, 15], ['Percent', 100, 15]) };
    expect(
      run(spec({ scaleUp: rules }), 1, [
        [0, 99],
        [10, 99],
        [15, 99],
        [30, 99],
      ]),
    ).toEqual([5, 5, 10, 20]);
    expect(
      run(spec({ scaleUp: { ...rules, selectPolicy: 'Min' } }), 1, [
        [0, 99],
        [15, 99],
      ]),
    ).toEqual([2, 4]);
    expect(run(spec({ scaleUp: { ...rules, selectPolicy: 'Disabled' } }), 1, [[0, 99]])).toEqual([1]);
    expect(reason(spec({ scaleUp: rules }), 10, 50)).toEqual(['ReadyForNewScale', 'ScaleUpLimit']);
  });

  it('takes away what the policies allow', () => {
    const rules = (more: object = {}) =>
      spec({ scaleDown: { stabilizationWindowSeconds: 0, policies: policies(['Pods', 2, 60]), ...more } });
    expect(
      run(rules(), 10, [
        [0, 1],
        [30, 1],
        [60, 1],
      ]),
    ).toEqual([8, 8, 6]);
    expect(
      run(rules({ policies: policies(['Percent', 50, 60], ['Pods', 1, 60]) }), 9, [
        [0, 1],
        [60, 1],
      ]),
    ).toEqual([4, 2]);
    expect(
      run(rules({ policies: policies(['Percent', 50, 60], ['Pods', 1, 60]), selectPolicy: 'Min' }), 9, [
        [0, 1],
      ]),
    ).toEqual([8]);
    expect(run(rules({ selectPolicy: 'Disabled' }), 9, [[0, 1]])).toEqual([9]);
    expect(reason(rules(), 10, 1)).toEqual(['ReadyForNewScale', 'ScaleDownLimit']);
  });

  it('stabilises both ways', () => {
    const up = spec({ scaleUp: { stabilizationWindowSeconds: 60, policies: policies(['Pods', 99, 15]) } });
    expect(
      run(up, 2, [
        [0, 2],
        [15, 9],
        [30, 7],
        [61, 8],
        [76, 9],
        [91, 9],
      ]),
    ).toEqual([2, 2, 2, 7, 7, 8]);
    const down = spec({
      scaleDown: { stabilizationWindowSeconds: 60, policies: policies(['Percent', 100, 15]) },
    });
    expect(
      run(down, 9, [
        [0, 9],
        [15, 3],
        [30, 5],
        [61, 4],
        [91, 4],
      ]),
    ).toEqual([9, 9, 9, 5, 4]);
    const { ableToScale } = limited({
      spec: down,
      current: 9,
      desired: 3,
      history: { ...NO_HISTORY, recommendations: [{ replicas: 9, at: 0 }] },
      now: 1000,
    });
    expect(ableToScale.reason).toBe('ScaleDownStabilized');
  });
});
