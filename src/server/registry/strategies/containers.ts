// Containers of all three sorts: defaults and rules.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, portName, portNumber } from '../../../api/names.ts';
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
  tooMany,
} from '../../../api/validation.ts';
import { validateEnv, validateEnvFrom } from './environment.ts';
import { validateDevices, validateMounts } from './mounts.ts';
import { defaultHandler, validateHandler, validateProbe, validateSleep } from './probes.ts';
import { validateContainerResources } from './resources.ts';
import { validateContainerSecurity } from './security-context.ts';

export const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const MESSAGE_POLICIES = ['File', 'FallbackToLogsOnError'];

/** What validation of containers needs to know of their pod. */
export interface PodFacts {
  volumes: ReadonlyMap<string, JsonObject>;
  hostNetwork: boolean;
  /** It shares the user namespace of its node; absent: it does. */
  hostUsers?: boolean;
  /** Names of the pod's resourceClaims. */
  claims?: readonly string[];
  restartPolicy?: string;
  /** terminationGracePeriodSeconds. */
  grace?: number | undefined;
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
    errors.push(...validateLifecycleAndProbes(container, path, pod.grace));
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
    const name = stringAt(container, 'name');
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    else if (name !== '') names.add(name);
    errors.push(...hostPortConflicts([container], field));
    if (sidecar) {
      errors.push(...validateLifecycleAndProbes(container, path, pod.grace));
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
  errors.push(
    ...validateContainerResources(objectAt(container, 'resources'), `${path}.resources`, pod.claims),
  );
  errors.push(...validateResizePolicy(container, `${path}.resizePolicy`, pod.restartPolicy));
  errors.push(...validateRestartRules(container, path));
  const security = asObject(container.securityContext);
  if (security)
    errors.push(...validateContainerSecurity(security, `${path}.securityContext`, pod.hostUsers ?? true));
  if (image.trim() !== image) {
    errors.push(invalidValue(`${path}.image`, image, 'must not have leading or trailing whitespace'));
  }
  return errors;
}

function validateLifecycleAndProbes(
  container: JsonObject,
  path: string,
  grace: number | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  const lifecycle = objectAt(container, 'lifecycle');
  for (const name of ['postStart', 'preStop']) {
    const handler = asObject(lifecycle[name]);
    if (!handler) continue;
    const at = `${path}.lifecycle.${name}`;
    errors.push(...validateHandler(handler, at), ...validateSleep(handler, `${at}.sleep`, grace));
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = asObject(container[name]);
    if (probe) errors.push(...validateProbe(probe, `${path}.${name}`, name));
  }
  return errors;
}

/** Kubernetes names the list in its errors, not the entry, but for an entry that occurs twice. */
function validateResizePolicy(
  container: JsonObject,
  field: string,
  podPolicy: string | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  listAt(container, 'resizePolicy').forEach((policy, index) => {
    const name = stringAt(policy, 'resourceName');
    if (names.has(name)) errors.push(duplicate(`${field}[${index}]`, name));
    names.add(name);
    if (name === '') errors.push(required(field));
    else errors.push(...checkChoice(field, name, ['cpu', 'memory']));
    const restart = stringAt(policy, 'restartPolicy');
    if (restart === '') errors.push(required(field));
    else errors.push(...checkChoice(field, restart, ['NotRequired', 'RestartContainer']));
    if (podPolicy === 'Never' && restart !== 'NotRequired') {
      errors.push(invalidValue(field, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"));
    }
  });
  return errors;
}

const MOST_RESTART_RULES = 20;
const MOST_EXIT_CODES = 255;

/** A container's own restart policy, and rules that make exceptions by exit code. */
function validateRestartRules(container: JsonObject, path: string): FieldError[] {
  const errors = checkChoice(`${path}.restartPolicy`, container.restartPolicy, [
    'Always',
    'Never',
    'OnFailure',
  ]);
  const rules = listAt(container, 'restartPolicyRules');
  if (rules.length > 0 && isUnset(container.restartPolicy)) {
    errors.push(required(`${path}.restartPolicy`, 'must specify restartPolicy when restart rules are used'));
  }
  if (rules.length > MOST_RESTART_RULES) {
    errors.push(tooMany(`${path}.restartPolicyRules`, rules.length, MOST_RESTART_RULES));
  }
  rules.forEach((rule, index) => {
    const at = `${path}.restartPolicyRules[${index}]`;
    if (rule.action !== 'Restart') {
      errors.push(notSupported(`${at}.action`, rule.action ?? '', ['Restart']));
    }
    const codes = asObject(rule.exitCodes);
    if (!codes) {
      errors.push(required(`${at}.exitCodes`, 'must be specified'));
      return;
    }
    if (codes.operator !== 'In' && codes.operator !== 'NotIn') {
      errors.push(notSupported(`${at}.exitCodes.operator`, codes.operator ?? '', ['In', 'NotIn']));
    }
    const count = Array.isArray(codes.values) ? codes.values.length : 0;
    if (count > MOST_EXIT_CODES) errors.push(tooMany(`${at}.exitCodes.values`, count, MOST_EXIT_CODES));
  });
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
