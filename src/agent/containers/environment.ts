import type { Container, EnvVar, Pod } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';
import type { DesiredState } from '../ports.ts';
import { ContainerConfigError } from './config-error.ts';
import { expand } from './expansion.ts';
import { type FieldContext, fieldValue, resourceValue } from './fields.ts';
import { serviceEnvironment } from './service-env.ts';

export type ConfigSource = Pick<DesiredState, 'configMap' | 'secret' | 'services'>;

export type FileReference = NonNullable<NonNullable<EnvVar['valueFrom']>['fileKeyRef']>;
/** A variable of a file in one of the pod's volumes. */
export type FileVariables = (ref: FileReference) => string | undefined;

/**
 * A container's environment: envFrom, then env (which sees what came before it), then the service variables that were
 * not overridden. Throws ContainerConfigError where something required is missing.
 */
export function environment(
  pod: Pod,
  container: Container,
  config: ConfigSource,
  context: FieldContext,
  files: FileVariables = () => undefined,
): Map<string, string> {
  const { namespace } = identity(pod);
  const services = serviceEnvironment(config.services(), namespace, pod.spec?.enableServiceLinks ?? true);
  const env = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    for (const [key, value] of envFromValues(source, namespace, config))
      env.set(`${source.prefix ?? ''}${key}`, value);
  }
  for (const variable of container.env ?? []) {
    const value = variable.valueFrom
      ? valueFrom(variable.valueFrom, { pod, container, namespace, config, context, files })
      : expand(variable.value ?? '', (name) => env.get(name) ?? services.get(name));
    if (value !== undefined) env.set(variable.name, value);
  }
  for (const [key, value] of services) if (!env.has(key)) env.set(key, value);
  return env;
}

function envFromValues(
  source: NonNullable<Container['envFrom']>[number],
  namespace: string,
  config: ConfigSource,
): [string, string][] {
  if (source.configMapRef) {
    const { name = '', optional } = source.configMapRef;
    const object = config.configMap(namespace, name);
    if (!object && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
    return Object.entries(object?.data ?? {});
  }
  if (source.secretRef) {
    const { name = '', optional } = source.secretRef;
    const object = config.secret(namespace, name);
    if (!object && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
    return Object.entries(object?.data ?? {}).map(([key, value]) => [key, decode(value)]);
  }
  return [];
}

interface ValueContext {
  pod: Pod;
  container: Container;
  namespace: string;
  config: ConfigSource;
  context: FieldContext;
  files: FileVariables;
}

/** Undefined: an optional reference to something that does not exist; the variable is not set then. */
function valueFrom(source: NonNullable<EnvVar['valueFrom']>, where: ValueContext): string | undefined {
  const { pod, container, namespace, config, context } = where;
  if (source.fieldRef) return fieldValue(pod, source.fieldRef.fieldPath, context);
  if (source.resourceFieldRef) return resourceValue(pod, container, source.resourceFieldRef, context);
  if (source.configMapKeyRef) {
    const { name = '', key, optional } = source.configMapKeyRef;
    const object = config.configMap(namespace, name);
    if (!object && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
    const value = object?.data?.[key];
    if (value === undefined && !optional) {
      throw new ContainerConfigError(`couldn't find key ${key} in ConfigMap ${namespace}/${name}`);
    }
    return value;
  }
  if (source.secretKeyRef) {
    const { name = '', key, optional } = source.secretKeyRef;
    const object = config.secret(namespace, name);
    if (!object && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
    const value = object?.data?.[key];
    if (value === undefined && !optional) {
      throw new ContainerConfigError(`couldn't find key ${key} in Secret ${namespace}/${name}`);
    }
    return value === undefined ? undefined : decode(value);
  }
  if (source.fileKeyRef) {
    const { key, path, optional } = source.fileKeyRef;
    const value = where.files(source.fileKeyRef);
    if (value === undefined && !optional) {
      throw new ContainerConfigError(`environment variable key "${key}" not found in file "${path}"`);
    }
    return value;
  }
  return '';
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
