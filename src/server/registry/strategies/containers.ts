// Containers of all three sorts: defaults and rules.
import type { FieldError } from '../../../api/errors.ts';
import {
  configMapKey,
  dnsLabel,
  dnsSubdomain,
  envName,
  portName,
  portNumber,
  qualifiedName,
} from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  fieldNotFound,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { defaultHandler, validateHandler, validateProbe } from './probes.ts';
import { validateContainerResources } from './resources.ts';
import { validateContainerSecurity } from './security-context.ts';

export const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const MESSAGE_POLICIES = ['File', 'FallbackToLogsOnError'];

/** What validation of containers needs to know of their pod. */
export interface PodFacts {
  volumes: ReadonlyMap<string, JsonObject>;
  hostNetwork: boolean;
}

export function defaultContainer(container: JsonObject, hostNetwork: boolean): void {
  setDefault(container, 'terminationMessagePath', '/dev/termination-log');
  setDefault(container, 'terminationMessagePolicy', 'File');
  setDefault(container, 'imagePullPolicy', pullPolicy(stringAt(container, 'image')));
  for (const port of listAt(container, 'ports')) {
    // On the node's own network a port is the node's port.
    if (hostNetwork && numberAt(port, 'hostPort') === undefined && port.containerPort !== 0) {
      port.hostPort = port.containerPort;
    }
  }
  for (const variable of listAt(container, 'env')) {
    const reference = asObject(objectAt(variable, 'valueFrom').fieldRef);
    if (reference) setDefault(reference, 'apiVersion', 'v1');
    const file = asObject(objectAt(variable, 'valueFrom').fileKeyRef);
    if (file) setDefault(file, 'optional', false);
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = asObject(container[name]);
    if (!probe) continue;
    defaultHandler(probe);
    setDefault(probe, 'timeoutSeconds', 1);
    setDefault(probe, 'periodSeconds', 10);
    setDefault(probe, 'successThreshold', 1);
    setDefault(probe, 'failureThreshold', 3);
  }
  for (const name of ['postStart', 'preStop']) {
    const handler = asObject(objectAt(container, 'lifecycle')[name]);
    if (handler) defaultHandler(handler);
  }
}

/** Images without a tag or with `latest` are pulled each time; a digest never changes. */
export function pullPolicy(image: string): string {
  if (image === '' || image.includes('@')) return 'IfNotPresent';
  const name = image.slice(image.lastIndexOf('/') + 1);
  const colon = name.indexOf(':');
  return colon < 0 || name.slice(colon + 1) === 'latest' ? 'Always' : 'IfNotPresent';
}

export function validateContainers(spec: JsonObject, field: string, pod: PodFacts): FieldError[] {
  const containers = listAt(spec, 'containers');
  if (containers.length === 0) return [required(field)];
  const errors: FieldError[] = [];
  const names = new Set<string>();
  containers.forEach((container, index) => {
    const path = `${field}[${index}]`;
    errors.push(...validateContainer(container, path, pod));
    const name = stringAt(container, 'name');
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
    errors.push(...validateLifecycleAndProbes(container, path));
  });
  errors.push(...hostPortConflicts(containers, field));
  return errors;
}

export function validateInitContainers(spec: JsonObject, field: string, pod: PodFacts): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set(listAt(spec, 'containers').map((container) => stringAt(container, 'name')));
  listAt(spec, 'initContainers').forEach((container, index) => {
    const path = `${field}[${index}]`;
    errors.push(...validateContainer(container, path, pod));
    const restartPolicy = stringAt(container, 'restartPolicy');
    const sidecar = restartPolicy === 'Always';
    errors.push(...checkChoice(`${path}.restartPolicy`, container.restartPolicy, ['Always']));
    const name = stringAt(container, 'name');
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    else if (name !== '') names.add(name);
    errors.push(...hostPortConflicts([container], field));
    if (sidecar) {
      errors.push(...validateLifecycleAndProbes(container, path));
    } else {
      for (const part of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe']) {
        if (container[part] !== undefined) {
          errors.push(
            forbiddenField(
              `${path}.${part}`,
              `may not be set for init containers without restartPolicy=Always`,
            ),
          );
        }
      }
    }
  });
  return errors;
}

