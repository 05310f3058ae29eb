// Whether an applied configuration fits its schema. It is read as it was sent, undecoded: that is what the fields are
// taken from.
import type { Json, JsonObject } from '../object.ts';
import type { SchemaNode } from '../schema.ts';
import { itemElementOrWhy, writtenElement } from './path-element.ts';
import { asMap, associative, childNode, isNamed, shapeOf } from './shape.ts';

const MOST_ERRORS = 100;

/** What is wrong, one line a fault (`.spec.replicas: expected numeric (int or float), got string`); empty when all is well. */
export function checkConfig(node: SchemaNode, config: JsonObject): string[] {
  const errors: string[] = [];
  visit(node, config, '', errors);
  return errors;
}

/** Several faults under one heading, as Kubernetes lists them. */
export function writtenErrors(errors: readonly string[]): string {
  return errors.length === 1
    ? (errors[0] as string)
    : ['errors:', ...errors.map((text) => `  ${text}`)].join('\n');
}

function visit(node: SchemaNode, value: Json | undefined, path: string, errors: string[]): void {
  if (value === null || value === undefined || errors.length >= MOST_ERRORS) return;
  switch (shapeOf(node, value)) {
    case 'scalar': {
      const why = scalarFault(node, value);
      if (why !== undefined) errors.push(`${path}: ${why}`);
      return;
    }
    case 'map': {
      const map = asMap(value);
      if (map) visitMap(node, map, path, errors);
      else errors.push(`${path}: expected map, got &{${goValue(value)}}`);
      return;
    }
    case 'list':
      if (Array.isArray(value)) visitList(node, value, path, errors);
      else errors.push(`${path}: expected list, got &{${goValue(value)}}`);
  }
}

function visitMap(node: SchemaNode, map: JsonObject, path: string, errors: string[]): void {
  for (const name of Object.keys(map)) {
    if (node.kind === 'struct' && !node.open && !isNamed(node, name)) {
      errors.push(`${path}.${name}: field not declared in schema`);
      return;
    }
    visit(childNode(node, name), map[name], `${path}.${name}`, errors);
  }
}

function visitList(node: SchemaNode, items: readonly Json[], path: string, errors: string[]): void {
  const list = associative(node);
  const itemNode: SchemaNode = node.kind === 'list' ? node.items : { kind: 'any' };
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    let at = `[${index}]`;
    if (list) {
      const element = itemElementOrWhy(list, item);
      if (typeof element !== 'string') {
        errors.push(`${path}: element ${index}: ${element.why}`);
        return;
      }
      at = writtenElement(element);
      if (seen.has(element)) errors.push(`${path}: duplicate entries for key ${at}`);
      seen.add(element);
    }
    visit(itemNode, item, `${path}${at}`, errors);
  }
}

function scalarFault(node: SchemaNode, value: Json): string | undefined {
  const isObject = typeof value === 'object';
  switch (node.kind) {
    case 'string':
      return typeof value === 'string'
        ? undefined
        : `expected string, got &value.valueUnstructured{Value:${goValue(value)}}`;
    case 'integer':
    case 'number':
      return typeof value === 'number' ? undefined : `expected numeric (int or float), got ${goType(value)}`;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `expected boolean, got &{${goValue(value)}}`;
    default:
      return isObject ? `expected any scalar, got &{${goValue(value)}}` : undefined;
  }
}

function goType(value: Json): string {
  if (Array.isArray(value)) return '[]interface {}';
  if (typeof value === 'object') return 'map[string]interface {}';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function goValue(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(goValue).join(' ')}]`;
  if (typeof value !== 'object' || value === null) return value === null ? '<nil>' : String(value);
  const keys = Object.keys(value).sort();
  return `map[${keys.map((key) => `${key}:${goValue(value[key] ?? null)}`).join(' ')}]`;
}
