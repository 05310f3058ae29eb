import { describe, expect, it } from 'vitest';
import { splitReference } from '../../../../src/agent/docker/pull.ts';
import { pullCredentials } from '../../../../src/agent/images/credentials.ts';
import { parseImageReference } from '../../../../src/agent/images/reference.ts';
import { FakeDesired, testPod } from '../../../support/fake-node.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('image references', () => {
  it.each([
    ['busybox', 'busybox:latest', 'docker.io', 'busybox'],
    ['library/busybox:1.36', 'library/busybox:1.36', 'docker.io', 'library/busybox'],
    ['copepod.local/busybox', 'copepod.local/busybox:latest', 'copepod.local', 'busybox'],
    ['localhost:5000/a/b:x', 'localhost:5000/a/b:x', 'localhost:5000', 'a/b'],
    [`ghcr.io/a/b@${DIGEST}`, `ghcr.io/a/b@${DIGEST}`, 'ghcr.io', 'a/b'],
  ])('%s', (text, reference, registry, repository) => {
    expect(parseImageReference(text)).toMatchObject({ reference, registry, repository });
  });

  it.each(['', 'No/Upper', 'a:b:c', 'a b', '/x', 'x/', 'a@sha256:short', '-x'])('refuses %j', (text) => {
    expect(parseImageReference(text)).toBeUndefined();
  });

  it('are split for the engine, never without a tag', () => {
    expect(splitReference('localhost:5000/a')).toEqual({ name: 'localhost:5000/a', tag: 'latest' });
    expect(splitReference('localhost:5000/a:1')).toEqual({ name: 'localhost:5000/a', tag: '1' });
    expect(splitReference(`a@${DIGEST}`)).toEqual({ name: 'a', tag: DIGEST });
  });
});

describe('imagePullSecrets', () => {
  const desired = new FakeDesired();
  const auths = {
    'https://index.docker.io/v1/': { auth: Buffer.from('me:pass:word').toString('base64') },
    'ghcr.io/team': { username: 'team', password: 'p' },
    'ghcr.io': { username: 'all', password: 'p' },
    '*.example.com': { username: 'wild', password: 'p' },
  };
  desired.setConfig({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace: 'default', name: 'regcred' },
    data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') },
  });
  const pod = testPod('a', { containers: [], imagePullSecrets: [{ name: 'missing' }, { name: 'regcred' }] });
  it.each([
    ['busybox', ['me']],
    ['ghcr.io/team/app', ['team', 'all']],
    ['ghcr.io/other/app', ['all']],
    ['r.example.com/x', ['wild']],
    ['a.b.example.com/x', []],
    ['quay.io/x', []],
  ])('%s -> %j', (image, users) => {
    const reference = parseImageReference(image);
    if (!reference) throw new Error('not a reference');
    expect(pullCredentials(pod, reference, desired).map(({ username }) => username)).toEqual(users);
  });

  it('keeps colons of a password', () => {
    const reference = parseImageReference('busybox');
    if (!reference) throw new Error('not a reference');
    expect(pullCredentials(pod, reference, desired)[0]?.password).toBe('pass:word');
  });
});
