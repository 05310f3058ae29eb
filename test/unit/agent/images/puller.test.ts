import { beforeEach, describe, expect, it } from 'vitest';
import type { Credential, Keyring } from '../../../../src/agent/images/credentials.ts';
import { Puller } from '../../../../src/agent/images/puller.ts';
import { parseImageReference } from '../../../../src/agent/images/reference.ts';
import { parseRegistries } from '../../../../src/agent/images/registries.ts';
import { type ObservedImage, type PullOptions, RuntimeError } from '../../../../src/agent/runtime.ts';

const MIRRORED = { mirrors: { '*': { endpoint: ['https://mirror.example', 'http://plain.example'] } } };
const account = (username: string): Credential => ({
  auth: { username, password: 'p', serverAddress: 'x' },
  source: { namespace: 'default', name: username, uid: username, hash: username },
});

describe('pulls', () => {
  /** What was asked of the engine, and what it answers to a pull by name and user. */
  let calls: string[];
  let answers: Map<string, Error>;
  let files: object;
  let insecure: Set<string>;
  beforeEach(() => {
    calls = [];
    answers = new Map();
    files = {};
    insecure = new Set();
  });

  const puller = () =>
    new Puller({
      runtime: {
        pull: async (name: string, { auth }: PullOptions = {}) => {
          const call = `${name}${auth ? ` as ${auth.username}` : ''}`;
          calls.push(call);
          const failure = answers.get(call);
          if (failure) throw failure;
        },
        inspectImage: async (name: string): Promise<ObservedImage> => ({
          id: 'sha256:1',
          repoDigests: [`${name.replace(/:[^:/]+$/, '')}@sha256:abc`],
          sizeBytes: 1,
          architecture: 'arm64',
          user: '',
        }),
      },
      engine: {
        tag: async (source, target) => void calls.push(`tag ${source} ${target}`),
        remove: async (name) => {
          calls.push(`untag ${name}`);
          return true;
        },
        allowsInsecure: async (host) => insecure.has(host),
      },
      files: { current: async () => parseRegistries(files), dockerAuths: async () => ({}) },
    });
  const pull = (name: string, keyring: Keyring = () => [], signal?: AbortSignal) => {
    const image = parseImageReference(name);
    if (!image) throw new Error('not a reference');
    return puller().pull(image, keyring, signal ? { signal } : {});
  };
  const denied = new RuntimeError('ImagePull', 'unauthorized: authentication required');

  it('try credentials in order, at last none, and tell which was taken', async () => {
    answers.set('r.example/a:1 as one', denied);
    const pulled = await pull('r.example/a:1', () => [account('one'), account('two')]);
    expect(calls).toEqual(['r.example/a:1 as one', 'r.example/a:1 as two']);
    expect(pulled.credential?.source?.name).toBe('two');
    answers.set('r.example/a:1 as two', denied);
    expect((await pull('r.example/a:1', () => [account('one'), account('two')])).credential).toBeUndefined();
    expect(calls.at(-1)).toBe('r.example/a:1');
  });

  it('do not try without credentials where these were not the reason', async () => {
    answers.set('r.example/a:1 as one', new RuntimeError('ImageNotFound', 'manifest unknown'));
    await expect(pull('r.example/a:1', () => [account('one')])).rejects.toThrow('manifest unknown');
    expect(calls).toEqual(['r.example/a:1 as one']);
  });

  it('tell all that several credentials led to', async () => {
    for (const name of ['one', 'two']) answers.set(`r.example/a:1 as ${name}`, new Error(`denied: ${name}`));
    answers.set('r.example/a:1', denied);
    await expect(pull('r.example/a:1', () => [account('one'), account('two')])).rejects.toThrow(
      '[denied: one, denied: two]',
    );
  });

  it('give what came from a mirror its own name, and keep its digest', async () => {
    files = MIRRORED;
    const pulled = await pull('web:1');
    expect(calls).toEqual([
      'mirror.example/library/web:1',
      'tag mirror.example/library/web:1 web:1',
      'untag mirror.example/library/web:1',
    ]);
    expect(pulled).toEqual({ name: 'web:1', digest: 'web@sha256:abc' });
  });

  it('leave one by digest under its mirror’s name: a digest cannot be given', async () => {
    files = MIRRORED;
    const digest = `sha256:${'a'.repeat(64)}`;
    expect((await pull(`web@${digest}`)).name).toBe(`mirror.example/library/web@${digest}`);
    expect(calls).toHaveLength(1);
  });

  it('go from mirror to mirror and to the registry itself, and name what each said', async () => {
    files = MIRRORED;
    answers.set('mirror.example/a/b:1', new Error('no route'));
    answers.set('ghcr.io/a/b:1', new RuntimeError('ImageNotFound', 'manifest unknown'));
    await expect(pull('ghcr.io/a/b:1')).rejects.toMatchObject({
      code: 'ImageNotFound',
      message: expect.stringMatching(
        /^manifest unknown \(mirror mirror\.example: no route; mirror plain\.example: .*insecure-registries/,
      ),
    });
    expect(calls).toEqual(['mirror.example/a/b:1', 'ghcr.io/a/b:1']);
    insecure.add('plain.example');
    await pull('ghcr.io/a/b:1');
    expect(calls).toContain('plain.example/a/b:1');
  });

  it('use the account that the file has for the mirror, and the pod’s for its own registry only', async () => {
    files = { ...MIRRORED, configs: { 'mirror.example': { auth: { username: 'node', password: 'p' } } } };
    const ring: Keyring = ({ registry }) => (registry === 'ghcr.io' ? [account('pod')] : []);
    answers.set('mirror.example/a:1 as node', new Error('down'));
    answers.set('mirror.example/a:1', new Error('down'));
    await pull('ghcr.io/a:1', ring);
    expect(calls).toEqual(['mirror.example/a:1 as node', 'ghcr.io/a:1 as pod']);
  });

  it('are not tried elsewhere when nobody wants them any more', async () => {
    files = MIRRORED;
    const abort = new AbortController();
    answers.set('mirror.example/library/web:1', new Error('cancelled'));
    abort.abort(new Error('cancelled'));
    await expect(pull('web:1', () => [], abort.signal)).rejects.toThrow('cancelled');
    expect(calls).toHaveLength(1);
  });
});