export function validateEphemeralContainers(spec: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const regular = new Set(
    [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')].map(({ name }) => name),
  );
  const volumes = new Map(listAt(spec, 'volumes').map((volume) => [stringAt(volume, 'name'), volume]));
  const names = new Set<string>();
  listAt(spec, 'ephemeralContainers').forEach((container, index) => {
    const path = `${field}[${index}]`;
    errors.push(...validateContainer(container, path, { volumes, hostNetwork: false }));
    const name = stringAt(container, 'name');
    if (names.has(name) || regular.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
    const target = stringAt(container, 'targetContainerName');
    if (target !== '' && !regular.has(target))
      errors.push(fieldNotFound(`${path}.targetContainerName`, target));
    for (const part of [
      'ports',
      'livenessProbe',
      'readinessProbe',
      'startupProbe',
      'lifecycle',
      'resizePolicy',
    ]) {
      if (container[part] !== undefined) {
        errors.push(forbiddenField(`${path}.${part}`, 'cannot be set for an Ephemeral Container'));
      }
    }
    if (Object.keys(objectAt(container, 'resources')).length > 0) {
      errors.push(forbiddenField(`${path}.resources`, 'cannot be set for an Ephemeral Container'));
    }
    listAt(container, 'volumeMounts').forEach((mount, at) => {
      if (stringAt(mount, 'subPath') !== '') {
        errors.push(
          forbiddenField(`${path}.volumeMounts[${at}].subPath`, 'cannot be set for an Ephemeral Container'),
        );
      }
    });
  });
  return errors;
}

function validateContainer(container: JsonObject, path: string, pod: PodFacts): FieldError[] {
  const errors: FieldError[] = [];
  const name = stringAt(container, 'name');
  if (name === '') errors.push(required(`${path}.name`));
  else errors.push(...checkName(`${path}.name`, name, dnsLabel));
  const image = stringAt(container, 'image');
  if (image === '') errors.push(required(`${path}.image`));
  if (isUnset(container.terminationMessagePolicy)) {
    errors.push(required(`${path}.terminationMessagePolicy`));
  } else {
    errors.push(
      ...checkChoice(
        `${path}.terminationMessagePolicy`,
        container.terminationMessagePolicy,
        MESSAGE_POLICIES,
      ),
    );
  }
  errors.push(...validatePorts(container, `${path}.ports`, pod.hostNetwork));
  errors.push(...validateEnv(container, `${path}.env`));
  errors.push(...validateEnvFrom(container, `${path}.envFrom`));
  errors.push(...validateMounts(container, `${path}.volumeMounts`, pod.volumes));
  errors.push(...validateDevices(container, `${path}.volumeDevices`, pod.volumes));
  if (isUnset(container.imagePullPolicy)) errors.push(required(`${path}.imagePullPolicy`));
  else {
    errors.push(...checkChoice(`${path}.imagePullPolicy`, container.imagePullPolicy, PULL_POLICIES));
  }
  errors.push(...validateContainerResources(objectAt(container, 'resources'), `${path}.resources`));
  listAt(container, 'resizePolicy').forEach((policy, index) => {
    const at = `${path}.resizePolicy[${index}]`;
    errors.push(...checkChoice(`${at}.resourceName`, policy.resourceName, ['cpu', 'memory']));
    errors.push(
      ...checkChoice(`${at}.restartPolicy`, policy.restartPolicy, ['NotRequired', 'RestartContainer']),
    );
  });
  const security = asObject(container.securityContext);
  if (security) errors.push(...validateContainerSecurity(security, `${path}.securityContext`));
  if (image.trim() !== image) {
    errors.push(invalidValue(`${path}.image`, image, 'must not have leading or trailing whitespace'));
  }
  return errors;
}

function validateLifecycleAndProbes(container: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const lifecycle = objectAt(container, 'lifecycle');
  for (const name of ['postStart', 'preStop']) {
    const handler = asObject(lifecycle[name]);
    if (handler) errors.push(...validateHandler(handler, `${path}.lifecycle.${name}`));
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = asObject(container[name]);
    if (probe) errors.push(...validateProbe(probe, `${path}.${name}`, name));
  }
  return errors;
}

function validatePorts(container: JsonObject, field: string, hostNetwork: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  listAt(container, 'ports').forEach((port, index) => {
    const path = `${field}[${index}]`;
    const name = stringAt(port, 'name');
    if (name !== '') {
      const wrong = checkName(`${path}.name`, name, portName);
      if (wrong.length > 0) errors.push(...wrong);
      else if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
      else names.add(name);
    }
    const number = numberAt(port, 'containerPort') ?? 0;
    if (number === 0) errors.push(required(`${path}.containerPort`));
    else {
      for (const rule of portNumber(number)) errors.push(invalidValue(`${path}.containerPort`, number, rule));
    }
    const hostPort = numberAt(port, 'hostPort') ?? 0;
    if (hostPort !== 0) {
      for (const rule of portNumber(hostPort)) errors.push(invalidValue(`${path}.hostPort`, hostPort, rule));
      if (hostNetwork && hostPort !== number) {
        errors.push(
          invalidValue(`${path}.hostPort`, hostPort, 'must match `containerPort` when `hostNetwork` is true'),
        );
      }
    }
    if (isUnset(port.protocol)) errors.push(required(`${path}.protocol`));
    else errors.push(...checkChoice(`${path}.protocol`, port.protocol, PROTOCOLS));
  });
  return errors;
}

function hostPortConflicts(containers: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const used = new Set<string>();
  containers.forEach((container, index) => {
    listAt(container, 'ports').forEach((port, at) => {
      const hostPort = numberAt(port, 'hostPort') ?? 0;
      if (hostPort === 0) return;
      const key = `${port.protocol}/${stringAt(port, 'hostIP')}/${hostPort}`;
      if (used.has(key)) errors.push(duplicate(`${field}[${index}].ports[${at}].hostPort`, key));
      used.add(key);
    });
  });
  return errors;
}

const FIELD_PATHS = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
const RESOURCE_FIELDS = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/;

function validateEnv(container: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  listAt(container, 'env').forEach((variable, index) => {
    const path = `${field}[${index}]`;
    const name = stringAt(variable, 'name');
    if (name === '') errors.push(required(`${path}.name`));
    else errors.push(...checkName(`${path}.name`, name, envName));
    const source = asObject(variable.valueFrom);
    if (source) errors.push(...validateEnvSource(variable, source, `${path}.valueFrom`));
  });
  return errors;
}

function validateEnvSource(variable: JsonObject, source: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const fieldRef = asObject(source.fieldRef);
  if (fieldRef) errors.push(...validateFieldRef(fieldRef, `${path}.fieldRef`, FIELD_PATHS));
  const resourceRef = asObject(source.resourceFieldRef);
  if (resourceRef) errors.push(...validateResourceFieldRef(resourceRef, `${path}.resourceFieldRef`, false));
  for (const kind of ['configMapKeyRef', 'secretKeyRef']) {
    const reference = asObject(source[kind]);
    if (!reference) continue;
    const name = stringAt(reference, 'name');
    if (name === '') errors.push(required(`${path}.${kind}.name`));
    else errors.push(...checkName(`${path}.${kind}.name`, name, dnsSubdomain));
    const key = stringAt(reference, 'key');
    if (key === '') errors.push(required(`${path}.${kind}.key`));
    else errors.push(...checkName(`${path}.${kind}.key`, key, configMapKey));
  }
  const sources = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'];
  const given = sources.filter((kind) => source[kind] !== undefined).length;
  if (given === 0) {
    errors.push(
      invalidValue(
        path,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      ),
    );
  } else if (stringAt(variable, 'value') !== '') {
    errors.push(invalidValue(path, '', 'may not be specified when `value` is not empty'));
  } else if (given > 1) {
    errors.push(invalidValue(path, '', 'may not have more than one field specified at a time'));
  }
  return errors;
}

/** `metadata.labels['app']` or one of `supported`. */
export function validateFieldRef(
  reference: JsonObject,
  path: string,
  supported: readonly string[],
): FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(reference, 'apiVersion') === '') errors.push(required(`${path}.apiVersion`));
  const fieldPath = stringAt(reference, 'fieldPath');
  if (fieldPath === '') return [...errors, required(`${path}.fieldPath`)];
  const subscript = /^(metadata\.(?:labels|annotations))\['(.*)'\]$/.exec(fieldPath);
  if (subscript) {
    const [, map = '', key = ''] = subscript;
    const wanted = map === 'metadata.annotations' ? key.toLowerCase() : key;
    return [...errors, ...checkName(path, wanted, qualifiedName)];
  }
  if (supported.includes(fieldPath)) return errors;
  const known = [
    ...FIELD_PATHS,
    'metadata.labels',
    'metadata.annotations',
    'spec.restartPolicy',
    'status.phase',
  ];
  if (!known.includes(fieldPath)) {
    errors.push(
      invalidValue(
        `${path}.fieldPath`,
        fieldPath,
        `error converting fieldPath: field label not supported: ${fieldPath}`,
      ),
    );
  } else {
    errors.push(notSupported(`${path}.fieldPath`, fieldPath, supported));
  }
  return errors;
}

