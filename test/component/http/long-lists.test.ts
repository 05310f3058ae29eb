// Lists too long to be one string: made while they are taken, whole and consistent all the same.

import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { text } from 'node:stream/consumers';
import { createGunzip } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubeObject } from '../../../src/api/object.ts';
import { ApiFixture } from '../../support/api-fixture.ts';
import { waitFor } from '../../support/wait.ts';

const PATH = '/api/v1/namespaces/default/configmaps';
const OBJECTS = 1200;

let api: ApiFixture;
beforeAll(async () => {
  api = await ApiFixture.start();
  // Straight into the store: this is about reading them.
  await api.store.commit(
    Array.from({ length: OBJECTS }, (_, index) => {
      const name = `c-${index}`;
      const metadata = {
        name,
        namespace: 'default',
        uid: `${index}`,
        creationTimestamp: '2026-01-01T00:00:00Z',
      };
      const data = { text: `${'"\n¶'.repeat(20)}${'x'.repeat(800)}` };
      const object = { kind: 'ConfigMap', apiVersion: 'v1', metadata, data } as KubeObject;
      return {
        bucket: 'configmaps',
        key: `default/${name}`,
        object,
        expected: 0,
        durability: 'volatile' as const,
      };
    }),
  );
});
afterAll(() => api.stop());

/** The answer's head; its body is taken when somebody reads it. */
function begin(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const { admin, caPem } = api.identity;
  return new Promise((resolve, reject) => {
    const options = { headers, ca: caPem, cert: admin.certificate, key: admin.key, agent: false as const };
    get(`${api.url}${path}`, options, resolve).on('error', reject);
  });
}

const FORMS: [string, string, string][] = [
  ['objects', 'application/json', 'items'],
  ['metadata', 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io', 'items'],
  ['a Table', 'application/json;as=Table;v=v1;g=meta.k8s.io', 'rows'],
];

/** Without the ages of a Table: they grow while the test runs. */
function ageless(list: { rows?: { cells: unknown[] }[] }): object {
  return {
    ...list,
    ...(list.rows ? { rows: list.rows.map((row) => ({ ...row, cells: row.cells.slice(0, 2) })) } : {}),
  };
}

test.each(FORMS)(
  '%s come the same in pieces, compressed, indented and page by page',
  async (_, accept, field) => {
    const plain = await begin(PATH, { accept });
    expect(plain.headers['content-length']).toBeUndefined();
    const whole = ageless(JSON.parse(await text(plain))) as Record<string, unknown[]>;
    expect(whole[field]).toHaveLength(OBJECTS);
    const packed = await begin(PATH, { accept, 'accept-encoding': 'gzip' });
    expect(packed.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' });
    expect(ageless(JSON.parse(await text(packed.pipe(createGunzip()))))).toEqual(whole);
    const indented = await text(await begin(`${PATH}?pretty=true`, { accept }));
    const parsed = JSON.parse(indented);
    expect(ageless(parsed)).toEqual(whole);
    expect(indented).toBe(`${JSON.stringify(parsed, null, 2)}\n`);
    const page = ageless(JSON.parse(await text(await begin(`${PATH}?limit=3`, { accept })))) as typeof whole;
    expect(page[field]).toEqual(whole[field]?.slice(0, 3));
  },
);

test('a list shows what was there when it was asked for, however late it is read', async () => {
  const answer = await begin(PATH);
  const revision = api.store.revision;
  const client = api.client();
  expect((await client.delete(`${PATH}/c-999`)).status).toBe(200);
  const list = JSON.parse(await text(answer));
  expect(list.items).toHaveLength(OBJECTS);
  expect(list.metadata.resourceVersion).toBe(String(revision));
});

test('who goes away in the middle costs nothing more', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => begin(PATH)));
  for (const answer of answers) answer.on('error', () => {}).destroy();
  expect((await api.client().get(`${PATH}/c-1`)).status).toBe(200);
});

test('what changes while a watcher takes its initial events comes after them', async () => {
  const query =
    'watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan';
  const answer = await begin(`${PATH}?${query}`);
  const client = api.client();
  expect((await client.delete(`${PATH}/c-0`)).status).toBe(200);
  const seen: string[] = [];
  let rest = '';
  answer.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { type, object } = JSON.parse(line);
      seen.push(`${type} ${object.metadata.name ?? ''}`.trim());
    }
  });
  answer.on('error', () => {});
  await waitFor('the deletion', async () => seen.includes('DELETED c-0'));
  answer.destroy();
  expect(seen.filter((event) => event.startsWith('ADDED'))).toHaveLength(OBJECTS - 1);
  expect(seen.slice(-2)).toEqual(['BOOKMARK', 'DELETED c-0']);
});
