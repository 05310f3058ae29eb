// Where volumes appear in containers.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  checkChoice,
  fieldNotFound,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';

export function validateMounts(
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
    errors.push(...validateRecursiveReadOnly(mount, `${field}.recursiveReadOnly`));
  });
  return errors;
}

function validateRecursiveReadOnly(mount: JsonObject, field: string): FieldError[] {
  const mode = mount.recursiveReadOnly;
  const errors = checkChoice(field, mode, ['Disabled', 'Enabled', 'IfPossible']);
  if (mode !== 'Enabled' && mode !== 'IfPossible') return errors;
  if (mount.readOnly !== true) {
    errors.push(forbiddenField(field, 'may only be specified when readOnly is true'));
  }
  const propagation = mount.mountPropagation;
  if (propagation !== undefined && propagation !== null && propagation !== 'None') {
    errors.push(
      forbiddenField(field, 'may only be specified when mountPropagation is None or not specified'),
    );
  }
  return errors;
}

export function validateDevices(
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