export function validateResourceFieldRef(
  reference: JsonObject,
  path: string,
  inVolume: boolean,
): FieldError[] {
  const errors: FieldError[] = [];
  if (inVolume && stringAt(reference, 'containerName') === '') errors.push(required(`${path}.containerName`));
  const resource = stringAt(reference, 'resource');
  if (resource === '') errors.push(required(`${path}.resource`));
  else if (!RESOURCE_FIELDS.test(resource)) {
    errors.push(
      notSupported(`${path}.resource`, resource, [
        'limits.cpu',
        'limits.ephemeral-storage',
        'limits.memory',
        'requests.cpu',
        'requests.ephemeral-storage',
        'requests.memory',
      ]),
    );
  }
  return errors;
}

function validateEnvFrom(container: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  listAt(container, 'envFrom').forEach((source, index) => {
    const path = `${field}[${index}]`;
    const prefix = stringAt(source, 'prefix');
    if (prefix !== '') errors.push(...checkName(`${path}.prefix`, prefix, envName));
    const given = ['configMapRef', 'secretRef'].filter((kind) => source[kind] !== undefined);
    for (const kind of given) {
      const name = stringAt(objectAt(source, kind), 'name');
      if (name === '') errors.push(required(`${path}.${kind}.name`));
      else errors.push(...checkName(`${path}.${kind}.name`, name, dnsSubdomain));
    }
    if (given.length === 0) {
      errors.push(invalidValue(field, '', 'must specify one of: `configMapRef` or `secretRef`'));
    } else if (given.length > 1) {
      errors.push(invalidValue(field, '', 'may not have more than one field specified at a time'));
    }
  });
  return errors;
}

