// What Kubernetes warns of in pods and their templates: it is allowed, and hardly meant.
import { dnsLabel, labelValue } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { quantityOf } from '../../../api/quantity.ts';
import { asObject, listAt, numberAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';

/** Labels of nodes that have been renamed. */
export const RENAMED_LABELS: Readonly<Record<string, string>> = {
  'beta.kubernetes.io/arch': 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  'beta.kubernetes.io/os': 'deprecated since v1.14; use "kubernetes.io/os" instead',
  'failure-domain.beta.kubernetes.io/region':
    'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  'failure-domain.beta.kubernetes.io/zone':
    'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  'beta.kubernetes.io/instance-type':
    'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  'app.kubernetes.io/created-by': 'deprecated since v1.9',
  'scheduler.alpha.kubernetes.io/preferAvoidPods':
    'deprecated since v1.22; use Taints and Tolerations instead',
  'node-role.kubernetes.io/master': 'use "node-role.kubernetes.io/control-plane" instead',
};

const SYSCTLS = 'non-functional in v1.11+; use the "sysctls" field instead';
const SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead';
const SECCOMP_POD = 'seccomp.security.alpha.kubernetes.io/pod';
const SECCOMP_CONTAINER = 'container.seccomp.security.alpha.kubernetes.io/';
const APP_ARMOR = 'container.apparmor.security.beta.kubernetes.io/';
const DEPRECATED_ANNOTATIONS: Readonly<Record<string, string>> = {
  'scheduler.alpha.kubernetes.io/critical-pod':
    'non-functional in v1.16+; use the "priorityClassName" field instead',
  'security.alpha.kubernetes.io/sysctls': SYSCTLS,
  'security.alpha.kubernetes.io/unsafe-sysctls': SYSCTLS,
};

/** By the source's field: how Kubernetes spells it here, and since when it does not work. */
const GONE_VOLUMES: Readonly<Record<string, readonly [name: string, fate: string]>> = {
  photonPersistentDisk: ['photonPersistentDisk', 'deprecated in v1.11, non-functional in v1.16+'],
  gitRepo: ['gitRepo', 'deprecated in v1.11, and disabled by default in v1.33+'],
  scaleIO: ['scaleIO', 'deprecated in v1.16, non-functional in v1.22+'],
  flocker: ['flocker', 'deprecated in v1.22, non-functional in v1.25+'],
  storageos: ['storageOS', 'deprecated in v1.22, non-functional in v1.25+'],
  quobyte: ['quobyte', 'deprecated in v1.22, non-functional in v1.25+'],
  glusterfs: ['glusterfs', 'deprecated in v1.25, non-functional in v1.26+'],
  cephfs: ['cephfs', 'deprecated in v1.28, non-functional in v1.31+'],
  rbd: ['rbd', 'deprecated in v1.28, non-functional in v1.31+'],
};

/** Of the volume sources in `holder`, those that nothing serves any more. */
export function goneVolumes(
  holder: JsonObject,
  path: string,
  kinds: readonly string[] = Object.keys(GONE_VOLUMES),
): string[] {
  return kinds.flatMap((source) => {
    const [name, fate] = GONE_VOLUMES[source] ?? [source, ''];
    return holder[source] === undefined ? [] : [`${path}.${name}: ${fate}`];
  });
}

export function fractionalBytes(value: unknown, field: string): string[] {
  return value !== undefined && quantityOf(value).nano % 1_000_000_000n !== 0n
    ? [`${field}: fractional byte value ${JSON.stringify(value)} is invalid, must be an integer`]
    : [];
}

/** `pod`: a pod, or a template at `path` (`spec.template`). */
export function podWarnings(pod: JsonObject, path: '' | string): string[] {
  const spec = objectAt(pod, 'spec');
  const at = path === '' ? 'spec' : `${path}.spec`;
  const annotations = objectAt(objectAt(pod, 'metadata'), 'annotations');
  const noted = `${path === '' ? '' : `${path}.`}metadata.annotations`;
  const containers = containersAt(spec, at);
  return [
    ...placement(spec, at),
    ...Object.entries(DEPRECATED_ANNOTATIONS)
      .filter(([key]) => annotations[key] !== undefined)
      .map(([key, fate]) => `${noted}[${key}]: ${fate}`),
    ...listAt(spec, 'volumes').flatMap((volume, index) => volumeWarnings(volume, `${at}.volumes[${index}]`)),
    ...tokenCollisions(listAt(spec, 'volumes'), `${at}.volumes`),
    ...again(listAt(spec, 'hostAliases'), 'ip', `${at}.hostAliases`),
    ...again(listAt(spec, 'imagePullSecrets'), 'name', `${at}.imagePullSecrets`),
    ...listAt(spec, 'imagePullSecrets').flatMap((secret, index) =>
      stringAt(secret, 'name') === '' ? [`${at}.imagePullSecrets[${index}].name: invalid empty name ""`] : [],
    ),
    ...['memory', 'ephemeral-storage'].flatMap((resource) =>
      fractionalBytes(objectAt(spec, 'overhead')[resource], `${at}.overhead[${resource}]`),
    ),
    ...(annotations[SECCOMP_POD] !== undefined && !profiled(spec, 'seccompProfile')
      ? [`${noted}[${SECCOMP_POD}]: ${SECCOMP}`]
      : []),
    ...containers.flatMap(([container, field]) => [
      ...profileAnnotations(container, spec, annotations, noted, path !== ''),
      ...containerWarnings(container, field),
    ]),
    ...portWarnings(containers),
    ...((numberAt(spec, 'terminationGracePeriodSeconds') ?? 0) < 0
      ? [
          `${at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`,
        ]
      : []),
    ...affinityWarnings(objectAt(spec, 'affinity'), `${at}.affinity`),
  ];
}

/** Names of workloads are those of their pods, and so become names of hosts. */
export function nameWarnings(object: JsonObject, what: 'pod' | 'workload'): string[] {
  const rules = dnsLabel(stringAt(objectAt(object, 'metadata'), 'name'));
  if (rules.length === 0) return [];
  const where = what === 'pod' ? "the Pod's hostname" : 'Pod names and hostnames';
  return [
    `metadata.name: this is used in ${where}, which can result in surprising behavior; a DNS label is recommended: [${rules.join(' ')}]`,
  ];
}

/** Of a workload with the template at `path`; of its name (`named`) only when that is given. */
export function workloadWarnings(
  object: JsonObject,
  old: JsonObject | undefined,
  path: string,
  named = true,
): string[] {
  const template = path.split('.').reduce((parent, field) => objectAt(parent, field), object);
  return [...(named && !old ? nameWarnings(object, 'workload') : []), ...podWarnings(template, path)];
}

type Placed = readonly [container: JsonObject, field: string];

function containersAt(spec: JsonObject, at: string): Placed[] {
  return ['initContainers', 'containers', 'ephemeralContainers'].flatMap((kind) =>
    listAt(spec, kind).map((container, index): Placed => [container, `${at}.${kind}[${index}]`]),
  );
}

function placement(spec: JsonObject, at: string): string[] {
  const node = objectAt(objectAt(spec, 'affinity'), 'nodeAffinity');
  const required = `${at}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`;
  const preferred = 'preferredDuringSchedulingIgnoredDuringExecution';
  return [
    ...Object.keys(objectAt(spec, 'nodeSelector')).flatMap((key) =>
      RENAMED_LABELS[key] === undefined ? [] : [`${at}.nodeSelector[${key}]: ${RENAMED_LABELS[key]}`],
    ),
    ...listAt(objectAt(node, 'requiredDuringSchedulingIgnoredDuringExecution'), 'nodeSelectorTerms').flatMap(
      (term, index) => nodeTermWarnings(term, `${required}.nodeSelectorTerms[${index}]`),
    ),
    ...listAt(node, preferred).flatMap((weighted, index) =>
      nodeTermWarnings(
        objectAt(weighted, 'preference'),
        `${at}.affinity.nodeAffinity.${preferred}[${index}].preference`,
        true,
      ),
    ),
    ...listAt(spec, 'topologySpreadConstraints').flatMap((constraint, index) => {
      const field = `${at}.topologySpreadConstraints[${index}]`;
      const key = stringAt(constraint, 'topologyKey');
      const renamed = RENAMED_LABELS[key];
      return [
        ...(renamed === undefined ? [] : [`${field}.topologyKey: ${key} is ${renamed}`]),
        ...(constraint.labelSelector === undefined ? [`${field}.labelSelector: ${MATCHES_NONE}`] : []),
      ];
    }),
  ];
}

const MATCHES_NONE = 'a null labelSelector results in matching no pod';

/** `preferred`: values that no label can have are not refused there, only mentioned. */
export function nodeTermWarnings(term: JsonObject, field: string, preferred = false): string[] {
  return listAt(term, 'matchExpressions').flatMap((expression, index) => {
    const at = `${field}.matchExpressions[${index}]`;
    const key = stringAt(expression, 'key');
    const renamed = RENAMED_LABELS[key];
    const values = preferred ? stringsAt(expression, 'values') : [];
    return [
      ...(renamed === undefined ? [] : [`${at}.key: ${key} is ${renamed}`]),
      ...values.flatMap((value, place) =>
        labelValue(value).map((rule) => `${at}.values[${place}]: ${value} is invalid, ${rule}`),
      ),
    ];
  });
}

function volumeWarnings(volume: JsonObject, at: string): string[] {
  const claim = objectAt(objectAt(objectAt(volume, 'ephemeral'), 'volumeClaimTemplate'), 'spec');
  const { storage } = objectAt(objectAt(claim, 'resources'), 'requests');
  return [
    ...goneVolumes(volume, at),
    ...fractionalBytes(storage, `${at}.ephemeral.volumeClaimTemplate.spec.resources.requests[storage]`),
  ];
}

/** Files of a projected volume that would lie where a service account's token lies. */
function tokenCollisions(volumes: JsonObject[], at: string): string[] {
  const sources = volumes.map((volume) => listAt(objectAt(volume, 'projected'), 'sources'));
  const tokens = new Set(
    sources.flat().flatMap((source) => {
      const token = asObject(source.serviceAccountToken);
      return token ? [stringAt(token, 'path')] : [];
    }),
  );
  const kinds = { configMap: 'configMap', secret: 'secrets', downwardAPI: 'downwardAPI' };
  return sources.flatMap((projected, index) =>
    projected.flatMap((source) =>
      Object.entries(kinds).flatMap(([kind, name]) =>
        listAt(objectAt(source, kind), 'items').flatMap((item, place) => {
          const path = stringAt(item, 'path');
          if (!tokens.has(path)) return [];
          const field = `${at}[${index}].projected.sources.${name}[${place}]`;
          return [`${field}: has duplicated path with ServiceAccountToken ${JSON.stringify(path)}`];
        }),
      ),
    ),
  );
}

function again(list: JsonObject[], field: string, at: string): string[] {
  const seen = new Set<string>();
  return list.flatMap((item, index) => {
    const value = stringAt(item, field);
    const known = seen.has(value);
    seen.add(value);
    return known ? [`${at}[${index}].${field}: duplicate ${field} ${JSON.stringify(value)}`] : [];
  });
}

const profiled = (holder: JsonObject, field: string): boolean =>
  objectAt(holder, 'securityContext')[field] !== undefined;

function profileAnnotations(
  container: JsonObject,
  spec: JsonObject,
  annotations: JsonObject,
  noted: string,
  isTemplate: boolean,
): string[] {
  const name = stringAt(container, 'name');
  const seccomp = `${SECCOMP_CONTAINER}${name}`;
  const armor = `${APP_ARMOR}${name}`;
  const warnings: string[] = [];
  if (annotations[seccomp] !== undefined && !profiled(container, 'seccompProfile')) {
    warnings.push(`${noted}[${seccomp}]: ${SECCOMP}`);
  }
  const armored = profiled(container, 'appArmorProfile') || profiled(spec, 'appArmorProfile');
  if (isTemplate && annotations[armor] !== undefined && !armored) {
    warnings.push(`${noted}[${armor}]: deprecated since v1.30; use the "appArmorProfile" field instead`);
  }
  return warnings;
}

function containerWarnings(container: JsonObject, at: string): string[] {
  const resources = objectAt(container, 'resources');
  const warnings = ['memory', 'ephemeral-storage'].flatMap((resource) =>
    ['limits', 'requests'].flatMap((kind) =>
      fractionalBytes(objectAt(resources, kind)[resource], `${at}.resources.${kind}[${resource}]`),
    ),
  );
  const names = new Set<string>();
  listAt(container, 'env').forEach((variable, index) => {
    const name = stringAt(variable, 'name');
    const reference = `$(${name})`;
    const value = stringAt(variable, 'value');
    const builds = variable.valueFrom === undefined && value !== reference && value.includes(reference);
    if (names.has(name) && !builds) {
      warnings.push(
        `${at}.env[${index}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`,
      );
    }
    names.add(name);
  });
  return warnings;
}

function portWarnings(containers: readonly Placed[]): string[] {
  const warnings: string[] = [];
  const known = new Map<string, { field: string; port: JsonObject }[]>();
  for (const [container, at] of containers) {
    listAt(container, 'ports').forEach((port, index) => {
      const field = `${at}.ports[${index}]`;
      const hostPort = numberAt(port, 'hostPort') ?? 0;
      const hostIp = stringAt(port, 'hostIP');
      if (hostIp !== '' && hostPort === 0) {
        const name = stringAt(port, 'name');
        const shown = `{Name:${name} HostPort:0 ContainerPort:${port.containerPort} Protocol:${port.protocol} HostIP:${hostIp}}`;
        warnings.push(`${field}: hostIP set without hostPort: ${shown}`);
      }
      const key = `${port.containerPort}/${port.protocol}`;
      const others = known.get(key) ?? [];
      for (const other of others) {
        const otherPort = numberAt(other.port, 'hostPort') ?? 0;
        const otherIp = stringAt(other.port, 'hostIP');
        if (hostIp === otherIp && hostPort === otherPort) {
          warnings.push(`${field}: duplicate port definition with ${other.field}`);
        } else if (hostPort === 0 || otherPort === 0) {
          warnings.push(`${field}: overlapping port definition with ${other.field}`);
        } else if (hostPort === otherPort && (hostIp === '') !== (otherIp === '')) {
          warnings.push(`${field}: dangerously ambiguous port definition with ${other.field}`);
        }
      }
      known.set(key, [...others, { field, port }]);
    });
  }
  return warnings;
}

function affinityWarnings(affinity: JsonObject, at: string): string[] {
  return ['podAffinity', 'podAntiAffinity'].flatMap((kind) => {
    const terms = objectAt(affinity, kind);
    const required = 'requiredDuringSchedulingIgnoredDuringExecution';
    const preferred = 'preferredDuringSchedulingIgnoredDuringExecution';
    return [
      ...listAt(terms, required).flatMap((term, index) =>
        term.labelSelector === undefined
          ? [`${at}.${kind}.${required}[${index}].labelSelector: ${MATCHES_NONE}`]
          : [],
      ),
      ...listAt(terms, preferred).flatMap((weighted, index) =>
        objectAt(weighted, 'podAffinityTerm').labelSelector === undefined
          ? [`${at}.${kind}.${preferred}[${index}].podAffinityTerm.labelSelector: ${MATCHES_NONE}`]
          : [],
      ),
    ];
  });
}
