import { describe, expect, it } from 'vitest';
import { type Backoff, goDuration, nextBackoff, retryAt } from '../../../../src/agent/pods/backoff.ts';
import { oomFloorOf } from '../../../../src/agent/pods/oom-floor.ts';
import { oomScoreAdjust, qosClass } from '../../../../src/agent/pods/qos.ts';
import { testPod } from '../../../support/fake-node.ts';

describe('crash-loop back-off', () => {
  it('is nothing for the first failure, then doubles from 10 s to 5 min', () => {
    let backoff: Backoff | undefined;
    let now = 0;
    const waits: number[] = [];
    for (let crash = 0; crash < 8; crash += 1) {
      const at = retryAt(backoff, now);
      waits.push(at - now);
      backoff = nextBackoff(backoff, now, at);
      now = at + 1_000;
    }
    expect(waits).toEqual([0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
  });

  it('is forgotten after ten minutes without a failure', () => {
    const backoff = { delayMs: 300_000, updatedAt: 0 };
    expect(retryAt(backoff, 600_000)).toBe(900_000);
    expect(retryAt(backoff, 600_001)).toBe(600_001);
    expect(nextBackoff(backoff, 600_001, 600_001).delayMs).toBe(10_000);
  });
});

it.each([
  [330, '330ms'],
  [1_500, '1.5s'],
  [80_000, '1m20s'],
  [300_000, '5m0s'],
  [3_723_004, '1h2m3.004s'],
])('%i ms is %s in Go', (milliseconds, text) => expect(goDuration(milliseconds)).toBe(text));

describe('quality of service', () => {
  const pod = (...resources: object[]) =>
    testPod('a', {
      containers: resources.map((each, index) => ({ name: `c${index}`, image: 'i', resources: each })),
    });
  const full = { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '1000m', memory: '1024Mi' } };

  it.each([
    ['BestEffort', [{}]],
    ['Guaranteed', [full]],
    ['Guaranteed', [{ limits: full.limits }]],
    ['Burstable', [full, {}]],
    ['Burstable', [{ requests: { cpu: '1m' } }]],
  ] as const)('%s: %j', (expected, resources) => expect(qosClass(pod(...resources))).toBe(expected));

  it('decides who is killed first when memory runs out', () => {
    const score = (resources: object) => {
      const { status: _, ...made } = pod(resources);
      return oomScoreAdjust(made, made.spec?.containers[0] ?? { name: '' }, 1024 ** 3);
    };
    expect(score({})).toBe(1000);
    expect(score(full)).toBe(-997);
    expect(score({ requests: { memory: '256Mi' } })).toBe(750);
    expect(score({ requests: { cpu: '1m' } })).toBe(999);
    expect(score({ requests: { memory: '2Gi' } })).toBe(3);
  });

  it('spares what the node needs, and a sidecar as much as those it serves', () => {
    const made = pod({ requests: { memory: '512Mi' } });
    const side = { name: 'side', restartPolicy: 'Always', resources: { requests: { memory: '1Mi' } } };
    const of = (spec: object) => ({
      ...made,
      status: {},
      spec: { ...made.spec, containers: made.spec?.containers ?? [], ...spec },
    });
    expect(oomScoreAdjust(of({ initContainers: [side] }), side, 1024 ** 3)).toBe(500);
    const critical = of({ priorityClassName: 'system-node-critical', priority: 2_000_001_000 });
    expect(oomScoreAdjust(critical, side, 1024 ** 3)).toBe(-997);
    const cluster = of({ priorityClassName: 'system-cluster-critical', priority: 2_000_000_000 });
    expect(oomScoreAdjust(cluster, { name: 'x' }, 1024 ** 3)).toBe(999);
    // What the pod requests as a whole is its containers' in equal parts.
    const whole = of({ resources: { requests: { memory: '768Mi' } } });
    const [first] = whole.spec.containers;
    expect(oomScoreAdjust(whole, first ?? { name: '' }, 1024 ** 3)).toBe(250);
  });

  it('cannot protect anybody without CAP_SYS_RESOURCE', () => {
    expect(oomFloorOf('CapBnd:\t000001ffffffffff\n', 0)).toBe(-1000);
    expect(oomFloorOf('CapBnd:\t000001fffeffffff\n', 0)).toBe(0);
  });
});