function validateMounts(
  container: JsonObject,
  field: string,
  volumes: ReadonlyMap<string, JsonObject>,
): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  const devices = new Set(listAt(container, 'volumeDevices').map(({ devicePath }) => devicePath));
  listAt(container, 'volumeMounts').forEach((mount, index) => {
    const path = `${field}[${index}]`;
    const name = stringAt(mount, 'name');
    if (name === '') errors.push(required(`${path}.name`));
    if (!volumes.has(name)) errors.push(fieldNotFound(`${path}.name`, name));
    const mountPath = stringAt(mount, 'mountPath');
    if (mountPath === '') errors.push(required(`${path}.mountPath`));
    if (paths.has(mountPath)) errors.push(invalidValue(`${path}.mountPath`, mountPath, 'must be unique'));
    paths.add(mountPath);
    if (devices.has(mountPath)) {
      errors.push(invalidValue(`${path}.mountPath`, mountPath, 'must not already exist in volumeDevices'));
    }
    // Kubernetes leaves the index out of these paths.
    const subPath = stringAt(mount, 'subPath');
    if (subPath !== '') errors.push(...validateDescendingPath(subPath, `${field}.subPath`));
    const expression = stringAt(mount, 'subPathExpr');
    if (expression !== '') {
      if (subPath !== '') {
        errors.push(
          invalidValue(`${field}.subPathExpr`, expression, 'subPathExpr and subPath are mutually exclusive'),
        );
      }
      errors.push(...validateDescendingPath(expression, `${field}.subPathExpr`));
    }
    const propagation = mount.mountPropagation;
    errors.push(
      ...checkChoice(`${field}.mountPropagation`, propagation, ['Bidirectional', 'HostToContainer', 'None']),
    );
    if (propagation === 'Bidirectional' && objectAt(container, 'securityContext').privileged !== true) {
      errors.push(
        forbiddenField(
          `${field}.mountPropagation`,
          'Bidirectional mount propagation is available only to privileged containers',
        ),
      );
    }
  });
  return errors;
}

function validateDevices(
  container: JsonObject,
  field: string,
  volumes: ReadonlyMap<string, JsonObject>,
): FieldError[] {
  const errors: FieldError[] = [];
  listAt(container, 'volumeDevices').forEach((device, index) => {
    const path = `${field}[${index}]`;
    const name = stringAt(device, 'name');
    if (name === '') errors.push(required(`${path}.name`));
    const volume = volumes.get(name);
    if (!volume) errors.push(fieldNotFound(`${path}.name`, name));
    else if (volume.persistentVolumeClaim === undefined && volume.ephemeral === undefined) {
      errors.push(
        invalidValue(
          `${path}.name`,
          name,
          'can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
        ),
      );
    }
    const devicePath = stringAt(device, 'devicePath');
    if (devicePath === '') errors.push(required(`${path}.devicePath`));
    else if (devicePath.split('/').includes('..')) {
      errors.push(invalidValue(`${path}.devicePath`, devicePath, "can not contain backsteps ('..')"));
    }
  });
  return errors;
}

/** Relative, and never upwards. */
export function validateDescendingPath(value: string, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (value.startsWith('/')) errors.push(invalidValue(field, value, 'must be a relative path'));
  return [...errors, ...validateNoBacksteps(value, field)];
}

export function validateNoBacksteps(value: string, field: string): FieldError[] {
  return value.split('/').includes('..') ? [invalidValue(field, value, "must not contain '..'")] : [];
}
