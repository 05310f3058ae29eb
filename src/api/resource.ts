import type { KubeObject } from './object.ts';

/** Names a resource type: group (empty for core), version and plural. */
export interface ResourceRef {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}

/** A ResourceRef that also carries the TypeScript type of its objects. See kinds.ts for the constants. */
export interface ResourceType<T extends KubeObject> extends ResourceRef {
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set; carries the type. */
  readonly object?: T;
}

export function apiVersionOf(ref: { group: string; version: string }): string {
  return ref.group === '' ? ref.version : `${ref.group}/${ref.version}`;
}

export function parseApiVersion(apiVersion: string): { group: string; version: string } {
  const slash = apiVersion.indexOf('/');
  return slash < 0
    ? { group: '', version: apiVersion }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

/** `deployments.apps`, or `pods` for core: how Kubernetes writes a group resource, and our key for storage. */
export function groupResource(ref: { group: string; resource: string }): string {
  return ref.group === '' ? ref.resource : `${ref.resource}.${ref.group}`;
}
