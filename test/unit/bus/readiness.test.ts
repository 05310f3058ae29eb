import { describe, expect, it } from 'vitest';
import type { Node, Pod, PodCondition } from '../../../src/api/types/core-v1.ts';
import { restoredReadiness, withoutFuture } from '../../../src/server/bus/pod-status.ts';

const said: PodCondition = { type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' };
const podThatIs = (ready: string, phase: 'Running' | 'Failed' = 'Running'): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default', uid: 'u' },
  status: {
    phase,
    conditions: [
      { type: 'PodScheduled', status: 'True' },
      { type: 'Ready', status: ready },
    ],
  },
});
const nodeThatIs = (ready: string): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'board' },
  status: { conditions: [{ type: 'Ready', status: ready }] },
});

describe('readiness that the node monitor took from a pod', () => {
  it('comes back with the node', () => {
    const restored = restoredReadiness(podThatIs('False'), said, nodeThatIs('True'));
    expect(restored?.conditions).toEqual([{ type: 'PodScheduled', status: 'True' }, said]);
  });

  it('stays away while the node is not ready', () => {
    expect(restoredReadiness(podThatIs('False'), said, nodeThatIs('Unknown'))).toBeUndefined();
    expect(restoredReadiness(podThatIs('False'), said, undefined)).toBeUndefined();
  });

  it('is not touched where the agent said the same, said nothing, or the pod has ended', () => {
    expect(restoredReadiness(podThatIs('True'), said, nodeThatIs('True'))).toBeUndefined();
    expect(restoredReadiness(podThatIs('False'), undefined, nodeThatIs('True'))).toBeUndefined();
    expect(restoredReadiness(podThatIs('False', 'Failed'), said, nodeThatIs('True'))).toBeUndefined();
  });
});

describe('conditions from a board whose clock is ahead', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  const ahead: PodCondition = { type: 'Ready', status: 'True', lastTransitionTime: '2027-06-01T00:00:00Z' };

  it('begin when they are told', () => {
    const told = withoutFuture({ conditions: [ahead] }, undefined, now);
    expect(told.conditions?.[0]?.lastTransitionTime).toBe('2026-01-01T12:00:00Z');
  });

  it('keep that beginning when they are told again', () => {
    const first = { conditions: [{ ...ahead, lastTransitionTime: '2026-01-01T11:00:00Z' }] };
    expect(withoutFuture({ conditions: [ahead] }, first, now)).toEqual(first);
  });

  it('are left alone when they lie in the past', () => {
    const status = { conditions: [said] };
    expect(withoutFuture(status, undefined, now)).toBe(status);
  });
});
