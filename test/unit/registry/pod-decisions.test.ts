import { expect, it } from 'vitest';
import { podStrategy } from '../../../src/server/registry/strategies/pods.ts';

const pod = (phase: string, metadata: object = {}) => ({
  metadata: { name: 'a', ...metadata },
  status: { phase },
});

it.each([
  ['a pod that has ended', pod('Succeeded'), pod('Running'), true],
  ['one that failed', pod('Failed'), pod('Pending'), true],
  ['what is said of it afterwards', pod('Failed'), pod('Failed'), false],
  ['one that runs', pod('Running'), pod('Pending'), false],
  [
    'one that is about to be removed anyway',
    pod('Succeeded'),
    pod('Running', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    false,
  ],
])('the status of %s is on the disk before it is acknowledged, or not', (_name, next, old, durable) => {
  expect(podStrategy.isDecision?.(next, old)).toBe(durable);
});
