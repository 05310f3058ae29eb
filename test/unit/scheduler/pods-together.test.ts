import { describe, expect, it } from 'vitest';
import type { Node, Pod, PodAffinityTerm, TopologySpreadConstraint } from '../../../src/api/types/core-v1.ts';
import { decide } from '../../../src/scheduler/decide.ts';
import { podInfo } from '../../../src/scheduler/pod-info.ts';
import { labelled } from '../../../src/scheduler/pod-terms.ts';
import { preempt } from '../../../src/scheduler/preemption.ts';
import { cluster, node, Pods, PROFILE, schedule, situation, verdict } from '../../support/scheduling.ts';

const ZONE = 'topology.kubernetes.io/zone';
const HOST = 'kubernetes.io/hostname';
const NEAR = "node(s) didn't match pod affinity rules";
const AWAY = "node(s) didn't match pod anti-affinity rules";
const EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules";
const SPREAD = "node(s) didn't match pod topology spread constraints";

const pods = new Pods();
const web = { app: 'web' };
const roomy = { allocatable: { pods: '50', cpu: '50', memory: '50Gi' } };
const board = (name: string, zone?: string): Node =>
  node(name, { ...roomy, ...(zone === undefined ? {} : { labels: { [ZONE]: zone } }) });
const term = (labels: Record<string, string>, more: Partial<PodAffinityTerm> = {}): PodAffinityTerm => ({
  labelSelector: { matchLabels: labels },
  topologyKey: ZONE,
  ...more,
});
const near = (...terms: PodAffinityTerm[]) => ({
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
});
const away = (...terms: PodAffinityTerm[]) => ({
  affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
});
const on = (nodeName: string, labels: Record<string, string>, more = {}, metadata = {}): Pod =>
  pods.make({ nodeName, ...more }, { labels, ...metadata });

describe('required pod affinity', () => {
  const nodes = [board('a', 'x'), board('b', 'x'), board('c', 'y'), board('d')];

  it('wants the domain of a pod that matches, and a node that has the label', () => {
    const snapshot = cluster(nodes, [on('a', web), on('d', web)]);
    expect(['a', 'b']).toContain(verdict(pods.make(near(term(web))), snapshot));
    expect(verdict(pods.make(near(term({ app: 'db' }))), snapshot)).toBe(`4 ${NEAR}`);
  });

  it('counts a pod only when it matches all terms', () => {
    const both = near(term(web), term({ tier: 'front' }, { topologyKey: HOST }));
    const apart = cluster(nodes, [on('a', web), on('c', { tier: 'front' })]);
    expect(verdict(pods.make(both), apart)).toBe(`4 ${NEAR}`);
    const together = cluster(nodes, [on('b', { ...web, tier: 'front' })]);
    expect(verdict(pods.make(both), together)).toBe('b');
  });

  it('lets the first of a group in that is near to itself only', () => {
    const first = pods.make(near(term(web)), { labels: web });
    expect(['a', 'b', 'c']).toContain(verdict(first, cluster(nodes)));
    expect(verdict(first, cluster([board('d')]))).toBe(`1 ${NEAR}`);
    expect(verdict(pods.make(near(term(web))), cluster(nodes))).toBe(`4 ${NEAR}`);
  });

  it('looks into its own namespace, those named, and those selected', () => {
    const snapshot = cluster(nodes, [on('c', web, {}, { namespace: 'team' })]);
    snapshot.setNamespace('team', { kind: 'team' });
    const asks = (more: Partial<PodAffinityTerm>): string =>
      verdict(pods.make(near(term(web, more))), snapshot);
    expect(asks({})).toBe(`4 ${NEAR}`);
    expect(asks({ namespaces: ['team'] })).toBe('c');
    expect(asks({ namespaceSelector: { matchLabels: { kind: 'team' } } })).toBe('c');
    expect(asks({ namespaceSelector: {} })).toBe('c');
    expect(asks({ namespaceSelector: { matchLabels: { kind: 'other' } } })).toBe(`4 ${NEAR}`);
    snapshot.setNamespace('team', { kind: 'other' });
    expect(asks({ namespaceSelector: { matchLabels: { kind: 'other' } } })).toBe('c');
  });

  it('narrows by matchLabelKeys and mismatchLabelKeys, with the pod’s own values', () => {
    const snapshot = cluster(nodes, [on('a', { ...web, rev: '1' }), on('c', { ...web, rev: '2' })]);
    const asks = (more: Partial<PodAffinityTerm>): string =>
      verdict(pods.make(near(term(web, more)), { labels: { ...web, rev: '2' } }), snapshot);
    expect(asks({ matchLabelKeys: ['rev', 'absent'] })).toBe('c');
    expect(['a', 'b']).toContain(asks({ mismatchLabelKeys: ['rev'] }));
  });

  it('is not resolved by preemption', () => {
    const { resolvable } = schedule(pods.make(near(term({ app: 'db' }))), cluster(nodes, [on('a', web)]));
    expect(resolvable).toEqual([]);
  });
});

