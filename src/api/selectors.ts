// Label selectors: the string of queries (`app=web,tier in (a,b),!x`) and the object of specs, both turned once into a
// matcher that is then asked for every object.
import { labelValue, qualifiedName } from './names.ts';
import type { LabelSelector } from './types/meta-v1.ts';

export type Labels = Readonly<Record<string, string>> | undefined;
export type LabelMatcher = (labels: Labels) => boolean;

export type RequirementOperator = '=' | '==' | '!=' | 'in' | 'notin' | 'exists' | '!' | '>' | '<';

export interface Requirement {
  key: string;
  operator: RequirementOperator;
  values: readonly string[];
}

/** A selector that cannot be understood; the message is Kubernetes'. */
export class SelectorError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SelectorError';
  }
}

export const matchEverything: LabelMatcher = () => true;
export const matchNothing: LabelMatcher = () => false;

/** The matcher of a query's `labelSelector`; an empty text selects everything. Throws SelectorError. */
export function parseLabelSelector(text: string): LabelMatcher {
  return matcherOf(parseRequirements(text));
}

export function parseRequirements(text: string): Requirement[] {
  return new Parser(text).parse();
}

export function matcherOf(requirements: readonly Requirement[]): LabelMatcher {
  if (requirements.length === 0) return matchEverything;
  const tests = requirements.map(testOf);
  if (tests.length === 1) return tests[0] as LabelMatcher;
  return (labels) => tests.every((test) => test(labels));
}

function labelOf(labels: Labels, key: string): string | undefined {
  return labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function testOf({ key, operator, values }: Requirement): LabelMatcher {
  switch (operator) {
    case '=':
    case '==': {
      const [wanted] = values;
      return (labels) => labelOf(labels, key) === wanted;
    }
    case 'in': {
      const wanted = new Set(values);
      return (labels) => {
        const value = labelOf(labels, key);
        return value !== undefined && wanted.has(value);
      };
    }
    case '!=':
    case 'notin': {
      const unwanted = new Set(values);
      return (labels) => {
        const value = labelOf(labels, key);
        return value === undefined || !unwanted.has(value);
      };
    }
    case 'exists':
      return (labels) => labelOf(labels, key) !== undefined;
    case '!':
      return (labels) => labelOf(labels, key) === undefined;
    case '>':
    case '<': {
      const bound = BigInt(values[0] ?? '0');
      return (labels) => {
        const value = labelOf(labels, key);
        if (value === undefined || !/^[+-]?\d{1,19}$/.test(value)) return false;
        return operator === '>' ? BigInt(value) > bound : BigInt(value) < bound;
      };
    }
  }
}

/**
 * The matcher of a LabelSelector object. An empty selector matches everything, an absent one nothing, as
 * LabelSelectorAsSelector has it.
 */
export function selectorMatcher(selector: LabelSelector | undefined): LabelMatcher {
  return selector === undefined ? matchNothing : matcherOf(selectorRequirements(selector));
}

/** The matcher of a plain map (Service, ReplicationController); an absent or empty map matches nothing. */
export function mapMatcher(map: Labels): LabelMatcher {
  if (map === undefined || Object.keys(map).length === 0) return matchNothing;
  return matcherOf(Object.entries(map).map(([key, value]) => ({ key, operator: '=', values: [value] })));
}

const OBJECT_OPERATORS: Readonly<Record<string, RequirementOperator>> = {
  In: 'in',
  NotIn: 'notin',
  Exists: 'exists',
  DoesNotExist: '!',
};

export function selectorRequirements(selector: LabelSelector): Requirement[] {
  const requirements: Requirement[] = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: '=',
    values: [value],
  }));
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const known = OBJECT_OPERATORS[operator];
    if (known === undefined) throw new SelectorError(`"${operator}" is not a valid label selector operator`);
    requirements.push({ key, operator: known, values: values ?? [] });
  }
  return requirements;
}

/** The text form, sorted by key: what Scale.status.selector holds. */
export function formatSelector(requirements: readonly Requirement[]): string {
  return [...requirements]
    .sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0))
    .map(formatRequirement)
    .join(',');
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'exists':
      return key;
    case '!':
      return `!${key}`;
    case 'in':
    case 'notin':
      return `${key} ${operator} (${[...values].sort().join(',')})`;
    default:
      return `${key}${operator}${values[0] ?? ''}`;
  }
}

type Token = { kind: 'end' | 'symbol' | 'identifier'; text: string };

const SYMBOLS = ['==', '!=', '=', '!', '>', '<', '(', ')', ','];
const BINARY_OPERATORS = ['in', 'notin', '=', '==', '!=', '>', '<'];

class Parser {
  private readonly tokens: Token[];
  private position = 0;

