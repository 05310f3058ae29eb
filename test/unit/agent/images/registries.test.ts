import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseImageReference } from '../../../../src/agent/images/reference.ts';
import { hostOf, parseRegistries, sourcesOf } from '../../../../src/agent/images/registries.ts';

const read = (text: string) => parseRegistries(parse(text));

function names(image: string, file: string): string[] {
  const reference = parseImageReference(image);
  if (!reference) throw new Error('not a reference');
  return sourcesOf(reference, read(file)).map(({ name }) => name);
}

const FILE = `
mirrors:
  docker.io:
    endpoint:
      - "https://cache.example:5000"
      - "https://harbor.example/v2/hub"
    rewrite:
      "^library/(.*)": "mirror/$1"
  registry.example:
    endpoint: ["http://registry.example"]
  "*":
    endpoint: ["https://all.example"]
configs:
  "cache.example:5000":
    auth: { username: me, password: secret }
    tls: { ca_file: /etc/ca.crt, insecure_skip_verify: true }
  "token.example":
    auth: { identity_token: abc }
  "*":
    auth: { auth: bWU6cGFzczp3b3Jk }
`;

describe('registries.yaml', () => {
  it.each([
    [
      'busybox',
      [
        'cache.example:5000/mirror/busybox:latest',
        'harbor.example/hub/mirror/busybox:latest',
        'busybox:latest',
      ],
    ],
    [
      'docker.io/me/app:1',
      ['cache.example:5000/me/app:1', 'harbor.example/hub/me/app:1', 'docker.io/me/app:1'],
    ],
    ['ghcr.io/a/b:2', ['all.example/a/b:2', 'ghcr.io/a/b:2']],
    ['registry.example/a:1', ['registry.example/a:1']],
    [
      `ghcr.io/a:1@sha256:${'a'.repeat(64)}`,
      [`all.example/a@sha256:${'a'.repeat(64)}`, `ghcr.io/a@sha256:${'a'.repeat(64)}`],
    ],
  ])('%s is looked for at %j', (image, wanted) => {
    expect(names(image, FILE)).toEqual(wanted);
  });

  it('says which registries are used without TLS', () => {
    const image = parseImageReference('registry.example/a:1');
    expect(image && sourcesOf(image, read(FILE))).toMatchObject([{ plain: true, mirror: false }]);
  });

  it('gives each host its account', () => {
    const registries = read(FILE);
    expect(hostOf('cache.example:5000', registries)).toEqual({
      auth: { username: 'me', password: 'secret' },
      tls: { ca: '/etc/ca.crt', unchecked: true },
    });
    expect(hostOf('token.example', registries).auth).toMatchObject({ identityToken: 'abc' });
    expect(hostOf('other.example', registries).auth).toEqual({ username: 'me', password: 'pass:word' });
  });

  it('may be empty', () => {
    expect(names('busybox', '')).toEqual(['busybox:latest']);
  });

  it.each([
    ['mirror: {}', 'mirror: unknown field; known are mirrors, configs'],
    ['mirrors: []', 'mirrors: expected a map'],
    ['mirrors: { docker.io: { endpoints: [] } }', 'mirrors.docker.io.endpoints: unknown field'],
    ['mirrors: { docker.io: { endpoint: x } }', 'mirrors.docker.io.endpoint: expected a list of URLs'],
    ['mirrors: { docker.io: { endpoint: ["ftp://x"] } }', 'mirrors.docker.io.endpoint[0]: expected a URL'],
    [
      'mirrors: { docker.io: { endpoint: ["https://x/hub"] } }',
      'mirrors.docker.io.endpoint[0]: Docker reaches',
    ],
    ['mirrors: { docker.io: { endpoint: ["https://u:p@x"] } }', 'credentials belong into configs'],
    [
      'mirrors: { docker.io: { rewrite: { "(": "x" } } }',
      'mirrors.docker.io.rewrite.(: not a regular expression',
    ],
    ['mirrors: { "https://docker.io": {} }', 'mirrors.https://docker.io: expected a registry'],
    ['configs: { a: { auth: { username: x } } }', 'configs.a.auth: expected username and password'],
    ['configs: { a: { auth: { auth: "eA==" } } }', 'configs.a.auth.auth: expected user:password'],
    ['configs: { a: { tls: { cert_file: x } } }', 'configs.a.tls: cert_file and key_file go together'],
    ['configs: { a: { tls: { insecure_skip_verify: "yes" } } }', 'configs.a.tls.insecure_skip_verify'],
  ])('refuses %s', (file, problem) => {
    expect(() => read(file)).toThrow(problem);
  });
});