describe('required pod anti-affinity', () => {
  const nodes = [board('a', 'x'), board('b', 'x'), board('c', 'y')];

  it('keeps the pod out of the domains of pods that match', () => {
    expect(verdict(pods.make(away(term(web))), cluster(nodes, [on('a', web)]))).toBe('c');
    expect(verdict(pods.make(away(term(web))), cluster(nodes, [on('a', web), on('c', web)]))).toBe(
      `3 ${AWAY}`,
    );
  });

  it('is symmetric: what a placed pod holds against others counts', () => {
    const loner = on('a', { app: 'db' }, away(term(web)));
    const snapshot = cluster(nodes, [loner]);
    expect(verdict(pods.make({}, { labels: web }), snapshot)).toBe('c');
    expect(verdict(pods.make({ nodeSelector: { [ZONE]: 'x' } }, { labels: web }), snapshot)).toBe(
      `1 node(s) didn't match Pod's node affinity/selector, 2 ${EXISTING}`,
    );
    expect(verdict(pods.make({}, { labels: web, namespace: 'other' }), snapshot)).not.toContain('node(s)');
    snapshot.removePod(loner.metadata.uid ?? '', 0);
    expect(['a', 'b', 'c']).toContain(verdict(pods.make({}, { labels: web }), snapshot));
  });

  it('ends with the pod, follows labels of nodes, and can be preempted', () => {
    const guest = on('a', web);
    const snapshot = cluster([board('a', 'x')], [guest]);
    const info = podInfo(pods.make({ ...away(term(web)), priority: 5 }));
    const decision = decide(info, situation(snapshot), { ...PROFILE, random: () => 0 });
    expect(decision.resolvable).toEqual(['a']);
    const { node: freed, victims } = preempt(info, situation(snapshot), {
      filters: PROFILE.filters,
      resolvable: decision.resolvable,
      protectedOf: () => new Set(),
    });
    expect([freed, victims.map(({ uid }) => uid)]).toEqual(['a', [guest.metadata.uid]]);
    expect(verdict(info.pod, snapshot)).toContain(AWAY);
    snapshot.setNode(board('a'));
    expect(verdict(info.pod, snapshot)).toBe('a');
    snapshot.setNode(board('a', 'x'));
    snapshot.setPod({ ...guest, status: { phase: 'Succeeded' } }, 0);
    expect(verdict(info.pod, snapshot)).toBe('a');
  });
});

describe('preferred affinity', () => {
  const nodes = [board('a', 'x'), board('b', 'y')];
  const preferred = (weight: number, labels = web) => [
    { weight, podAffinityTerm: term(labels, { topologyKey: HOST }) },
  ];
  const one = { requests: { cpu: '1', memory: '1Gi' } };

  it('draws to pods that match, or away from them', () => {
    const busy = [on('a', web, one), on('a', web, one)];
    const to = {
      affinity: { podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred(100) } },
    };
    const from = {
      affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred(100) } },
    };
    expect(verdict(pods.make(to), cluster(nodes, busy))).toBe('a');
    expect(verdict(pods.make(from), cluster(nodes, [on('b', web)]))).toBe('a');
  });

  it('counts the wishes of placed pods', () => {
    const host = on(
      'a',
      { app: 'db' },
      {
        ...one,
        affinity: { podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred(50) } },
      },
    );
    expect(verdict(pods.make({}, { labels: web }), cluster(nodes, [host]))).toBe('a');
    const shy = on(
      'a',
      { app: 'db' },
      {
        affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred(50) } },
      },
    );
    expect(verdict(pods.make({}, { labels: web }), cluster(nodes, [shy]))).toBe('b');
    const needy = on('a', { app: 'db' }, { ...one, ...near(term(web, { topologyKey: HOST })) });
    expect(verdict(pods.make({}, { labels: web }), cluster(nodes, [needy]))).toBe('a');
  });
});

