// ConfigMaps, Secrets and ServiceAccounts.

import type { FieldError } from '../../../api/errors.ts';
import { JsonSyntaxError, parseJson } from '../../../api/json-text.ts';
import { configMapKey } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { setKey } from '../../../api/schema-decode.ts';
import {
  checkName,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  objectAt,
  required,
  stringAt,
  tooLong,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageCell, nameCell } from './cells.ts';

const MOST_BYTES = 1024 * 1024;

function size(map: JsonObject, base64: boolean): number {
  let bytes = 0;
  for (const key of Object.keys(map)) {
    const text = String(map[key]);
    bytes += base64 ? Math.floor((text.length * 3) / 4) : Buffer.byteLength(text);
  }
  return bytes;
}

function count(map: JsonObject): number {
  return Object.keys(map).length;
}

/** Once `immutable` is set, neither it nor the data may change. */
function validateImmutable(object: JsonObject, old: JsonObject, fields: readonly string[]): FieldError[] {
  if (old.immutable !== true) return [];
  const errors: FieldError[] = [];
  const why = 'field is immutable when `immutable` is set';
  if (object.immutable !== true) errors.push(forbiddenField('immutable', why));
  for (const field of fields) {
    if (!jsonEqual(object[field] ?? {}, old[field] ?? {})) errors.push(forbiddenField(field, why));
  }
  return errors;
}

export const configMapStrategy: Strategy = {
  validate: (object) => {
    const data = objectAt(object, 'data');
    const binary = objectAt(object, 'binaryData');
    const errors: FieldError[] = [];
    for (const key of Object.keys(data)) {
      errors.push(...checkName(`data[${key}]`, key, configMapKey));
      if (Object.hasOwn(binary, key)) {
        errors.push(invalidValue(`data[${key}]`, key, 'duplicate of key present in binaryData'));
      }
    }
    for (const key of Object.keys(binary)) {
      errors.push(...checkName(`binaryData[${key}]`, key, configMapKey));
    }
    if (size(data, false) + size(binary, true) > MOST_BYTES) errors.push(tooLong('', MOST_BYTES));
    return errors;
  },
  validateUpdate: (object, old) => validateImmutable(object, old, ['data', 'binaryData']),
  cells: (object, now) => [
    nameCell(object),
    count(objectAt(object, 'data')) + count(objectAt(object, 'binaryData')),
    ageCell(object, now),
  ],
};

/** What each type of secret has to hold. */
const REQUIRED_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
};
const ACCOUNT_NAME = 'kubernetes.io/service-account.name';

export const secretStrategy: Strategy = {
  applyDefaults: (secret) => {
    if (isUnset(secret.type)) secret.type = 'Opaque';
    const plain = objectAt(secret, 'stringData');
    if (count(plain) > 0) {
      const data: JsonObject = { ...objectAt(secret, 'data') };
      for (const key of Object.keys(plain)) {
        setKey(data, key, Buffer.from(String(plain[key])).toString('base64'));
      }
      secret.data = data;
    }
    delete secret.stringData;
  },
  validate: validateSecret,
  validateUpdate: (secret, old) => [
    ...checkImmutable('type', secret.type, old.type),
    ...validateImmutable(secret, old, ['data']),
  ],
  warnings: (secret) => {
    if (secret.type !== 'kubernetes.io/tls') return [];
    const certificate = Buffer.from(stringAt(objectAt(secret, 'data'), 'tls.crt'), 'base64').toString(
      'latin1',
    );
    return /-----BEGIN [A-Z ]+-----/.test(certificate)
      ? []
      : ['tls: failed to find any PEM data in certificate input'];
  },
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: fieldsAt('type'),
  cells: (secret, now) => [
    nameCell(secret),
    stringAt(secret, 'type'),
    count(objectAt(secret, 'data')),
    ageCell(secret, now),
  ],
};

function validateSecret(secret: JsonObject): FieldError[] {
  const data = objectAt(secret, 'data');
  const type = stringAt(secret, 'type');
  const errors: FieldError[] = [];
  for (const key of Object.keys(data)) errors.push(...checkName(`data[${key}]`, key, configMapKey));
  if (size(data, true) > MOST_BYTES) errors.push(tooLong('data', MOST_BYTES));
  if (type === 'kubernetes.io/service-account-token') {
    const annotations = objectAt(objectAt(secret, 'metadata'), 'annotations');
    if (isUnset(annotations[ACCOUNT_NAME])) errors.push(required(`metadata.annotations[${ACCOUNT_NAME}]`));
  }
  if (type === 'kubernetes.io/basic-auth') {
    if (data.username === undefined && data.password === undefined) {
      errors.push(required('data[username]'), required('data[password]'));
    }
    return errors;
  }
  for (const key of (Object.hasOwn(REQUIRED_KEYS, type) && REQUIRED_KEYS[type]) || []) {
    if (data[key] === undefined) errors.push(required(`data[${key}]`));
    else if (key.startsWith('.docker')) errors.push(...validateJson(String(data[key]), `data[${key}]`));
  }
  return errors;
}

/** What the secret holds is not told, what is wrong with it is. */
function validateJson(base64: string, field: string): FieldError[] {
  try {
    parseJson(Buffer.from(base64, 'base64').toString());
    return [];
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return [invalidValue(field, '<secret contents redacted>', error.message)];
  }
}

/** Of the secrets of an account only the names count: they are of its own namespace. */
function keepNames(account: JsonObject): void {
  if (!Array.isArray(account.secrets)) return;
  account.secrets = listAt(account, 'secrets').map(({ name }) => (name === undefined ? {} : { name }));
}

const MOUNTABLE = 'kubernetes.io/enforce-mountable-secrets';

export const serviceAccountStrategy: Strategy = {
  returnsDeleted: true,
  prepareForCreate: keepNames,
  prepareForUpdate: keepNames,
  warnings: (account, old) => {
    const asks = (object: JsonObject | undefined): boolean =>
      Object.hasOwn(objectAt(objectAt(object, 'metadata'), 'annotations'), MOUNTABLE);
    const why = 'deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets';
    return asks(account) && !asks(old) ? [`metadata.annotations[${MOUNTABLE}]: ${why}`] : [];
  },
  cells: (account, now) => [nameCell(account), ageCell(account, now)],
};
