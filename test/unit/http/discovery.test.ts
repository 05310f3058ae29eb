import { expect, test } from 'vitest';
import { warningHeader } from '../../../src/server/http/answer.ts';
import { compareVersions } from '../../../src/server/http/discovery.ts';
import { health } from '../../../src/server/http/health.ts';

test('versions are ordered as Kubernetes orders them', () => {
  const versions = ['foo1', 'v1alpha1', 'v10', 'v1', 'v11beta2', 'v3beta1', 'v2', 'v12alpha1', 'foo10'];
  expect(versions.sort(compareVersions)).toEqual([
    'v10',
    'v2',
    'v1',
    'v11beta2',
    'v3beta1',
    'v12alpha1',
    'v1alpha1',
    'foo1',
    'foo10',
  ]);
});

test('a failing check fails the endpoints it counts for, without saying why', () => {
  const checks = [{ name: 'store', for: ['readyz'] as const, check: () => 'disk full' }];
  const options = { verbose: false, exclude: [] };
  expect(health('livez', checks, options)).toEqual({ code: 200, text: 'ok' });
  const ready = health('readyz', checks, options);
  expect(ready?.code).toBe(500);
  expect(ready?.text).toBe('[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n');
  expect(health('readyz', checks, { ...options, exclude: ['store'] })?.code).toBe(200);
  expect(health('readyz', checks, { ...options, only: 'nope' })).toBeUndefined();
});

test('a warning cannot break out of its header', () => {
  expect(warningHeader('say "hi" \\ \r\nx: y é')).toBe('299 - "say \\"hi\\" \\\\   x: y  "');
});
