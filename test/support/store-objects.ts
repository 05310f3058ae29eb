import type { KubeObject } from '../../src/api/object.ts';
import type { Durability, Store, Stored, Write } from '../../src/server/store/port.ts';

/** Objects and writes for tests of the store; `note` tells one version from another. */
export function configMap(key: string, note = ''): KubeObject & { data: { note: string } } {
  const [namespace, name] = key.split('/') as [string, string];
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace, name }, data: { note } };
}

export function put(key: string, expected: number, note = '', durability: Durability = 'durable'): Write {
  return { bucket: 'configmaps', key, object: configMap(key, note), expected, durability };
}

export function remove(key: string, expected: number, durability: Durability = 'durable'): Write {
  return { bucket: 'configmaps', key, object: undefined, expected, durability };
}

export function noteOf(stored: Stored | undefined): string | undefined {
  return stored && (stored.object as ReturnType<typeof configMap>).data.note;
}

/** `key@revision note` of everything published, sorted. */
export function contents(store: Store, prefix?: string): string[] {
  return store.list('configmaps', prefix).map(show);
}

export function show(stored: Stored): string {
  const { namespace, name } = stored.object.metadata;
  return `${namespace}/${name}@${stored.revision} ${noteOf(stored)}`.trimEnd();
}
