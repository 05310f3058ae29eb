// What the built server leaves on the disk when it is told to encrypt Secrets and to keep an audit log.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import { pinnedNode } from '../../scripts/lib/dependencies.mjs';
import { Cluster } from '../support/cluster.ts';

const folder = mkdtempSync(join(tmpdir(), 'copepod-at-rest-'));
const auditLog = join(folder, 'audit.log');
const WORDS = 'correct-horse-battery-staple';
let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ flags: ['--secrets-encryption', `--audit-log-path=${auditLog}`] });
});
afterAll(async () => {
  await cluster?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const database = (): string => {
  const server = join(cluster.dataDir, 'server');
  return readdirSync(server)
    .filter((name) => name.startsWith('store.db'))
    .map((name) => readFileSync(join(server, name), 'latin1'))
    .join('\n');
};
const secretsEncrypt = (action: string): string =>
  execFileSync(
    pinnedNode(),
    [join(root, 'dist/copepod.js'), 'secrets-encrypt', action, `--data-dir=${cluster.dataDir}`],
    { encoding: 'utf8' },
  );
const read = (): Promise<string> =>
  cluster.kubectl.line('get secret kept -o go-template={{.data.password|base64decode}}');

it('the database holds no Secret in plain, before and after a rotation', async () => {
  const encoded = Buffer.from(WORDS).toString('base64');
  await cluster.kubectl.line(`create secret generic kept --from-literal=password=${WORDS}`);
  expect(database()).toContain('"kube-system"');
  for (const text of [WORDS, encoded]) expect(database()).not.toContain(text);
  const before = /\* +(key-\S+)/.exec(secretsEncrypt('status'))?.[1] ?? '';
  expect(before).not.toBe('');
  expect(secretsEncrypt('rotate')).toContain('the next start');
  await cluster.restart();
  expect(await read()).toBe(WORDS);
  expect(secretsEncrypt('status')).toContain('Rotation: finished');
  expect(secretsEncrypt('status')).not.toContain(before);
  await cluster.killAndRestart();
  expect(await read()).toBe(WORDS);
  for (const text of [WORDS, encoded, before]) expect(database()).not.toContain(text);
});

it('the audit log says who made it, and not what is in it', async () => {
  const text = await cluster.eventually('the event', async () => {
    const log = readFileSync(auditLog, 'utf8');
    return log.includes('"name":"kept"') ? log : undefined;
  });
  const events = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  expect(
    events.find(({ verb, objectRef }) => verb === 'create' && objectRef?.resource === 'secrets'),
  ).toMatchObject({
    level: 'Metadata',
    user: { username: 'system:admin' },
    responseStatus: { code: 201 },
  });
  expect(text).not.toContain(WORDS);
});
