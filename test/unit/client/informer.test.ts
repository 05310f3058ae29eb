import { beforeEach, describe, expect, it } from 'vitest';
import { CONFIG_MAPS } from '../../../src/api/kinds.ts';
import type { ConfigMap } from '../../../src/api/types/core-v1.ts';
import { Informer, InformerSet } from '../../../src/client/informer.ts';
import type { Client, FollowSink } from '../../../src/client/port.ts';
import { silentLogger } from '../../../src/lib/logger.ts';

let sink: FollowSink<ConfigMap>;
let informer: Informer<ConfigMap>;
let seen: string[];

/** A client of which only the following is used, driven by hand. */
const client = {
  follow: (_type: unknown, _options: unknown, given: FollowSink<ConfigMap>) => {
    sink = given;
    return { stop: () => {}, synced: Promise.resolve() };
  },
} as unknown as Client;

function map(
  name: string,
  options: { uid?: string; version?: string; labels?: Record<string, string>; namespace?: string } = {},
): ConfigMap {
  const { uid = `uid-${name}`, version = '1', labels = {}, namespace = 'default' } = options;
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, uid, resourceVersion: version, labels },
  };
}
const names = (objects: readonly ConfigMap[]): (string | undefined)[] =>
  objects.map(({ metadata }) => metadata.name);

beforeEach(async () => {
  seen = [];
  informer = new Informer({ client, type: CONFIG_MAPS, logger: silentLogger });
  informer.handle({
    onAdd: ({ metadata }) => seen.push(`+${metadata.name}`),
    onUpdate: ({ metadata }, old) =>
      seen.push(`${metadata.name} ${old.metadata.resourceVersion}>${metadata.resourceVersion}`),
    onDelete: ({ metadata }) => seen.push(`-${metadata.name}`),
  });
  await informer.start();
});

describe('an informer', () => {
  it('reports the first list as adds and then every change', () => {
    sink.onList({ items: [map('a'), map('b')], resourceVersion: '1' });
    sink.onEvent('MODIFIED', map('a', { version: '2' }));
    sink.onEvent('DELETED', map('b', { version: '3' }));
    expect(seen).toEqual(['+a', '+b', 'a 1>2', '-b']);
    expect(names(informer.list())).toEqual(['a']);
  });

  it('reports only the differences of a relist; another uid is another object', () => {
    sink.onList({ items: [map('a'), map('b'), map('c')], resourceVersion: '1' });
    seen.length = 0;
    sink.onList({
      items: [map('a'), map('b', { version: '5' }), map('d'), map('c', { uid: 'new', version: '6' })],
      resourceVersion: '7',
    });
    expect(seen).toEqual(['b 1>5', '+d', '-c', '+c']);
    sink.onList({ items: [], resourceVersion: '8' });
    expect(seen.slice(4).sort()).toEqual(['-a', '-b', '-c', '-d']);
    expect(informer.size).toBe(0);
  });

  it('keeps its indexes in step', () => {
    informer.addIndex('app', ({ metadata }) => metadata.labels?.app);
    sink.onList({
      items: [
        map('a', { labels: { app: 'x' } }),
        map('b', { labels: { app: 'y' } }),
        map('c', { namespace: 'other' }),
      ],
      resourceVersion: '1',
    });
    expect(names(informer.byIndex('app', 'x'))).toEqual(['a']);
    sink.onEvent('MODIFIED', map('a', { version: '2', labels: { app: 'y' } }));
    expect(names(informer.byIndex('app', 'x'))).toEqual([]);
    expect(names(informer.byIndex('app', 'y')).sort()).toEqual(['a', 'b']);
    expect(names(informer.list('other'))).toEqual(['c']);
    sink.onEvent('DELETED', map('b', { version: '3' }));
    expect(names(informer.byIndex('app', 'y'))).toEqual(['a']);
    expect(() => informer.byIndex('nothing', 'x')).toThrow('has no index nothing');
  });

  it('tells a late handler what is known already', () => {
    sink.onList({ items: [map('a')], resourceVersion: '1' });
    const late: string[] = [];
    const stop = informer.handle({ onAdd: ({ metadata }) => late.push(metadata.name ?? '') });
    expect(late).toEqual(['a']);
    stop();
    sink.onEvent('ADDED', map('b'));
    expect(late).toEqual(['a']);
  });

  it('goes on when one handler fails', () => {
    informer.handle({
      onAdd: () => {
        throw new Error('mistake');
      },
    });
    const after: string[] = [];
    informer.handle({ onAdd: ({ metadata }) => after.push(metadata.name ?? '') });
    sink.onList({ items: [map('a')], resourceVersion: '1' });
    expect(after).toEqual(['a']);
  });

  it('is shared by type', () => {
    const set = new InformerSet({ client, logger: silentLogger });
    expect(set.of(CONFIG_MAPS)).toBe(set.of(CONFIG_MAPS));
  });
});