describe('topology spread that must hold', () => {
  const nodes = [board('a', 'x'), board('b', 'x'), board('c', 'y')];
  const constraint = (more: Partial<TopologySpreadConstraint> = {}) => ({
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: ZONE,
        whenUnsatisfiable: 'DoNotSchedule' as const,
        labelSelector: { matchLabels: web },
        ...more,
      },
    ],
  });
  const asks = (
    more: Partial<TopologySpreadConstraint>,
    placed: Pod[],
    list: Node[] = nodes,
    spec = {},
  ): string => verdict(pods.make({ ...constraint(more), ...spec }, { labels: web }), cluster(list, placed));

  it('keeps the skew of domains within maxSkew', () => {
    expect(asks({}, [on('a', web)])).toBe('c');
    expect(asks({}, [on('a', web), on('b', web), on('c', web)])).toBe('c');
    expect(asks({ maxSkew: 2 }, [on('a', web)])).not.toContain(SPREAD);
  });

  it('counts pods of its namespace that stay', () => {
    expect(['a', 'b', 'c']).toContain(asks({}, [on('c', web, {}, { namespace: 'other' })]));
    expect(['a', 'b', 'c']).toContain(asks({}, [on('c', web, {}, { deleted: true })]));
  });

  it('names nodes without the label apart', () => {
    const blocked = { nodeSelector: { [HOST]: 'd' } };
    expect(asks({}, [], [...nodes, board('d')], blocked)).toBe(
      `1 ${SPREAD} (missing required label), 3 node(s) didn't match Pod's node affinity/selector`,
    );
  });

  it('takes a missing domain for an empty one until there are minDomains', () => {
    const placed = [on('a', web), on('c', web)];
    expect(asks({ minDomains: 2 }, placed)).not.toContain(SPREAD);
    expect(asks({ minDomains: 3 }, placed)).toBe(`3 ${SPREAD}`);
  });

  it('counts the nodes that its policies include', () => {
    const tainted = node('e', {
      ...roomy,
      labels: { [ZONE]: 'z' },
      spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] },
    });
    const placed = [on('a', web), on('c', web)];
    // The tainted zone is empty: it counts unless taints are honoured.
    expect(asks({}, placed, [...nodes, tainted])).toBe(`1 node(s) had untolerated taint(s), 3 ${SPREAD}`);
    expect(asks({ nodeTaintsPolicy: 'Honor' }, placed, [...nodes, tainted])).not.toContain(SPREAD);
    const inX = { nodeSelector: { [ZONE]: 'x' } };
    expect(asks({}, [on('a', web)], nodes, inX)).not.toContain(SPREAD);
    expect(asks({ nodeAffinityPolicy: 'Ignore' }, [on('a', web)], nodes, inX)).toContain(`2 ${SPREAD}`);
  });

  it('tells revisions apart by matchLabelKeys', () => {
    const placed = [on('a', { ...web, rev: '1' }), on('a', { ...web, rev: '1' })];
    const fresh = pods.make(constraint({ matchLabelKeys: ['rev'] }), { labels: { ...web, rev: '2' } });
    expect(verdict(pods.make(constraint(), { labels: web }), cluster(nodes, placed))).toBe('c');
    const snapshot = cluster(
      [board('a', 'x'), node('c', { labels: { [ZONE]: 'y' }, spec: { unschedulable: true } })],
      placed,
    );
    expect(verdict(fresh, snapshot)).toBe('a');
  });

  it('stays right over placements and removals', () => {
    const snapshot = cluster(nodes);
    const placed: Pod[] = [];
    for (let round = 0; round < 12; round += 1) {
      const one = pods.make(constraint(), { labels: web });
      const chosen = verdict(one, snapshot);
      snapshot.assume(podInfo(one), chosen, 0);
      placed.push({ ...one, spec: { ...one.spec, nodeName: chosen } as Pod['spec'] });
      const inY = placed.filter(({ spec }) => spec?.nodeName === 'c').length;
      expect(Math.abs(placed.length - 2 * inY)).toBeLessThanOrEqual(1);
    }
    for (const one of placed.filter(({ spec }) => spec?.nodeName === 'c')) {
      snapshot.removePod(one.metadata.uid ?? '', 0);
    }
    for (let round = 0; round < 6; round += 1) {
      const one = pods.make(constraint(), { labels: web });
      expect(verdict(one, snapshot)).toBe('c');
      snapshot.assume(podInfo(one), 'c', 0);
    }
  });
});

describe('topology spread that is preferred', () => {
  const nodes = [board('a', 'x'), board('b', 'x'), board('c', 'y')];
  const big = { requests: { cpu: '5', memory: '5Gi' } };

  it('prefers the emptier domain', () => {
    const wish = {
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: ZONE,
          whenUnsatisfiable: 'ScheduleAnyway' as const,
          labelSelector: { matchLabels: web },
        },
      ],
    };
    const snapshot = cluster(nodes, [on('a', web), on('a', web), on('c', web, big)]);
    expect(verdict(pods.make(wish, { labels: web }), snapshot)).toBe('c');
  });

  it('spreads the pods of a controller over zones and nodes by default', () => {
    const snapshot = cluster(nodes);
    const chosen = [1, 2, 3].map(() => {
      const one = pods.make({}, { owner: 'web' });
      const name = verdict(one, snapshot);
      snapshot.assume(podInfo(one), name, 0);
      return name;
    });
    expect(new Set(chosen)).toEqual(new Set(['a', 'b', 'c']));
    expect(chosen.slice(0, 2)).toContain('c');
  });

  it('spreads pods that Services select together', () => {
    const snapshot = cluster(nodes, [on('c', web)]);
    const siblings = () => labelled('default', [{ key: 'app', operator: '=', values: ['web'] }]);
    const one = pods.make({}, { labels: web });
    expect(['a', 'b']).toContain(verdict(one, snapshot, { siblings }));
  });
});
