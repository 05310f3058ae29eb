// Security contexts of pods and containers.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { validateDescendingPath } from './mounts.ts';

const PROFILE_TYPES = ['Localhost', 'RuntimeDefault', 'Unconfined'];
const ID_RULE = 'must be between 0 and 2147483647, inclusive';

function validateIds(context: JsonObject, path: string, fields: readonly string[]): FieldError[] {
  return fields.flatMap((field) => {
    const value = numberAt(context, field);
    return value !== undefined && (value < 0 || value > 2147483647)
      ? [invalidValue(`${path}.${field}`, value, ID_RULE)]
      : [];
  });
}

const MODULES = { seccompProfile: 'seccomp', appArmorProfile: 'AppArmor' } as const;

function validateProfile(context: JsonObject, parent: string, field: keyof typeof MODULES): FieldError[] {
  const profile = asObject(context[field]);
  const path = `${parent}.${field}`;
  const module = MODULES[field];
  if (!profile) return [];
  const type = stringAt(profile, 'type');
  const local = stringAt(profile, 'localhostProfile');
  if (type === '') return [required(`${path}.type`, `type is required when ${field} is set`)];
  if (!PROFILE_TYPES.includes(type)) return [notSupported(`${path}.type`, type, PROFILE_TYPES)];
  if (type === 'Localhost') {
    if (local === '') {
      return [required(`${path}.localhostProfile`, `must be set when ${module} type is Localhost`)];
    }
    if (module === 'seccomp') return validateDescendingPath(local, `${path}.localhostProfile`);
    return local.trim() === local
      ? []
      : [invalidValue(`${path}.localhostProfile`, local, 'must not be padded with whitespace')];
  }
  return local === ''
    ? []
    : [invalidValue(`${path}.localhostProfile`, local, `can only be set when ${module} type is Localhost`)];
}

export function validateContainerSecurity(context: JsonObject, path: string): FieldError[] {
  const errors = validateIds(context, path, ['runAsUser', 'runAsGroup']);
  errors.push(...checkChoice(`${path}.procMount`, context.procMount, ['Default', 'Unmasked']));
  errors.push(...validateProfile(context, path, 'seccompProfile'));
  errors.push(...validateProfile(context, path, 'appArmorProfile'));
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true) {
      errors.push(
        invalidValue(
          path,
          context,
          'cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
        ),
      );
    }
    if (stringsAt(objectAt(context, 'capabilities'), 'add').includes('CAP_SYS_ADMIN')) {
      errors.push(
        invalidValue(
          path,
          context,
          'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN',
        ),
      );
    }
  }
  return errors;
}

export function validatePodSecurity(context: JsonObject, spec: JsonObject, path: string): FieldError[] {
  const errors = validateIds(context, path, ['fsGroup', 'runAsUser', 'runAsGroup']);
  const groups = context.supplementalGroups;
  if (Array.isArray(groups)) {
    groups.forEach((group, index) => {
      if (typeof group === 'number' && (group < 0 || group > 2147483647)) {
        errors.push(invalidValue(`${path}.supplementalGroups[${index}]`, group, ID_RULE));
      }
    });
  }
  if (spec.shareProcessNamespace === true && spec.hostPID === true) {
    errors.push(
      invalidValue(
        `${path}.shareProcessNamespace`,
        true,
        'ShareProcessNamespace and HostPID cannot both be enabled',
      ),
    );
  }
  const names = new Set<string>();
  listAt(context, 'sysctls').forEach((sysctl, index) => {
    const field = `${path}.sysctls[${index}].name`;
    const name = stringAt(sysctl, 'name');
    if (name === '') errors.push(required(field));
    else if (
      name.length > 253 ||
      !/^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/.test(name)
    ) {
      errors.push(
        invalidValue(
          field,
          name,
          'must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$',
        ),
      );
    } else if (names.has(name)) {
      errors.push({
        reason: 'FieldValueDuplicate',
        field,
        message: `Duplicate value: ${JSON.stringify(name)}`,
      });
    } else if (spec.hostNetwork === true && name.startsWith('net.')) {
      errors.push(invalidValue(field, name, `may not be specified when 'hostNetwork' is true`));
    } else if (spec.hostIPC === true && /^(?:kernel\.(?:shm|msg)|kernel\.sem$|fs\.mqueue\.)/.test(name)) {
      errors.push(invalidValue(field, name, `may not be specified when 'hostIPC' is true`));
    }
    names.add(name);
  });
  errors.push(
    ...checkChoice(`${path}.fsGroupChangePolicy`, context.fsGroupChangePolicy, ['Always', 'OnRootMismatch']),
    ...checkChoice(`${path}.supplementalGroupsPolicy`, context.supplementalGroupsPolicy, ['Merge', 'Strict']),
    ...checkChoice(`${path}.seLinuxChangePolicy`, context.seLinuxChangePolicy, ['MountOption', 'Recursive']),
    ...validateProfile(context, path, 'seccompProfile'),
    ...validateProfile(context, path, 'appArmorProfile'),
  );
  return errors;
}
