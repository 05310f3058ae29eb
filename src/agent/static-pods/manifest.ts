import { createHash } from 'node:crypto';
import { dnsLabel, dnsSubdomain } from '../../api/names.ts';
import { podReferences } from '../../api/pod-references.ts';
import type { Container, Pod, PodSpec } from '../../api/types/core-v1.ts';

export const CONFIG_HASH = 'kubernetes.io/config.hash';
export const CONFIG_SEEN = 'kubernetes.io/config.seen';
export const CONFIG_SOURCE = 'kubernetes.io/config.source';
export const CONFIG_MIRROR = 'kubernetes.io/config.mirror';

/** What is wrong with a manifest, in one sentence. */
export class ManifestError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ManifestError';
  }
}

export interface ManifestContext {
  nodeName: string;
  /** Path of the file: the same pod in another file is another pod. */
  file: string;
  /** RFC 3339. */
  seen: string;
}

/**
 * The static pod of a decoded manifest: named after its node, with a uid that is a hash of what it says, so that a changed
 * file is another pod. Throws ManifestError.
 */
export function staticPod(document: unknown, { nodeName, file, seen }: ManifestContext): Pod {
  const manifest = objectOf(document, 'the manifest');
  if (manifest.kind !== 'Pod' || manifest.apiVersion !== 'v1') {
    throw new ManifestError(
      `invalid pod: no v1 Pod but ${text(manifest.apiVersion) || '?'} ${text(manifest.kind) || '?'}`,
    );
  }
  const metadata = objectOf(manifest.metadata, 'metadata');
  const name = text(metadata.name);
  const spec = objectOf(manifest.spec, 'spec') as unknown as PodSpec;
  checkSpec(spec);
  const namespace = text(metadata.namespace) || 'default';
  const full = `${name}-${nodeName.toLowerCase()}`;
  for (const problem of [
    ...dnsSubdomain(full).map((rule) => `metadata.name: ${rule}`),
    ...dnsLabel(namespace),
  ]) {
    throw new ManifestError(problem);
  }
  const reference = apiReference(spec);
  if (reference) throw new ManifestError(`static pods may not reference ${reference}`);
  // Another algorithm than API objects' uids: no two kinds of pods are ever taken for each other.
  const hash = createHash('md5')
    .update(canonical(manifest))
    .update(`host:${nodeName}`)
    .update(`file:${file}`)
    .digest('hex');
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: full,
      namespace,
      uid: hash,
      resourceVersion: hash,
      generation: 1,
      creationTimestamp: seen,
      labels: stringsOf(metadata.labels, 'metadata.labels'),
      annotations: {
        ...stringsOf(metadata.annotations, 'metadata.annotations'),
        [CONFIG_HASH]: hash,
        [CONFIG_SEEN]: seen,
        [CONFIG_SOURCE]: 'file',
      },
    },
    spec: withDefaults(spec, nodeName),
  };
}

/** The copy of a static pod that stands in the API for it. */
export function mirrorOf(pod: Pod, nodeUid: string): Pod {
  const { name, namespace, labels, annotations, uid } = pod.metadata;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      ...(labels ? { labels } : {}),
      annotations: { ...annotations, [CONFIG_MIRROR]: uid ?? '' },
      ownerReferences: [
        { apiVersion: 'v1', kind: 'Node', name: pod.spec?.nodeName ?? '', uid: nodeUid, controller: true },
      ],
    },
    spec: pod.spec as PodSpec,
  } as Pod;
}

export const isMirror = (pod: Pod): boolean => pod.metadata.annotations?.[CONFIG_MIRROR] !== undefined;
/** Uids of the API are written with dashes. */
export const isStaticUid = (uid: string): boolean => /^[0-9a-f]{32}$/.test(uid);

