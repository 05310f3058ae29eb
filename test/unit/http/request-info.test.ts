import { expect, test } from 'vitest';
import { parseRequest, type ResourceRequest } from '../../../src/server/http/request-info.ts';

function parse(method: string, url: string) {
  const [path = '', query = ''] = url.split('?');
  return parseRequest(method, path, new URLSearchParams(query));
}

/** `verb group/version namespace resource/subresource name rest` */
function short(method: string, url: string): string {
  const info = parse(method, url);
  if (info.kind === 'path') return `path ${info.verb} ${info.path}`;
  const { verb, group, version, namespace, resource, subresource, name, rest } = info as ResourceRequest;
  return [
    verb,
    `${group}/${version}`,
    namespace || '-',
    subresource ? `${resource}/${subresource}` : resource,
    name || '-',
    rest,
  ]
    .join(' ')
    .trim();
}

test.each([
  ['GET', '/api/v1/pods', 'list /v1 - pods -'],
  ['GET', '/api/v1/pods?watch=true', 'watch /v1 - pods -'],
  ['GET', '/api/v1/pods?watch=0', 'list /v1 - pods -'],
  ['GET', '/api/v1/namespaces/a/pods/b?watch=1', 'get /v1 a pods b'],
  ['HEAD', '/api/v1/namespaces/a/pods/b', 'get /v1 a pods b'],
  ['POST', '/apis/apps/v1/namespaces/a/deployments', 'create apps/v1 a deployments -'],
  ['PUT', '/apis/apps/v1/namespaces/a/deployments/w/scale', 'update apps/v1 a deployments/scale w'],
  ['PATCH', '/api/v1/nodes/n/status', 'patch /v1 - nodes/status n'],
  ['DELETE', '/api/v1/namespaces/a/pods', 'deletecollection /v1 a pods -'],
  ['DELETE', '/api/v1/namespaces/a/pods/b', 'delete /v1 a pods b'],
  ['GET', '/api/v1/namespaces/a', 'get /v1 a namespaces a'],
  ['PUT', '/api/v1/namespaces/a/finalize', 'update /v1 a namespaces/finalize a'],
  ['GET', '/api/v1/namespaces/a/status', 'get /v1 a namespaces/status a'],
  ['GET', '/api/v1/watch/namespaces/a/pods', 'watch /v1 a pods -'],
  ['GET', '/api/v1/watch/namespaces/a/pods/b', 'watch /v1 a pods b'],
  ['GET', '/api/v1/namespaces/a/services/s:80/proxy/x/y', 'get /v1 a services/proxy s:80 x/y'],
  ['GET', '/apis/x.io/v1/things/a%2Fb', 'get x.io/v1 - things a/b'],
  ['GET', '/api', 'path get /api'],
  ['GET', '/api/v1', 'path get /api/v1'],
  ['GET', '/apis/apps/v1', 'path get /apis/apps/v1'],
  ['GET', '/healthz', 'path get /healthz'],
])('%s %s', (method, url, expected) => {
  expect(short(method, url)).toBe(expected);
});

test('broken percent-encoding throws', () => {
  expect(() => parse('GET', '/api/v1/pods/%zz')).toThrow(URIError);
});
