// The JSONPath of printer columns and of scale: fields, indexes, slices, wildcards and filters, as kubectl's.
import type { Json } from '../../../api/object.ts';

export class JsonPathError extends Error {}

type Step = (value: Json) => Json[];

const MOST_RESULTS = 1000;

/** Compiles `.spec.a['b'][0][?(@.type=="Ready")].status`. Throws JsonPathError. */
export function compileJsonPath(path: string): (root: Json) => Json[] {
  const steps = new PathParser(path).parse();
  return (root) => {
    let values: Json[] = [root];
    for (const step of steps) values = values.flatMap(step).slice(0, MOST_RESULTS);
    return values;
  };
}

/** `.spec.replicas` as names; JSON paths of scale and of selectable fields know nothing else. */
export function simplePath(path: string): string[] {
  return path.replace(/^\./, '').split('.');
}

/** The value at a simple path; undefined where there is none. */
export function valueAt(root: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = root;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) {
      return undefined;
    }
    value = value[name];
  }
  return value;
}

class PathParser {
  private readonly text: string;
  private position = 0;

  constructor(path: string) {
    const inner = /^\{(.*)\}$/s.exec(path)?.[1] ?? path;
    this.text = inner.startsWith('$') || inner.startsWith('@') ? inner.slice(1) : inner;
    if (this.text.length > 4096) throw new JsonPathError('the path is too long');
  }

  parse(): Step[] {
    const steps: Step[] = [];
    if (this.text !== '' && !/^[.[]/.test(this.text)) throw new JsonPathError(`unexpected '${this.text[0]}'`);
    while (this.position < this.text.length) {
      const mark = this.text[this.position];
      if (mark === '.') steps.push(this.field());
      else if (mark === '[') steps.push(this.bracket());
      else throw new JsonPathError(`unexpected '${mark}'`);
    }
    return steps;
  }

  private field(): Step {
    this.position += 1;
    if (this.text[this.position] === '.') throw new JsonPathError('recursive descent is not supported');
    if (this.text[this.position] === '[') return this.bracket();
    let name = '';
    while (this.position < this.text.length && !/[.[]/.test(this.text[this.position] as string)) {
      if (this.text[this.position] === '\\') this.position += 1;
      name += this.text[this.position] ?? '';
      this.position += 1;
    }
    if (name === '*') return everyItem;
    return name === '' ? (value) => [value] : fieldOf(name);
  }

  private bracket(): Step {
    const end = closingBracket(this.text, this.position);
    const inner = this.text.slice(this.position + 1, end).trim();
    this.position = end + 1;
    if (inner === '*') return everyItem;
    const filter = /^\?\((.*)\)$/s.exec(inner);
    if (filter) return filterOf(filter[1] ?? '');
    const quoted = /^(['"])(.*)\1$/s.exec(inner);
    if (quoted) return fieldOf((quoted[2] ?? '').replaceAll(/\\(.)/g, '$1'));
    if (/^-?\d+$/.test(inner)) return itemAt(Number(inner));
    const slice = /^(-?\d+)?:(-?\d+)?$/.exec(inner);
    if (slice) return sliceOf(slice[1], slice[2]);
    throw new JsonPathError(`invalid array index ${inner}`);
  }
}

function closingBracket(text: string, from: number): number {
  let depth = 0;
  let quote = '';
  for (let index = from; index < text.length; index += 1) {
    const mark = text[index] as string;
    if (quote !== '') {
      if (mark === '\\') index += 1;
      else if (mark === quote) quote = '';
    } else if (mark === '"' || mark === "'") quote = mark;
    else if (mark === '[') depth += 1;
    else if (mark === ']') {
      depth -= 1;
      if (depth === 0) return index;
    }
  }
  throw new JsonPathError('unterminated array');
}

const everyItem: Step = (value) => {
  if (Array.isArray(value)) return value;
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).filter((item) => item !== undefined);
};

function fieldOf(name: string): Step {
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
    const found = Object.hasOwn(value, name) ? value[name] : undefined;
    return found === undefined ? [] : [found];
  };
}

function itemAt(index: number): Step {
  return (value) => {
    const found = Array.isArray(value) ? value.at(index) : undefined;
    return found === undefined ? [] : [found];
  };
}

function sliceOf(from: string | undefined, to: string | undefined): Step {
  return (value) =>
    Array.isArray(value)
      ? value.slice(from === undefined ? 0 : Number(from), to === undefined ? undefined : Number(to))
      : [];
}

/** `@.type=="Ready"`, `@.ready`. */
function filterOf(text: string): Step {
  const comparison = /^\s*(@[^=<>!]*?)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*$/s.exec(text);
  if (!comparison) {
    const present = compileJsonPath(text.trim());
    return (value) => (Array.isArray(value) ? value.filter((item) => present(item).length > 0) : []);
  }
  const [, path = '', operator = '', literal = ''] = comparison;
  const left = compileJsonPath(path);
  const right = literal.startsWith('@') ? compileJsonPath(literal) : constant(literal);
  return (value) => {
    if (!Array.isArray(value)) return [];
    return value.filter((item) => {
      const [a] = left(item);
      const [b] = right(item);
      return a !== undefined && b !== undefined && compare(a, operator, b);
    });
  };
}

function constant(literal: string): (value: Json) => Json[] {
  const quoted = /^(['"])(.*)\1$/s.exec(literal);
  if (quoted) return () => [(quoted[2] ?? '').replaceAll(/\\(.)/g, '$1')];
  if (literal === 'true' || literal === 'false') return () => [literal === 'true'];
  if (/^-?\d+(?:\.\d+)?$/.test(literal)) return () => [Number(literal)];
  throw new JsonPathError(`unrecognized value ${literal}`);
}

function compare(left: Json, operator: string, right: Json): boolean {
  if (operator === '==') return left === right;
  if (operator === '!=') return left !== right;
  if (typeof left !== typeof right || typeof left === 'object') return false;
  const a = left as number;
  const b = right as number;
  if (operator === '<') return a < b;
  if (operator === '>') return a > b;
  return operator === '<=' ? a <= b : a >= b;
}
