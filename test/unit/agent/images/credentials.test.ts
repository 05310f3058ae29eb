import { describe, expect, it } from 'vitest';
import { podKeyring } from '../../../../src/agent/images/credentials.ts';
import { parseImageReference } from '../../../../src/agent/images/reference.ts';
import { FakeDesired, testPod } from '../../../support/fake-node.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function keyring(auths: object, options: { type?: string; key?: string; names?: string[] } = {}) {
  const { type = 'kubernetes.io/dockerconfigjson', key = '.dockerconfigjson', names = ['regcred'] } = options;
  const desired = new FakeDesired();
  const content = key === '.dockerconfigjson' ? { auths } : auths;
  desired.setConfig({
    apiVersion: 'v1',
    kind: 'Secret',
    type,
    metadata: { namespace: 'default', name: 'regcred', uid: 's1' },
    data: { [key]: base64(JSON.stringify(content)) },
  });
  const pod = testPod('a', { containers: [], imagePullSecrets: names.map((name) => ({ name })) });
  const { keyring: ring, missing } = podKeyring(pod, desired);
  const users = (image: string): string[] => {
    const reference = parseImageReference(image);
    if (!reference) throw new Error('not a reference');
    return ring(reference).map(({ auth }) => `${auth.username}:${auth.password}`);
  };
  return { users, missing, ring };
}

describe('imagePullSecrets', () => {
  const auths = {
    'https://index.docker.io/v1/': { auth: base64('me:pass:word') },
    'ghcr.io': { username: 'all', password: 'p' },
    'ghcr.io/team': { username: 'team', password: 'p' },
    '*.example.com': { username: 'wild', password: 'p' },
    'r.example.com:5000': { username: 'port', password: 'p' },
    'https://quay.io/v2/team': { username: 'api', password: 'p' },
  };
  const { users } = keyring(auths);
  it.each([
    ['busybox', ['me:pass:word']],
    ['docker.io/library/busybox', ['me:pass:word']],
    ['ghcr.io/team/app', ['team:p', 'all:p']],
    ['ghcr.io/other/app', ['all:p']],
    ['r.example.com/x', ['wild:p']],
    ['r.example.com:5000/x', ['port:p']],
    ['a.b.example.com/x', []],
    ['quay.io/team/x', ['api:p']],
    ['quay.io/x', []],
  ])('%s -> %j', (image, wanted) => {
    expect(users(image)).toEqual(wanted);
  });

  it('prefers `auth` to user and password, and passes over what is neither', () => {
    const { users: of } = keyring({
      'a.io': { auth: base64('x:y'), username: 'u', password: 'p' },
      'b.io': { auth: base64('nothing') },
      'c.io': 'text',
    });
    expect([of('a.io/i'), of('b.io/i'), of('c.io/i')]).toEqual([['x:y'], [], []]);
  });

  it('reads the older form, and neither of a type that holds no credentials', () => {
    const entry = { 'a.io': { username: 'u', password: 'p' } };
    const legacy = { type: 'kubernetes.io/dockercfg', key: '.dockercfg' };
    expect(keyring(entry, legacy).users('a.io/i')).toEqual(['u:p']);
    expect(keyring(entry, { type: 'Opaque' }).users('a.io/i')).toEqual([]);
  });

  it('names Secrets that are not there, and takes the others', () => {
    const { users: of, missing } = keyring(
      { 'a.io': { username: 'u', password: 'p' } },
      { names: ['none', 'regcred'] },
    );
    expect(missing).toEqual(['none']);
    expect(of('a.io/i')).toEqual(['u:p']);
  });
});