  constructor(text: string) {
    this.tokens = tokenize(text);
  }

  parse(): Requirement[] {
    const requirements: Requirement[] = [];
    for (;;) {
      const token = this.peek();
      if (token.kind === 'end') return requirements;
      if (!startsRequirement(token)) {
        throw new SelectorError(`found '${token.text}', expected: !, identifier, or 'end of string'`);
      }
      requirements.push(this.requirement());
      const after = this.take();
      if (after.kind === 'end') return requirements;
      if (after.text !== ',' || after.kind !== 'symbol') {
        throw new SelectorError(`found '${after.text}', expected: ',' or 'end of string'`);
      }
      const next = this.peek();
      if (!startsRequirement(next)) {
        throw new SelectorError(`found '${next.text}', expected: identifier after ','`);
      }
    }
  }

  private requirement(): Requirement {
    let token = this.take();
    const absent = token.kind === 'symbol' && token.text === '!';
    if (absent) token = this.take();
    if (token.kind !== 'identifier') unparsable(`found '${token.text}', expected: identifier`);
    const key = token.text;
    for (const rule of qualifiedName(key).slice(0, 1)) {
      unparsable(`key: Invalid value: ${JSON.stringify(key)}: ${rule}`);
    }
    if (absent) return { key, operator: '!', values: [] };
    const next = this.peek();
    if (next.kind === 'end' || (next.kind === 'symbol' && next.text === ',')) {
      return { key, operator: 'exists', values: [] };
    }
    const operator = this.take();
    if (!BINARY_OPERATORS.includes(operator.text)) {
      unparsable(`found '${operator.text}', expected: ${BINARY_OPERATORS.join(', ')}`);
    }
    const set = operator.text === 'in' || operator.text === 'notin';
    const values = set ? this.values() : [this.exactValue()];
    checkValues(key, operator.text, values);
    return { key, operator: operator.text as RequirementOperator, values };
  }

  private values(): string[] {
    const open = this.take();
    if (open.text !== '(') unparsable(`found '${open.text}' expected: '('`);
    const values: string[] = [];
    for (;;) {
      const token = this.take();
      if (token.kind === 'end') unparsable(`found '${token.text}', expected: ',', ')' or identifier`);
      if (token.kind === 'symbol' && token.text === ')') {
        values.push('');
        return [...new Set(values)].sort();
      }
      if (token.kind === 'symbol' && token.text === ',') {
        values.push('');
        continue;
      }
      if (token.kind === 'symbol') unparsable(`found '${token.text}', expected: ',', ')' or identifier`);
      values.push(token.text);
      const after = this.take();
      if (after.text === ')') return [...new Set(values)].sort();
      if (after.text !== ',') unparsable(`found '${after.text}', expected: ',' or ')'`);
    }
  }

  private exactValue(): string {
    const token = this.peek();
    if (token.kind === 'end' || (token.kind === 'symbol' && token.text === ',')) return '';
    this.take();
    if (token.kind !== 'identifier') unparsable(`found '${token.text}', expected: identifier`);
    return token.text;
  }

  private peek(): Token {
    return this.tokens[this.position] ?? { kind: 'end', text: '' };
  }

  private take(): Token {
    const token = this.peek();
    this.position += 1;
    return token;
  }
}

function startsRequirement(token: Token): boolean {
  return token.kind === 'identifier' || (token.kind === 'symbol' && token.text === '!');
}

function unparsable(why: string): never {
  throw new SelectorError(`unable to parse requirement: ${why}`);
}

function checkValues(key: string, operator: string, values: readonly string[]): void {
  values.forEach((value, index) => {
    if ((operator === '>' || operator === '<') && !/^[+-]?\d{1,18}$/.test(value)) {
      unparsable(
        `values[${index}]: Invalid value: ${JSON.stringify(value)}: for 'Gt', 'Lt' operators, the value must be an integer`,
      );
    }
    for (const rule of labelValue(value).slice(0, 1)) {
      unparsable(`values[${index}][${key}]: Invalid value: ${JSON.stringify(value)}: ${rule}`);
    }
  });
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let position = 0;
  while (position < text.length) {
    const rest = text.slice(position, position + 2);
    if (/\s/.test(rest[0] ?? '')) {
      position += 1;
      continue;
    }
    const symbol = SYMBOLS.find((mark) => rest.startsWith(mark));
    if (symbol !== undefined) {
      tokens.push({ kind: 'symbol', text: symbol });
      position += symbol.length;
      continue;
    }
    let end = position + 1;
    while (end < text.length && !/[\s=!<>(),]/.test(text[end] ?? '')) end += 1;
    tokens.push({ kind: 'identifier', text: text.slice(position, end) });
    position = end;
  }
  return tokens;
}
