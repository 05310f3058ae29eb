import { describe, expect, it } from 'vitest';
import type { DaemonSet, DaemonSetSpec } from '../../../src/api/types/apps-v1.ts';
import type { Node, Taint } from '../../../src/api/types/core-v1.ts';
import { type DaemonPlan, decideDaemonSet } from '../../../src/server/controllers/daemonset/decide.ts';
import { placementOn } from '../../../src/server/controllers/daemonset/placement.ts';
import { names, type PodFacts, pod } from './pods.ts';

const NOW = 1_000_000;

function node(name: string, facts: { labels?: Record<string, string>; taints?: Taint[] } = {}): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, ...(facts.labels ? { labels: facts.labels } : {}) },
    spec: facts.taints ? { taints: facts.taints } : {},
  };
}

function set(spec: Partial<DaemonSetSpec> = {}): DaemonSet {
  const template = { spec: { containers: [{ name: 'main' }] } };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'probe', namespace: 'default', uid: 'probe' },
    spec: { selector: {}, template, ...spec },
  };
}

/** A pod of `old` on a node; `new` by its revision. */
const on = (place: string, facts: PodFacts & { revision?: 'old' | 'new' } = {}) =>
  pod({
    name: `${facts.revision ?? 'old'}-${place}`,
    node: place,
    labels: { 'controller-revision-hash': facts.revision ?? 'old' },
    ...facts,
  });

function decide(spec: Partial<DaemonSetSpec>, nodes: string[], pods: ReturnType<typeof on>[]): DaemonPlan {
  return decideDaemonSet({
    set: set(spec),
    nodes: nodes.map((name) => node(name)),
    pods,
    hash: 'new',
    now: NOW,
  });
}
const rolling = (rollingUpdate: object): Partial<DaemonSetSpec> => ({
  updateStrategy: { type: 'RollingUpdate', rollingUpdate },
});

describe('an update', () => {
  const nodes = ['a', 'b', 'c', 'd'];
  const olds = nodes.map((name) => on(name));

  it.each<[string, number | string, string[]]>([
    ['one after another', 1, ['old-a']],
    ['two at a time', 2, ['old-a', 'old-b']],
    ['a share, rounded up', '30%', ['old-a', 'old-b']],
  ])('replaces %s', (_name, maxUnavailable, expected) => {
    expect(names(decide(rolling({ maxUnavailable }), nodes, olds).remove)).toEqual(expected);
  });

  it('waits for new pods, and replaces old ones that serve nobody at once', () => {
    const pods = [on('a', { revision: 'new', ready: false }), on('b'), on('c', { ready: false }), on('d')];
    expect(names(decide(rolling({ maxUnavailable: 1 }), nodes, pods).remove)).toEqual(['old-c']);
    const soon = [on('a', { revision: 'new', ready: NOW - 4000 }), ...olds.slice(1)];
    expect(names(decide({ minReadySeconds: 5 }, nodes, soon).remove)).toEqual([]);
  });

  it('with a surge brings the new pod first; the old one goes when that is available', () => {
    const surge = rolling({ maxSurge: 1, maxUnavailable: 0 });
    const begun = decide(surge, nodes, olds);
    expect([begun.create, names(begun.remove)]).toEqual([['a'], []]);
    const waiting = decide(surge, nodes, [...olds, on('a', { revision: 'new', ready: false })]);
    expect([waiting.create, names(waiting.remove)]).toEqual([[], []]);
    const next = decide(surge, nodes, [...olds, on('a', { revision: 'new' })]);
    expect([next.create, names(next.remove)]).toEqual([['b'], ['old-a']]);
    const broken = decide(surge, ['a', 'b'], [on('a', { ready: false }), on('b')]);
    expect([broken.create.sort(), names(broken.remove)]).toEqual([['a', 'b'], ['old-a']]);
  });

  it('does nothing with OnDelete; a node without its pod gets the new one', () => {
    const plan = decide({ updateStrategy: { type: 'OnDelete' } }, nodes, olds.slice(1));
    expect([plan.create, names(plan.remove)]).toEqual([['a'], []]);
  });
});

describe('a node', () => {
  it('keeps the oldest of several pods', () => {
    const pods = [
      on('a', { name: 'young', created: 2000, revision: 'new' }),
      on('a', { name: 'aged', created: 1000, revision: 'new' }),
    ];
    expect(names(decide({}, ['a'], pods).remove)).toEqual(['young']);
  });

  it('has an ended pod taken away before it gets another', () => {
    const plan = decide({}, ['a'], [on('a', { phase: 'Failed', revision: 'new' })]);
    expect([plan.create, names(plan.ended)]).toEqual([[], ['new-a']]);
  });

  it.each<[string, Partial<DaemonSetSpec['template']['spec'] & object>, Node, [run: boolean, stay: boolean]]>(
    [
      ['plain', {}, node('a'), [true, true]],
      ['another by name', { nodeName: 'b' }, node('a'), [false, false]],
      ['selected', { nodeSelector: { disk: 'ssd' } }, node('a', { labels: { disk: 'ssd' } }), [true, true]],
      ['not selected', { nodeSelector: { disk: 'ssd' } }, node('a'), [false, false]],
      ['NoSchedule', {}, node('a', { taints: [{ key: 'k', effect: 'NoSchedule' }] }), [false, true]],
      ['NoExecute', {}, node('a', { taints: [{ key: 'k', effect: 'NoExecute' }] }), [false, false]],
      [
        'tolerated',
        { tolerations: [{ operator: 'Exists' }] },
        node('a', { taints: [{ key: 'k', effect: 'NoExecute' }] }),
        [true, true],
      ],
      [
        'in trouble',
        {},
        node('a', {
          taints: [
            { key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' },
            { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' },
            { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' },
          ],
        }),
        [true, true],
      ],
      [
        'without network',
        {},
        node('a', { taints: [{ key: 'node.kubernetes.io/network-unavailable', effect: 'NoSchedule' }] }),
        [false, true],
      ],
      [
        'without network, for a pod of the host network',
        { hostNetwork: true },
        node('a', { taints: [{ key: 'node.kubernetes.io/network-unavailable', effect: 'NoSchedule' }] }),
        [true, true],
      ],
    ],
  )('%s', (_name, spec, one, [run, stay]) => {
    const daemons = set({ template: { spec: { containers: [{ name: 'main' }], ...spec } } });
    expect(placementOn(daemons, one)).toEqual({ run, stay });
  });
});
