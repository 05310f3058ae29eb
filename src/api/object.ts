import type { ObjectMeta } from './types/meta-v1.ts';

/** Any object that the API serves. What is stored is never changed in place: clone, change, write. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** A KubeObject seen as plain JSON, for code that works on every kind. */
export type JsonObject = { [field: string]: Json | undefined };
export type Json = string | number | boolean | null | Json[] | JsonObject;

export function namespaceOf(object: KubeObject): string {
  return object.metadata.namespace ?? '';
}

export function nameOf(object: KubeObject): string {
  return object.metadata.name ?? '';
}

/** `namespace/name`, or `name` for cluster-scoped objects: the key of queues, informers and logs. */
export function keyOf(object: KubeObject): string {
  return objectKey(object.metadata.namespace, object.metadata.name ?? '');
}

export function objectKey(namespace: string | undefined, name: string): string {
  return namespace ? `${namespace}/${name}` : name;
}

export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** A deep copy of JSON data; several times faster than structuredClone for the shapes we hold. */
export function cloneJson<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const copy = new Array(value.length);
    for (let index = 0; index < value.length; index += 1) copy[index] = cloneJson(value[index]);
    return copy as T;
  }
  const copy: Record<string, unknown> = {};
  for (const key in value) {
    // A ConfigMap may have a key of this name: an assignment would set the prototype and lose it.
    if (key === '__proto__') {
      Object.defineProperty(copy, key, {
        value: cloneJson(value[key]),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    } else {
      copy[key] = cloneJson(value[key]);
    }
  }
  return copy as T;
}
