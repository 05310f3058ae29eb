import { describe, expect, it } from 'vitest';
import type { Node, Pod, PodSpec } from '../../../src/api/types/core-v1.ts';
import { nodeObjection } from '../../../src/server/bus/node-objection.ts';

const node: Node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'pi', labels: { disk: 'card' } },
  spec: { taints: [{ key: 'gpio', value: 'only', effect: 'NoExecute' }] },
};
const pod = (spec: Partial<PodSpec>, status?: Pod['status']): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', namespace: 'default', uid: 'uid-a' },
  spec: { containers: [], tolerations: [{ key: 'gpio', operator: 'Exists' }], ...spec },
  ...(status ? { status } : {}),
});
const affinity = (value: string): Partial<PodSpec> => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator: 'In', values: [value] }] }],
      },
    },
  },
});

describe('what the server has against a pod on a node', () => {
  it.each<[string, Partial<PodSpec>, string | undefined]>([
    ['nothing', {}, undefined],
    ['a selector that matches', { nodeSelector: { disk: 'card' } }, undefined],
    ['a selector that does not', { nodeSelector: { disk: 'ssd' } }, 'NodeAffinity'],
    ['an affinity that matches', affinity('card'), undefined],
    ['an affinity that does not', affinity('ssd'), 'NodeAffinity'],
    ['a taint', { tolerations: [] }, 'TaintToleration'],
  ])('%s', (_title, spec, reason) => {
    expect(nodeObjection(pod(spec), node)?.reason).toBe(reason);
  });

  it('is asked of pods only that have not started, on a node that exists', () => {
    const spec = { nodeSelector: { disk: 'ssd' } };
    expect(nodeObjection(pod(spec, { startTime: '2026-01-01T00:00:00Z' }), node)).toBeUndefined();
    expect(nodeObjection(pod(spec), undefined)).toBeUndefined();
  });
});
