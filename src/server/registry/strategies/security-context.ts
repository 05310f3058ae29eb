// Security contexts of pods and containers.
import type { FieldError } from '../../../api/errors.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
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
  tooLong,
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

/** What the API server shows of a whole object in an error is Go's own form of it. */
const shown = (type: string, local: Json | undefined): JsonObject => ({
  Type: type,
  LocalhostProfile: local ?? null,
});

function validateSeccomp(context: JsonObject, parent: string): FieldError[] {
  const profile = asObject(context.seccompProfile);
  if (!profile) return [];
  const path = `${parent}.seccompProfile`;
  const type = stringAt(profile, 'type');
  const local = profile.localhostProfile;
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(`${path}.type`, 'type is required when seccompProfile is set'));
  else errors.push(...checkChoice(`${path}.type`, type, PROFILE_TYPES));
  const field = `${path}.localhostProfile`;
  if (type === 'Localhost') {
    errors.push(
      ...(local === undefined
        ? [required(field, 'must be set when seccomp type is Localhost')]
        : validateDescendingPath(String(local), field)),
    );
  } else if (local !== undefined) {
    const why = 'can only be set when seccomp type is Localhost';
    errors.push(invalidValue(field, shown(type, local), why));
  }
  return errors;
}

function validateAppArmor(context: JsonObject, parent: string): FieldError[] {
  const profile = asObject(context.appArmorProfile);
  if (!profile) return [];
  const path = `${parent}.appArmorProfile`;
  const field = `${path}.localhostProfile`;
  const local = profile.localhostProfile;
  switch (profile.type ?? '') {
    case 'Localhost': {
      const name = typeof local === 'string' ? local : '';
      if (name.trim() !== name) return [invalidValue(field, name, 'must not be padded with whitespace')];
      if (name === '') return [required(field, 'must be set when AppArmor type is Localhost')];
      return name.length > LONGEST_PROFILE ? [tooLong(field, LONGEST_PROFILE)] : [];
    }
    case 'RuntimeDefault':
    case 'Unconfined':
      if (local === undefined) return [];
      return [invalidValue(field, local, 'can only be set when AppArmor type is Localhost')];
    case '':
      return [required(`${path}.type`, 'type is required when appArmorProfile is set')];
    default:
      return [notSupported(`${path}.type`, profile.type, PROFILE_TYPES)];
  }
}

const LONGEST_PROFILE = 4095;

/** `hostUsers`: the pod shares the user namespace of its node. */
export function validateContainerSecurity(
  context: JsonObject,
  path: string,
  hostUsers: boolean,
): FieldError[] {
  const errors = validateIds(context, path, ['runAsUser', 'runAsGroup']);
  errors.push(...checkChoice(`${path}.procMount`, context.procMount, ['Default', 'Unmasked']));
  if (hostUsers && context.procMount === 'Unmasked') {
    const why = '`hostUsers` must be false to use `Unmasked`';
    errors.push(invalidValue(`${path}.procMount`, context.procMount, why));
  }
  errors.push(...validateSeccomp(context, path));
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
  return [...errors, ...validateAppArmor(context, path)];
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
    ...validateSeccomp(context, path),
    ...validateAppArmor(context, path),
    ...checkChoice(`${path}.supplementalGroupsPolicy`, context.supplementalGroupsPolicy, ['Merge', 'Strict']),
    ...checkChoice(`${path}.seLinuxChangePolicy`, context.seLinuxChangePolicy, ['MountOption', 'Recursive']),
  );
  return errors;
}
