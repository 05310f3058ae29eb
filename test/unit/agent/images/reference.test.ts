import { describe, expect, it } from 'vitest';
import { splitReference } from '../../../../src/agent/docker/pull.ts';
import { familiarName, parseImageReference, repositoryPath } from '../../../../src/agent/images/reference.ts';

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

  it.each([
    ['busybox', 'busybox:latest'],
    ['docker.io/library/busybox:1', 'busybox:1'],
    ['index.docker.io/me/app', 'me/app:latest'],
    ['ghcr.io/a/b', 'ghcr.io/a/b:latest'],
    [`docker.io/library/a:1@${DIGEST}`, `a@${DIGEST}`],
  ])('%s is listed as %s', (text, name) => {
    expect(familiarName(text)).toBe(name);
  });

  it('know the engine’s name and the path at the registry', () => {
    const image = parseImageReference(`localhost:5000/a:1@${DIGEST}`);
    expect(image?.engineName).toBe(`localhost:5000/a@${DIGEST}`);
    const [short, own] = ['busybox', 'me/app'].map((text) => parseImageReference(text));
    expect(short && repositoryPath(short)).toBe('library/busybox');
    expect(own && repositoryPath(own)).toBe('me/app');
  });
});
