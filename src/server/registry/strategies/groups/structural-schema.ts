// The schemas of custom resources: structural, as apiextensions.k8s.io/v1 demands.
import type { FieldError } from '../../../../api/errors.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../../api/validation.ts';
import { validateExpression } from './expressions.ts';

const TYPES = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
const NOT_SUPPORTED = ['definitions', 'dependencies', 'id', '$ref', 'patternProperties', 'additionalItems'];
/** Parts that only constrain values: they may not say what a value is. */
const LOGICAL = ['allOf', 'anyOf', 'oneOf'];
const STRUCTURE = ['type', 'title', 'description', 'default', 'nullable', 'additionalProperties'];
/** A schema nested deeper would exhaust the stack before it described anything. */
const DEEPEST = 100;

type Place = 'root' | 'item' | 'property' | 'value' | 'logical';
const EMPTY_TYPE: Readonly<Record<'root' | 'item' | 'property' | 'value', string>> = {
  root: 'must not be empty at the root',
  item: 'must not be empty for specified array items',
  property: 'must not be empty for specified object fields',
  value: 'must not be empty for specified object fields',
};

export function validateSchema(
  schema: JsonObject,
  path: string,
  place: Place = 'root',
  depth = 0,
): FieldError[] {
  if (depth > DEEPEST) return [forbiddenField(path, `schemas may not be nested deeper than ${DEEPEST}`)];
  const errors: FieldError[] = [];
  for (const field of NOT_SUPPORTED) {
    if (schema[field] !== undefined)
      errors.push(forbiddenField(`${path}.${field}`, `${field} is not supported`));
  }
  errors.push(
    ...(place === 'logical' ? validateLogical(schema, path) : validateType(schema, path, place)),
    ...validateForm(schema, path),
    ...validateLists(schema, path),
  );
  listAt(schema, 'x-kubernetes-validations').forEach((rule, index) => {
    const at = `${path}.x-kubernetes-validations[${index}]`;
    errors.push(...validateExpression(stringAt(rule, 'rule'), `${at}.rule`, 'rule is not specified'));
    if (/[\r\n]/.test(stringAt(rule, 'message').trim())) {
      errors.push(invalidValue(`${at}.message`, rule.message, 'message must not contain line breaks'));
    }
  });
  const inner = place === 'logical' ? 'logical' : undefined;
  const below = (child: JsonObject | undefined, at: string, where: Place): void => {
    if (child) errors.push(...validateSchema(child, at, inner ?? where, depth + 1));
  };
  below(asObject(schema.additionalProperties), `${path}.additionalProperties`, 'value');
  below(asObject(schema.items), `${path}.items`, 'item');
  const properties = objectAt(schema, 'properties');
  for (const name of Object.keys(properties).sort()) {
    const at = `${path}.properties[${name}]`;
    const property = asObject(properties[name]);
    // Kubernetes describes metadata itself.
    if (place === 'root' && name === 'metadata') errors.push(...validateMetadata(property, at));
    else below(property, at, 'property');
  }
  below(asObject(schema.not), `${path}.not`, 'logical');
  for (const list of LOGICAL) {
    // An int-or-string may repeat what it is: generators write it so.
    if (repeatsIntOrString(schema, list)) continue;
    listAt(schema, list).forEach((part, index) => {
      if (
        list === 'allOf' &&
        repeatsIntOrString({ ...part, [INT_OR_STRING]: schema[INT_OR_STRING] ?? null }, 'anyOf')
      ) {
        const { anyOf: _types, ...rest } = part;
        below(rest, `${path}.${list}[${index}]`, 'logical');
      } else below(part, `${path}.${list}[${index}]`, 'logical');
    });
  }
  return errors;
}

const INT_OR_STRING = 'x-kubernetes-int-or-string';

/** `anyOf: [{type: integer}, {type: string}]` beside x-kubernetes-int-or-string. */
function repeatsIntOrString(schema: JsonObject, list: string): boolean {
  if (list !== 'anyOf' || schema[INT_OR_STRING] !== true) return false;
  const parts = listAt(schema, 'anyOf');
  return (
    parts.length === 2 &&
    parts.every((part, index) => part.type === ['integer', 'string'][index] && Object.keys(part).length === 1)
  );
}

function validateType(schema: JsonObject, path: string, place: Exclude<Place, 'logical'>): FieldError[] {
  const type = stringAt(schema, 'type');
  const field = `${path}.type`;
  const intOrString = schema['x-kubernetes-int-or-string'] === true;
  const preserves = schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (type === 'null') {
    return [forbiddenField(field, 'type cannot be set to null, use nullable as an alternative')];
  }
  if (type === '') {
    if (intOrString || (preserves && place !== 'root')) return [];
    return [required(field, EMPTY_TYPE[place])];
  }
  if (!TYPES.includes(type)) return [notSupported(field, type, TYPES)];
  if (place === 'root' && type !== 'object') return [invalidValue(field, type, 'must be object at the root')];
  if (intOrString) {
    return [invalidValue(field, type, 'must be empty if x-kubernetes-int-or-string is true')];
  }
  const embedded = schema['x-kubernetes-embedded-resource'] === true;
  if (embedded && type !== 'object') {
    return [invalidValue(field, type, 'must be object if x-kubernetes-embedded-resource is true')];
  }
  if (preserves && type !== 'object') {
    return [invalidValue(field, type, 'must be object if x-kubernetes-preserve-unknown-fields is true')];
  }
  if (embedded && !preserves && Object.keys(objectAt(schema, 'properties')).length === 0) {
    const why =
      'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields';
    return [required(`${path}.properties`, why)];
  }
  return [];
}

