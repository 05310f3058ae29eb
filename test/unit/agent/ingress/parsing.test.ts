import { describe, expect, it } from 'vitest';
import { headerObject, requestHeaders, responseHeaders } from '../../../../src/agent/ingress/headers.ts';
import { hostName, parentName } from '../../../../src/agent/ingress/host-name.ts';
import { matchPath } from '../../../../src/agent/ingress/match-path.ts';

it.each([
  ['/', '/'],
  ['/a/b?c=/d', '/a/b'],
  ['/a#b', '/a'],
  ['/a//b', '/a/b'],
  ['//', '/'],
  ['/a/./b/', '/a/b/'],
  ['/a/../b', '/b'],
  ['/a/b/..', '/a/'],
  ['/a/..', '/'],
  ['/.well-known/x', '/.well-known/x'],
  ['/...', '/...'],
  ['/%61/%2e%2E/b', '/b'],
  ['/a%2Fb', '/a%2Fb'],
  ['/a%2fb/%2e%2e/c', '/c'],
  ['/%zz/%ff', '/%zz/%ff'],
  ['/caf%C3%A9', '/café'],
  ['/..', undefined],
  ['/a/../../b', undefined],
  ['/%2e%2e/a', undefined],
])('reads the path of %s as %s', (target, path) => {
  expect(matchPath(target)).toBe(path);
});

it.each([
  ['Web.Test', 'web.test'],
  ['web.test:8080', 'web.test'],
  ['web.test.', 'web.test'],
  ['web.test.:80', 'web.test'],
  ['10.0.0.1:80', '10.0.0.1'],
  ['[::1]:80', '[::1]'],
  ['a_b.test', 'a_b.test'],
  ['', undefined],
  ['web.test/x', undefined],
  ['user@web.test', undefined],
  ['web test', undefined],
  ['.test', undefined],
  [`${'a.'.repeat(150)}test`, undefined],
])('reads the host of %s as %s', (authority, host) => {
  expect(hostName(authority)).toBe(host);
});

it('knows of what a name is the wildcard’s', () => {
  expect(parentName('a.b.test')).toBe('b.test');
  expect(parentName('localhost')).toBeUndefined();
});

describe('the headers of a request', () => {
  const client = { host: 'Web.test:8080', address: '10.0.0.9', protocol: 'https', port: 443 } as const;
  const forwarded = [
    ...['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Host', 'Web.test:8080', 'X-Forwarded-Port', '443'],
    ...['X-Forwarded-Proto', 'https', 'X-Real-IP', '10.0.0.9'],
  ];

  it('keep their order, case and repetitions, with the host first', () => {
    const raw = ['Accept', 'a', 'host', 'x', 'X-A', '1', 'x-a', '2'];
    expect(requestHeaders(raw, client, { kind: 'none' })).toEqual([
      ...['Host', 'Web.test:8080', 'Accept', 'a', 'X-A', '1', 'x-a', '2'],
      ...forwarded,
    ]);
  });

  it('say once how long the body is, as the proxy understood it', () => {
    const raw = ['Transfer-Encoding', 'chunked', 'Content-Length', '7'];
    const tail = (body: Parameters<typeof requestHeaders>[2]): string[] =>
      requestHeaders(raw, client, body).slice(2 + forwarded.length);
    expect(tail({ kind: 'chunked' })).toEqual(['Transfer-Encoding', 'chunked']);
    expect(tail({ kind: 'length', length: '7' })).toEqual(['Content-Length', '7']);
    expect(tail({ kind: 'empty' })).toEqual(['Content-Length', '0']);
    expect(tail({ kind: 'none' })).toEqual([]);
  });

  it('ask for an upgrade only where one is wanted', () => {
    const raw = ['Connection', 'Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Key', 'k'];
    expect(requestHeaders(raw, client, { kind: 'none' })).not.toContain('Upgrade');
    const headers = headerObject(requestHeaders(raw, client, { kind: 'none' }, 'websocket'));
    expect(headers).toMatchObject({ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'k' });
  });
});

it('takes what belongs to its connection from an answer, and keeps the rest', () => {
  const raw = [
    ...[
      'Connection',
      'close, X-Hop',
      'X-Hop',
      '1',
      'Keep-Alive',
      'timeout=5',
      'Transfer-Encoding',
      'chunked',
    ],
    ...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Content-Length', '3', 'Trailer', 'X-Sum'],
  ];
  expect(responseHeaders(raw)).toEqual([
    ...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Content-Length', '3', 'Trailer', 'X-Sum'],
  ]);
  expect(headerObject(responseHeaders(raw))).toMatchObject({
    'set-cookie': ['a=1', 'b=2'],
    'content-length': '3',
  });
});