function checkSpec(spec: PodSpec): void {
  const names = new Set<string>();
  for (const field of ['containers', 'initContainers'] as const) {
    const list: unknown = spec[field];
    if (list === undefined && field === 'initContainers') continue;
    if (!Array.isArray(list) || (field === 'containers' && list.length === 0)) {
      throw new ManifestError(`spec.${field}: Required value`);
    }
    list.forEach((entry: unknown, index) => {
      const container = objectOf(entry, `spec.${field}[${index}]`);
      const name = text(container.name);
      for (const rule of dnsLabel(name)) throw new ManifestError(`spec.${field}[${index}].name: ${rule}`);
      if (names.has(name))
        throw new ManifestError(`spec.${field}[${index}].name: Duplicate value: "${name}"`);
      names.add(name);
      if (text(container.image) === '')
        throw new ManifestError(`spec.${field}[${index}].image: Required value`);
      for (const part of ['command', 'args', 'env', 'ports', 'volumeMounts']) {
        if (container[part] !== undefined && container[part] !== null && !Array.isArray(container[part]))
          throw new ManifestError(`spec.${field}[${index}].${part}: not a list`);
      }
    });
  }
  if (spec.volumes !== undefined && !Array.isArray(spec.volumes))
    throw new ManifestError('spec.volumes: not a list');
  if ((spec as { ephemeralContainers?: unknown }).ephemeralContainers !== undefined)
    throw new ManifestError(
      'spec.ephemeralContainers: Forbidden: static pods do not support ephemeral containers',
    );
}

/** What only the API could give it: the first kind of object that the pod refers to. */
function apiReference(spec: PodSpec): string | undefined {
  if (spec.serviceAccountName) return 'serviceaccounts';
  const { secrets, configMaps } = podReferences(spec);
  if (secrets.size > 0) return 'secrets';
  if (configMaps.size > 0) return 'configmaps';
  if (spec.resourceClaims?.length) return 'resourceclaims';
  for (const { persistentVolumeClaim, ephemeral, projected } of spec.volumes ?? []) {
    if (persistentVolumeClaim || ephemeral) return 'persistentvolumeclaims';
    if (projected?.sources?.some((source) => source.serviceAccountToken)) return 'serviceaccounts';
    if (projected?.sources?.some((source) => source.clusterTrustBundle)) return 'clustertrustbundles';
  }
  return undefined;
}

/** The API server's defaults that the agent relies on: nobody else fills them in here. */
function withDefaults(spec: PodSpec, nodeName: string): PodSpec {
  const container = (each: Container): Container => ({
    ...each,
    imagePullPolicy: each.imagePullPolicy ?? (pinned(each.image ?? '') ? 'IfNotPresent' : 'Always'),
    terminationMessagePath: each.terminationMessagePath ?? '/dev/termination-log',
    terminationMessagePolicy: each.terminationMessagePolicy ?? 'File',
    ...(each.ports
      ? {
          ports: each.ports.map((port) => ({
            ...port,
            protocol: port.protocol ?? 'TCP',
            ...(spec.hostNetwork ? { hostPort: port.hostPort ?? port.containerPort } : {}),
          })),
        }
      : {}),
    ...(each.resources?.limits
      ? {
          resources: {
            ...each.resources,
            requests: { ...each.resources.limits, ...each.resources.requests },
          },
        }
      : {}),
  });
  return {
    ...spec,
    nodeName,
    restartPolicy: spec.restartPolicy ?? 'Always',
    dnsPolicy: spec.dnsPolicy ?? 'ClusterFirst',
    terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 30,
    // It stays whatever the node is tainted with.
    tolerations: [...(spec.tolerations ?? []), { operator: 'Exists', effect: 'NoExecute' }],
    containers: spec.containers.map(container),
    ...(spec.initContainers ? { initContainers: spec.initContainers.map(container) } : {}),
  };
}

/** Does the image have a tag other than latest, or a digest? */
function pinned(image: string): boolean {
  if (image.includes('@')) return true;
  const tag = /:([^/:]+)$/.exec(image)?.[1];
  return tag !== undefined && tag !== 'latest';
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ManifestError(`${what} is not an object`);
  return value as Record<string, unknown>;
}

function stringsOf(value: unknown, what: string): Record<string, string> {
  if (value === undefined || value === null) return {};
  const map = objectOf(value, what);
  for (const [key, entry] of Object.entries(map)) {
    if (typeof entry !== 'string') throw new ManifestError(`${what}[${key}]: not a string`);
  }
  return map as Record<string, string>;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The same for the same content, in whatever order a file has it. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === 'object' && entry !== null && !Array.isArray(entry)
      ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
      : entry,
  );
}
