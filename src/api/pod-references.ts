import type { Container, EphemeralContainer, Pod, PodSpec } from './types/core-v1.ts';

/** The names of what a pod's spec refers to in its namespace, whether it exists or not (optional ones may come later). */
export interface PodReferences {
  configMaps: ReadonlySet<string>;
  secrets: ReadonlySet<string>;
}

/** Everything that the kubelet reads for a pod: env, envFrom, volumes, projected volumes and imagePullSecrets. */
export function podReferences(spec: PodSpec): PodReferences {
  const configMaps = new Set<string>();
  const secrets = new Set<string>();
  const configMap = (name: string | undefined): void => void (name && configMaps.add(name));
  const secret = (name: string | undefined): void => void (name && secrets.add(name));

  const containers: readonly (Container | EphemeralContainer)[] = [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ];
  for (const container of containers) {
    for (const { valueFrom } of container.env ?? []) {
      configMap(valueFrom?.configMapKeyRef?.name);
      secret(valueFrom?.secretKeyRef?.name);
    }
    for (const source of container.envFrom ?? []) {
      configMap(source.configMapRef?.name);
      secret(source.secretRef?.name);
    }
  }
  for (const volume of spec.volumes ?? []) {
    configMap(volume.configMap?.name);
    secret(volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      configMap(source.configMap?.name);
      secret(source.secret?.name);
    }
  }
  for (const { name } of spec.imagePullSecrets ?? []) secret(name);
  return { configMaps, secrets };
}

/** `namespace/name` of every claim of the pod, those of its ephemeral volumes included. */
export function claimsUsed({ metadata, spec }: Pod): string[] {
  return (spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim) return [`${metadata.namespace}/${persistentVolumeClaim.claimName}`];
    return ephemeral ? [`${metadata.namespace}/${metadata.name}-${name}`] : [];
  });
}