function validateLogical(schema: JsonObject, path: string): FieldError[] {
  return [...STRUCTURE, ...Object.keys(schema).filter((key) => key.startsWith('x-kubernetes-'))]
    .filter((field) => schema[field] !== undefined && field !== 'x-kubernetes-validations')
    .map((field) => forbiddenField(`${path}.${field}`, 'must be empty to be structural'));
}

function validateForm(schema: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (schema.uniqueItems === true) {
    errors.push(
      forbiddenField(
        `${path}.uniqueItems`,
        'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
      ),
    );
  }
  if (schema.additionalProperties === false) {
    errors.push(
      forbiddenField(`${path}.additionalProperties`, 'additionalProperties cannot be set to false'),
    );
  }
  const hasProperties = Object.keys(objectAt(schema, 'properties')).length > 0;
  if (hasProperties && asObject(schema.additionalProperties)) {
    errors.push(
      forbiddenField(
        `${path}.additionalProperties`,
        'additionalProperties and properties are mutual exclusive',
      ),
    );
  }
  if (Array.isArray(schema.items)) {
    errors.push(forbiddenField(`${path}.items`, 'items must be a schema object and not an array'));
  }
  if (schema.type === 'array' && schema.items === undefined) {
    errors.push(required(`${path}.items`, 'must be specified'));
  }
  if (schema['x-kubernetes-preserve-unknown-fields'] === false) {
    errors.push(
      invalidValue(`${path}.x-kubernetes-preserve-unknown-fields`, false, 'must be true or undefined'),
    );
  }
  const pattern = stringAt(schema, 'pattern');
  const why = patternProblem(pattern);
  if (why !== undefined) errors.push(invalidValue(`${path}.pattern`, pattern, why));
  return errors;
}

function patternProblem(pattern: string): string | undefined {
  if (pattern === '') return undefined;
  try {
    // Go's leading flags are not JavaScript's syntax.
    new RegExp(pattern.replace(/^\(\?[imsU]+\)/, ''));
    return undefined;
  } catch (error) {
    return `must be a valid regular expression, but isn't: ${(error as Error).message}`;
  }
}

function validateLists(schema: JsonObject, path: string): FieldError[] {
  const listType = schema['x-kubernetes-list-type'];
  const field = `${path}.x-kubernetes-list-type`;
  const keys = stringsAt(schema, 'x-kubernetes-list-map-keys');
  const keysField = `${path}.x-kubernetes-list-map-keys`;
  const errors = checkChoice(field, listType, ['atomic', 'set', 'map']);
  if (listType !== undefined && schema.type !== 'array') {
    errors.push(
      invalidValue(`${path}.type`, schema.type ?? '', 'must be array if x-kubernetes-list-type is specified'),
    );
  }
  if (listType === 'map') {
    if (keys.length === 0) {
      errors.push(required(keysField, 'must not be empty if x-kubernetes-list-type is map'));
    }
    errors.push(...validateMapKeys(objectAt(schema, 'items'), keys, path));
  } else if (keys.length > 0) {
    errors.push(required(field, 'must be map if x-kubernetes-list-map-keys is non-empty'));
  }
  const mapType = schema['x-kubernetes-map-type'];
  errors.push(...checkChoice(`${path}.x-kubernetes-map-type`, mapType, ['atomic', 'granular']));
  if (mapType !== undefined && schema.type !== 'object') {
    errors.push(
      invalidValue(`${path}.type`, schema.type ?? '', 'must be object if x-kubernetes-map-type is specified'),
    );
  }
  return errors;
}

function validateMapKeys(items: JsonObject, keys: string[], path: string): FieldError[] {
  const properties = objectAt(items, 'properties');
  const needed = stringsAt(items, 'required');
  return keys.flatMap((key, index) => {
    const property = Object.hasOwn(properties, key) ? asObject(properties[key]) : undefined;
    if (!property) {
      return [
        invalidValue(
          `${path}.x-kubernetes-list-map-keys[${index}]`,
          key,
          'entries must all be names of item properties',
        ),
      ];
    }
    if (needed.includes(key) || property.default !== undefined) return [];
    return [
      required(
        `${path}.items.properties[${key}].default`,
        'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
      ),
    ];
  });
}

function validateMetadata(metadata: JsonObject | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const type = stringAt(metadata, 'type');
  if (type !== '' && type !== 'object') errors.push(invalidValue(`${path}.type`, type, 'must be object'));
  const allowed = ['name', 'generateName'];
  if (Object.keys(objectAt(metadata, 'properties')).some((name) => !allowed.includes(name))) {
    errors.push(
      forbiddenField(
        path,
        'must not specify anything other than name and generateName, but metadata is implicitly specified',
      ),
    );
  }
  return errors;
}
