import { parseApiVersion, type ResourceRef } from './resource.ts';

/** One resource type as discovery describes it. Built-in ones come from data/resources.json, others from CRDs. */
export interface ResourceInfo extends ResourceRef {
  readonly kind: string;
  /** Absent: the kind and `List`. */
  readonly listKind?: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly SubresourceInfo[];
  /** The key of its schema in data/schemas.json (or of the CRD's own schema); undefined where it has none. */
  readonly schema: string | undefined;
  /** Defined by a CustomResourceDefinition. */
  readonly custom: boolean;
}

export interface SubresourceInfo {
  readonly name: string;
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

/** All resource types that the server offers now. CRDs add and remove theirs. */
export class Catalogue {
  private readonly byRef = new Map<string, ResourceInfo>();
  private readonly byKind = new Map<string, ResourceInfo>();
  private readonly listeners: (() => void)[] = [];
  private readonly removals: ((info: ResourceInfo) => void)[] = [];

  constructor(resources: Iterable<ResourceInfo>) {
    for (const info of resources) this.index(info);
  }

  find(group: string, version: string, resource: string): ResourceInfo | undefined {
    return this.byRef.get(`${group}/${version}/${resource}`);
  }

  findKind(apiVersion: string, kind: string): ResourceInfo | undefined {
    const { group, version } = parseApiVersion(apiVersion);
    return this.byKind.get(`${group}/${version}/${kind}`);
  }

  all(): ResourceInfo[] {
    return [...this.byRef.values()];
  }

  groupVersions(): { group: string; version: string }[] {
    const seen = new Map<string, { group: string; version: string }>();
    for (const { group, version } of this.byRef.values()) seen.set(`${group}/${version}`, { group, version });
    return [...seen.values()];
  }

  add(info: ResourceInfo): void {
    this.index(info);
    for (const listener of this.listeners) listener();
  }

  remove(ref: ResourceRef): void {
    const key = `${ref.group}/${ref.version}/${ref.resource}`;
    const info = this.byRef.get(key);
    if (!info) return;
    this.byRef.delete(key);
    this.byKind.delete(`${info.group}/${info.version}/${info.kind}`);
    for (const listener of this.removals) listener(info);
    for (const listener of this.listeners) listener();
  }

  /** A resource is served no more, or in another shape from now on: who follows it has to begin anew. */
  onRemove(listener: (info: ResourceInfo) => void): void {
    this.removals.push(listener);
  }

  /** Something was added or removed: discovery and OpenAPI answers made before are stale. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  private index(info: ResourceInfo): void {
    this.byRef.set(`${info.group}/${info.version}/${info.resource}`, info);
    this.byKind.set(`${info.group}/${info.version}/${info.kind}`, info);
  }
}

/** The shape of data/resources.json. */
interface ResourceFacts {
  resources: {
    group: string;
    version: string;
    resource: string;
    kind: string;
    singular: string;
    scope: 'Namespaced' | 'Cluster';
    verbs: string[];
    shortNames?: string[];
    categories?: string[];
    subresources?: SubresourceInfo[];
  }[];
}

interface SchemaFacts {
  schemas: Record<
    string,
    { 'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[] }
  >;
}

/** The built-in resources of Kubernetes v1.36 from the two data files. */
export function builtInResources(facts: ResourceFacts, { schemas }: SchemaFacts): ResourceInfo[] {
  const schemaOf = new Map<string, string>();
  for (const [name, schema] of Object.entries(schemas)) {
    for (const { group, version, kind } of schema['x-kubernetes-group-version-kind'] ?? []) {
      schemaOf.set(`${group}/${version}/${kind}`, name);
    }
  }
  return facts.resources.map((fact) => ({
    group: fact.group,
    version: fact.version,
    resource: fact.resource,
    kind: fact.kind,
    singular: fact.singular,
    namespaced: fact.scope === 'Namespaced',
    verbs: fact.verbs,
    shortNames: fact.shortNames ?? [],
    categories: fact.categories ?? [],
    subresources: fact.subresources ?? [],
    schema: schemaOf.get(`${fact.group}/${fact.version}/${fact.kind}`),
    custom: false,
  }));
}
