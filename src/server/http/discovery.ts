import type { Catalogue, ResourceInfo, SubresourceInfo } from '../../api/catalogue.ts';
import { apiVersionOf } from '../../api/resource.ts';

/** Groups in the order in which Kubernetes' aggregator lists them; others (of CRDs) follow by name. */
const GROUP_ORDER = [
  'apiregistration.k8s.io',
  'apps',
  'events.k8s.io',
  'authentication.k8s.io',
  'authorization.k8s.io',
  'autoscaling',
  'batch',
  'certificates.k8s.io',
  'networking.k8s.io',
  'policy',
  'rbac.authorization.k8s.io',
  'storage.k8s.io',
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'scheduling.k8s.io',
  'coordination.k8s.io',
  'node.k8s.io',
  'discovery.k8s.io',
  'resource.k8s.io',
  'flowcontrol.apiserver.k8s.io',
];

interface GroupVersions {
  name: string;
  versions: string[];
}

/** What the API offers, in the older and the aggregated form. Pure over the catalogue. */
export class Discovery {
  private readonly catalogue: Catalogue;

  constructor(catalogue: Catalogue) {
    this.catalogue = catalogue;
  }

  /** Every group but the core, in order, versions best first. */
  groups(): GroupVersions[] {
    const versions = new Map<string, string[]>();
    for (const { group, version } of this.catalogue.groupVersions()) {
      if (group === '') continue;
      versions.set(group, [...(versions.get(group) ?? []), version]);
    }
    return [...versions]
      .map(([name, list]) => ({ name, versions: list.sort(compareVersions) }))
      .sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1));
  }

  hasGroup(group: string): boolean {
    return this.catalogue.groupVersions().some((known) => known.group === group);
  }

  /** GET /api */
  coreVersions(serverAddress: string): object {
    return {
      kind: 'APIVersions',
      versions: ['v1'],
      serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
    };
  }

  /** GET /apis */
  groupList(): object {
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: this.groups().map(describeGroup) };
  }

  /** GET /apis/<group> */
  group(name: string): object | undefined {
    const found = this.groups().find((group) => group.name === name);
    return found && { kind: 'APIGroup', apiVersion: 'v1', ...describeGroup(found) };
  }

  /** GET /api/v1 and /apis/<group>/<version> */
  resourceList(group: string, version: string): object | undefined {
    const resources = this.resourcesOf(group, version);
    if (resources.length === 0) return undefined;
    return {
      kind: 'APIResourceList',
      // The core's list is made by older code, which leaves this out.
      ...(group === '' ? {} : { apiVersion: 'v1' }),
      groupVersion: apiVersionOf({ group, version }),
      resources: resources.flatMap((info) => [
        describeResource(info),
        ...info.subresources.map((subresource) => describeSubresource(info, subresource)),
      ]),
    };
  }

  /** GET /api or /apis with `as=APIGroupDiscoveryList`. */
  aggregated(core: boolean, version: 'v2' | 'v2beta1'): object {
    const groups = core ? [{ name: '', versions: ['v1'] }] : this.groups();
    return {
      kind: 'APIGroupDiscoveryList',
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items: groups.map(({ name, versions }) => ({
        metadata: name === '' ? {} : { name },
        versions: versions.map((groupVersion) => ({
          version: groupVersion,
          resources: this.resourcesOf(name, groupVersion).map(aggregateResource),
          freshness: 'Current',
        })),
      })),
    };
  }

  private resourcesOf(group: string, version: string): ResourceInfo[] {
    return this.catalogue
      .all()
      .filter((info) => info.group === group && info.version === version)
      .sort((a, b) => (a.resource < b.resource ? -1 : 1));
  }
}

const rank = (group: string): number => {
  const index = GROUP_ORDER.indexOf(group);
  return index < 0 ? GROUP_ORDER.length : index;
};

function describeGroup({ name, versions }: GroupVersions) {
  const described = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: described, preferredVersion: described[0] };
}

const unlessEmpty = (name: string, list: readonly string[]): object =>
  list.length === 0 ? {} : { [name]: list };

function describeResource(info: ResourceInfo): object {
  return {
    name: info.resource,
    singularName: info.singular,
    namespaced: info.namespaced,
    kind: info.kind,
    verbs: info.verbs,
    ...unlessEmpty('shortNames', info.shortNames),
    ...unlessEmpty('categories', info.categories),
  };
}

/** The kind of a subresource's object, with group and version when they are not those of the resource. */
export function subresourceKind(subresource: SubresourceInfo): {
  group?: string;
  version?: string;
  kind: string;
} {
  const parts = subresource.kind.split('/');
  if (parts.length === 3)
    return { group: parts[0] as string, version: parts[1] as string, kind: parts[2] as string };
  const { group, version, kind } = subresource;
  return { ...(group === undefined ? {} : { group }), ...(version === undefined ? {} : { version }), kind };
}

function describeSubresource(info: ResourceInfo, subresource: SubresourceInfo): object {
  return {
    name: `${info.resource}/${subresource.name}`,
    singularName: '',
    namespaced: info.namespaced,
    ...subresourceKind(subresource),
    verbs: subresource.verbs,
  };
}

function aggregateResource(info: ResourceInfo): object {
  return {
    resource: info.resource,
    responseKind: { group: '', version: '', kind: info.kind },
    scope: info.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: info.singular,
    verbs: info.verbs,
    ...unlessEmpty('shortNames', info.shortNames),
    ...unlessEmpty('categories', info.categories),
    ...(info.subresources.length === 0
      ? {}
      : {
          subresources: info.subresources.map((subresource) => ({
            subresource: subresource.name,
            responseKind: { group: '', version: '', ...subresourceKind(subresource) },
            verbs: subresource.verbs,
          })),
        }),
  };
}

/** Kubernetes' order of versions: v2, v1, v1beta2, v1beta1, v1alpha1, then the rest by name. */
export function compareVersions(a: string, b: string): number {
  const left = versionRank(a);
  const right = versionRank(b);
  for (let index = 0; index < 3; index += 1) {
    const difference = (right[index] ?? 0) - (left[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

/** [stability, major, minor], greater is better. */
function versionRank(version: string): [number, number, number] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (!match) return [0, 0, 0];
  const stability = match[2] === undefined ? 3 : match[2] === 'beta' ? 2 : 1;
  return [stability, Number(match[1]), Number(match[3] ?? 0)];
}
