import { podReferences } from '../../api/pod-references.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { ConfigKind } from '../../wire/topics.ts';

/** `configmaps/<ns>/<name>`, `secrets/<ns>/<name>`, `persistentvolumes/<claim's ns>/<name>`: a DesiredDigest's key. */
export type ConfigKey = string;

export function configKey(kind: ConfigKind, namespace: string, name: string): ConfigKey {
  return `${kind}/${namespace}/${name}`;
}

export function splitConfigKey(key: ConfigKey): {
  kind: ConfigKind;
  namespace: string;
  name: string;
} {
  const [kind, namespace, name] = key.split('/') as [string, string, string];
  return { kind: kind as ConfigKind, namespace, name };
}

/** Every ConfigMap and Secret that the pod names. Sorted. */
export function referencedConfigs(pod: Pod): ConfigKey[] {
  if (!pod.spec) return [];
  const namespace = pod.metadata.namespace ?? '';
  const { configMaps, secrets } = podReferences(pod.spec);
  return [
    ...[...configMaps].map((name) => configKey('configmaps', namespace, name)),
    ...[...secrets].map((name) => configKey('secrets', namespace, name)),
  ].sort();
}
