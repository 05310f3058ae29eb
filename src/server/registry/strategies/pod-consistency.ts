// Rules about a pod's fields together: its operating system, user namespace, claims of devices, host name.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkName,
  duplicate,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';

const CONTAINERS = ['containers', 'initContainers', 'ephemeralContainers'];

/** What is true of a pod when it is made, and need not stay true. */
export function validateNewPod(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  if (listAt(spec, 'ephemeralContainers').length > 0) {
    errors.push(forbiddenField('spec.ephemeralContainers', 'cannot be set on create'));
  }
  if (stringAt(spec, 'nodeName') !== '' && listAt(spec, 'schedulingGates').length > 0) {
    errors.push(forbiddenField('spec.nodeName', 'cannot be set until all schedulingGates have been cleared'));
  }
  return errors;
}

export function validateClaims(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  listAt(spec, 'resourceClaims').forEach((claim, index) => {
    const at = `${path}.resourceClaims[${index}]`;
    const name = stringAt(claim, 'name');
    if (name === '') errors.push(required(`${at}.name`));
    else if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    else errors.push(...checkName(`${at}.name`, name, dnsLabel));
    names.add(name);
    const sources = ['resourceClaimName', 'resourceClaimTemplateName'].filter(
      (field) => claim[field] !== undefined,
    );
    if (sources.length > 1) {
      errors.push(
        invalidValue(
          at,
          claim,
          'at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified',
        ),
      );
    }
    if (sources.length === 0) {
      errors.push(
        invalidValue(at, claim, 'must specify one of: `resourceClaimName`, `resourceClaimTemplateName`'),
      );
    }
    for (const field of sources) {
      errors.push(...checkName(`${at}.${field}`, stringAt(claim, field), dnsSubdomain));
    }
  });
  return errors;
}

/** The names that containers may claim devices by. */
export function claimNames(spec: JsonObject): string[] {
  return listAt(spec, 'resourceClaims').map((claim) => stringAt(claim, 'name'));
}

/** In a user namespace of its own a pod cannot share the host's other namespaces. */
export function validateHostUsers(spec: JsonObject, path: string): FieldError[] {
  if (spec.hostUsers !== false) return [];
  return ['hostNetwork', 'hostPID', 'hostIPC']
    .filter((field) => spec[field] === true)
    .map((field) => forbiddenField(`${path}.${field}`, 'when `hostUsers` is false'));
}

/** Fields of a pod's security context that mean nothing on Windows, and of a container's. */
const NOT_ON_WINDOWS = {
  spec: ['hostUsers', 'hostPID', 'hostIPC', 'shareProcessNamespace'],
  pod: [
    'appArmorProfile',
    'seLinuxOptions',
    'seccompProfile',
    'fsGroup',
    'fsGroupChangePolicy',
    'sysctls',
    'runAsUser',
    'runAsGroup',
    'supplementalGroups',
    'supplementalGroupsPolicy',
  ],
  container: [
    'appArmorProfile',
    'seLinuxOptions',
    'seccompProfile',
    'capabilities',
    'readOnlyRootFilesystem',
    'privileged',
    'allowPrivilegeEscalation',
    'procMount',
    'runAsUser',
    'runAsGroup',
  ],
} as const;

export function validateOs(spec: JsonObject, path: string): FieldError[] {
  const os = asObject(spec.os);
  if (!os) return [];
  const name = stringAt(os, 'name');
  if (name === '') return [required(`${path}.os.name`)];
  if (name !== 'linux' && name !== 'windows') {
    return [notSupported(`${path}.os.name`, name, ['linux', 'windows'])];
  }
  const refuse = name === 'linux' ? linuxErrors : windowsErrors;
  return [
    ...refuse(objectAt(spec, 'securityContext'), NOT_ON_WINDOWS.pod, `${path}.securityContext`),
    ...(name === 'windows' ? windowsErrors(spec, NOT_ON_WINDOWS.spec, path) : []),
    ...CONTAINERS.flatMap((field) =>
      listAt(spec, field).flatMap((container, index) =>
        refuse(
          objectAt(container, 'securityContext'),
          NOT_ON_WINDOWS.container,
          `${path}.${field}[${index}].securityContext`,
        ),
      ),
    ),
  ];
}

function windowsErrors(given: JsonObject, fields: readonly string[], path: string): FieldError[] {
  // The host's namespaces are the default: only who asks for them says something.
  const set = (field: string): boolean =>
    field === 'hostPID' || field === 'hostIPC' ? given[field] === true : given[field] !== undefined;
  return fields
    .filter(set)
    .map((field) => forbiddenField(`${path}.${field}`, 'cannot be set for a windows pod'));
}

function linuxErrors(context: JsonObject, _fields: readonly string[], path: string): FieldError[] {
  return context.windowsOptions === undefined
    ? []
    : [forbiddenField(`${path}.windowsOptions`, 'windows options cannot be set for a linux pod')];
}

const LONGEST_HOSTNAME = 64;

export function validateHostnameOverride(spec: JsonObject, path: string): FieldError[] {
  const name = stringAt(spec, 'hostnameOverride');
  if (spec.hostnameOverride === undefined) return [];
  const field = `${path}.hostnameOverride`;
  const errors = checkName(field, name, dnsSubdomain);
  if (name.length > LONGEST_HOSTNAME) {
    errors.push(invalidValue(field, name, `must be no more than ${LONGEST_HOSTNAME} characters`));
  }
  if (spec.hostNetwork === true) {
    errors.push(forbiddenField(field, 'may not be specified when `hostNetwork` is true'));
  }
  if (spec.setHostnameAsFQDN === true) {
    errors.push(forbiddenField(field, 'may not be specified when `setHostnameAsFQDN` is true'));
  }
  return errors;
}
