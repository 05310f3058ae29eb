import { expect, test } from 'vitest';
import type { ResourceInfo } from '../../../src/api/catalogue.ts';
import { includeObject, TableWriter } from '../../../src/server/http/table.ts';

const INFO = {
  group: 'apps',
  version: 'v1',
  resource: 'things',
  kind: 'Thing',
  custom: false,
} as ResourceInfo;
const OBJECT = {
  apiVersion: 'apps/v1',
  kind: 'Thing',
  metadata: { name: 'a', creationTimestamp: '2026-01-01T00:00:00Z' },
};
const COLUMNS = {
  'apps/v1/things': [
    { name: 'Name', type: 'string', format: 'name' },
    { name: 'Size', type: 'integer' },
  ],
};
const OPTIONS = { meta: {}, include: 'None', metaVersion: 'v1', now: 0, withColumns: true } as const;

type Table = { columnDefinitions: { name: string }[] | null; rows: { cells: unknown[]; object: unknown }[] };
const write = (cells: (string | number)[] | undefined, more: object = {}): Table =>
  new TableWriter({ columns: COLUMNS, descriptions: {}, cells: { cells: () => cells } }).table(
    INFO,
    [OBJECT],
    {
      ...OPTIONS,
      ...more,
    },
  ) as Table;

test('rows have the cells of the type under its columns', () => {
  const { columnDefinitions, rows } = write(['a', 3]);
  expect(columnDefinitions?.map(({ name }) => name)).toEqual(['Name', 'Size']);
  expect(rows).toEqual([{ cells: ['a', 3], object: null }]);
});

test('a type that nobody prints has name and creation, with the columns to match', () => {
  const { columnDefinitions, rows } = write(undefined);
  expect(columnDefinitions?.map(({ name }) => name)).toEqual(['Name', 'Created At']);
  expect(rows[0]?.cells).toEqual(['a', '2026-01-01T00:00:00Z']);
});

test('what is included, and that later events of a watch repeat no columns', () => {
  expect(write(['a', 1], { include: 'Object' }).rows[0]?.object).toEqual(OBJECT);
  expect(write(['a', 1], { include: 'Metadata' }).rows[0]?.object).toEqual({
    kind: 'PartialObjectMetadata',
    apiVersion: 'meta.k8s.io/v1',
    metadata: OBJECT.metadata,
  });
  expect(write(['a', 1], { withColumns: false }).columnDefinitions).toBeNull();
  expect(() => includeObject(new URLSearchParams('includeObject=Nope'))).toThrow(
    "must be 'Metadata', 'Object', 'None'",
  );
});
