import type { Container, EphemeralContainer, Pod } from '../../api/types/core-v1.ts';

/** `configmaps/<ns>/<name>` or `secrets/<ns>/<name>`: a DesiredDigest's key. */
export type ConfigKey = string;

export function configKey(kind: 'configmaps' | 'secrets', namespace: string, name: string): ConfigKey {
  return `${kind}/${namespace}/${name}`;
}

export function splitConfigKey(key: ConfigKey): {
  kind: 'configmaps' | 'secrets';
  namespace: string;
  name: string;
} {
  const [kind, namespace, name] = key.split('/') as [string, string, string];
  return { kind: kind as 'configmaps' | 'secrets', namespace, name };
}

/** Every ConfigMap and Secret that the pod names, whether it exists or not (optional ones may come later). Sorted. */
export function referencedConfigs(pod: Pod): ConfigKey[] {
  const namespace = pod.metadata.namespace ?? '';
  const found = new Set<ConfigKey>();
  const configMap = (name: string | undefined): void => {
    if (name) found.add(configKey('configmaps', namespace, name));
  };
  const secret = (name: string | undefined): void => {
    if (name) found.add(configKey('secrets', namespace, name));
  };

  const { spec } = pod;
  const containers: readonly (Container | EphemeralContainer)[] = [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ];
  for (const container of containers) {
    for (const variable of container.env ?? []) {
      configMap(variable.valueFrom?.configMapKeyRef?.name);
      secret(variable.valueFrom?.secretKeyRef?.name);
    }
    for (const source of container.envFrom ?? []) {
      configMap(source.configMapRef?.name);
      secret(source.secretRef?.name);
    }
  }
  for (const volume of spec?.volumes ?? []) {
    configMap(volume.configMap?.name);
    secret(volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      configMap(source.configMap?.name);
      secret(source.secret?.name);
    }
  }
  for (const { name } of spec?.imagePullSecrets ?? []) secret(name);
  return [...found].sort();
}
