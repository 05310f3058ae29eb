import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RegistryFiles } from '../../../src/agent/images/registry-files.ts';
import { silentLogger } from '../../../src/lib/logger.ts';

let folder: string;
let problems: string[];
let files: RegistryFiles;
const at = (name: string): string => join(folder, name);
let writes = 0;
/** Of another size each time: two writes may fall into one tick of the file system's clock. */
const write = (name: string, text: string): void => {
  writes += 1;
  writeFileSync(at(name), `${text}\n#${'x'.repeat(writes)}\n`);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'copepod-registries-'));
  problems = [];
  files = new RegistryFiles({
    path: at('registries.yaml'),
    dockerConfig: at('config.json'),
    certificates: at('certs.d'),
    logger: silentLogger,
    onProblem: (message) => void problems.push(message),
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const MIRROR = 'mirrors: { docker.io: { endpoint: ["https://m.example"] } }';
const endpoints = async (): Promise<number> =>
  (await files.current()).mirrors.get('docker.io')?.endpoints.length ?? 0;

it('is read again when it has changed, and gone when it is removed', async () => {
  expect(await endpoints()).toBe(0);
  write('registries.yaml', MIRROR);
  expect(await endpoints()).toBe(1);
  rmSync(at('registries.yaml'));
  expect(await endpoints()).toBe(0);
  expect(problems).toEqual([]);
});

it('keeps the last good one, and fails where there was none', async () => {
  write('registries.yaml', 'mirror: {}');
  await expect(files.current()).rejects.toThrow(`${at('registries.yaml')}: mirror: unknown field`);
  await expect(files.current()).rejects.toThrow();
  expect(problems).toHaveLength(1);
  write('registries.yaml', MIRROR);
  expect(await endpoints()).toBe(1);
  write('registries.yaml', 'mirrors: [');
  expect(await endpoints()).toBe(1);
  expect(problems).toHaveLength(2);
  rmSync(at('registries.yaml'));
  expect(await endpoints()).toBe(0);
  write('registries.yaml', 'mirrors: 1');
  await expect(files.current()).rejects.toThrow('mirrors: expected a map');
});

it('gives Docker certificates under names of its own, and takes back only those', async () => {
  for (const name of ['ca', 'cert', 'key']) write(name, name);
  mkdirSync(at('certs.d/own.example'), { recursive: true });
  writeFileSync(at('certs.d/own.example/ca.crt'), 'mine');
  const tls = (host: string): string =>
    `configs: { "${host}": { tls: { ca_file: ${at('ca')}, cert_file: ${at('cert')}, key_file: ${at('key')} } } }`;
  write('registries.yaml', tls('r.example:5000'));
  await files.current();
  const folderOf = at('certs.d/r.example:5000');
  expect(readFileSync(join(folderOf, 'copepod.crt'), 'utf8')).toBe(readFileSync(at('ca'), 'utf8'));
  expect(statSync(join(folderOf, 'copepod.key')).mode & 0o777).toBe(0o600);
  write('registries.yaml', tls('own.example'));
  await files.current();
  expect(existsSync(folderOf)).toBe(false);
  write('registries.yaml', '');
  await files.current();
  expect(existsSync(at('certs.d/own.example/copepod.crt'))).toBe(false);
  expect(readFileSync(at('certs.d/own.example/ca.crt'), 'utf8')).toBe('mine');
});

it('names the field of a certificate that is not there', async () => {
  write('registries.yaml', 'configs: { r.example: { tls: { ca_file: /no/such/ca } } }');
  await expect(files.current()).rejects.toThrow('configs.r.example.tls.ca_file: ENOENT');
  write('registries.yaml', `configs: { "*": { tls: { ca_file: ${at('registries.yaml')} } } }`);
  await expect(files.current()).rejects.toThrow('for a named registry only');
});

it('reads the accounts that docker login left, again when they change', async () => {
  expect(await files.dockerAuths()).toEqual({});
  writeFileSync(
    at('config.json'),
    JSON.stringify({ auths: { 'r.example': { auth: 'eDp5' } }, credsStore: 'x' }),
  );
  expect(await files.dockerAuths()).toEqual({ 'r.example': { auth: 'eDp5' } });
  writeFileSync(at('config.json'), 'broken');
  expect(await files.dockerAuths()).toEqual({});
});
