import { expect, it } from 'vitest';
import { buildRoutes, findRoute } from '../../../../src/agent/ingress/routes.ts';
import type { SharedIngress } from '../../../../src/wire/messages.ts';
import { sharedIngress } from '../../../support/ingress.ts';

const chosen = (ingresses: SharedIngress[], host: string, path = '/'): string | undefined =>
  findRoute(buildRoutes(ingresses), host, path)?.service;
const at = (day: number): Partial<SharedIngress> => ({ created: `2026-01-0${day}T00:00:00Z` });
const rest = (service: string): Partial<SharedIngress> => ({ defaultBackend: { service, port: 80 } });

it('prefers the exact host, then the wildcard, then rules without host; a path that only the next has is found there', () => {
  const all = [
    sharedIngress('all', {
      'a.test.com': { '/a': 'exact' },
      '*.test.com': { '/': 'wild', '/a/b': 'wild' },
      '*': { '/': 'any', '/only': 'any' },
    }),
  ];
  expect(chosen(all, 'a.test.com', '/a/b')).toBe('exact');
  expect(chosen(all, 'a.test.com', '/other')).toBe('wild');
  expect(chosen(all, 'b.test.com', '/a')).toBe('wild');
  expect(chosen(all, 'b.c.test.com', '/a')).toBe('any');
  expect(chosen(all, '', '/a')).toBe('any');
});

it('merges several Ingresses of one host; of two that say the same, the older is right', () => {
  const young = sharedIngress(
    'a-young',
    { 'web.test': { '/': 'young', '/young': 'young', '=/x': 'young' } },
    at(2),
  );
  const old = sharedIngress('z-old', { 'web.test': { '/': 'old', '=/x': 'old' } }, at(1));
  for (const order of [
    [young, old],
    [old, young],
  ]) {
    expect(chosen(order, 'web.test', '/y')).toBe('old');
    expect(chosen(order, 'web.test', '/x')).toBe('old');
    expect(chosen(order, 'web.test', '/young/1')).toBe('young');
  }
  // With and without a slash at the end it is one prefix.
  const slash = sharedIngress('slash', { 'web.test': { '/young/': 'slash' } }, at(3));
  expect(chosen([slash, young], 'web.test', '/young')).toBe('young');
  // Born in the same second: the name decides.
  const twin = sharedIngress('b-twin', { 'web.test': { '/': 'twin' } }, at(2));
  expect(chosen([twin, young], 'web.test')).toBe('young');
});

it('gives what no rule matches to the default backend of the host’s Ingress, then to that for everything', () => {
  const all = [
    sharedIngress('host', { 'web.test': { '/a': 'web' } }, { ...rest('host-rest'), ...at(1) }),
    sharedIngress('catch', {}, { ...rest('catch-rest'), ...at(3) }),
    sharedIngress('later', {}, { ...rest('later-rest'), ...at(4) }),
    sharedIngress('any', { '*': { '/b': 'any' } }, at(2)),
  ];
  expect(chosen(all, 'web.test', '/a')).toBe('web');
  expect(chosen(all, 'web.test', '/b')).toBe('any');
  expect(chosen(all, 'web.test', '/c')).toBe('host-rest');
  expect(chosen(all, 'other.test', '/c')).toBe('catch-rest');
  expect(chosen(all.slice(0, 1), 'other.test', '/c')).toBe('host-rest');
  expect(chosen(all.slice(3), 'other.test', '/c')).toBeUndefined();
});

it('sends a host without paths to its default backend, and keeps a path whose backend nobody can serve', () => {
  const bare = sharedIngress('bare', {}, { rules: [{ host: 'bare.test', paths: [] }], ...rest('bare-rest') });
  const bucket = sharedIngress('bucket', { 'bare.test': { '/': 'web' } });
  bucket.rules[0]?.paths.push({ path: '/files', type: 'Prefix', backend: {} });
  expect(chosen([bare], 'bare.test', '/x')).toBe('bare-rest');
  const found = findRoute(buildRoutes([bucket]), 'bare.test', '/files/1');
  expect(found).toMatchObject({ namespace: 'd', ingress: 'd/bucket' });
  expect(found?.service).toBeUndefined();
});

it('reads the paths of rules as it reads those of requests', () => {
  const odd = sharedIngress('odd', { 'web.test': { '/caf%C3%A9': 'web' } });
  expect(chosen([odd], 'web.test', '/café/x')).toBe('web');
});
