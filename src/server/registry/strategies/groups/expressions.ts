// The syntax of CEL expressions, checked when an object that holds one is written. Names and types are not checked.
import type { FieldError } from '../../../../api/errors.ts';
import { invalidValue, required } from '../../../../api/validation.ts';

/** Deeper nesting than this is refused, as cel-go's parser does; our parser recurses. */
const DEEPEST = 250;
const LONGEST = 128 * 1024;

/** One error for an empty or malformed expression, worded as cel-go does. */
export function validateExpression(expression: string, field: string, whenEmpty = ''): FieldError[] {
  if (expression.trim() === '') return [required(field, whenEmpty)];
  const problem = syntaxProblem(expression);
  return problem === undefined
    ? []
    : [invalidValue(field, expression, `compilation failed: ${report(expression, problem)}`)];
}

interface Problem {
  offset: number;
  text: string;
}

function report(source: string, { offset, text }: Problem): string {
  const before = source.slice(0, offset).split('\n');
  const column = before.at(-1)?.length ?? 0;
  const line = source.split('\n')[before.length - 1] ?? '';
  return `ERROR: <input>:${before.length}:${column + 1}: Syntax error: ${text}\n | ${line}\n | ${'.'.repeat(column)}^`;
}

/** Undefined for a well-formed expression. */
export function syntaxProblem(expression: string): Problem | undefined {
  if (expression.length > LONGEST) return { offset: 0, text: 'expression is too long' };
  try {
    new Parser(tokenize(expression)).parse();
    return undefined;
  } catch (error) {
    if (error instanceof SyntaxProblem) return { offset: error.offset, text: error.message };
    throw error;
  }
}

class SyntaxProblem extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

interface Token {
  kind: 'end' | 'name' | 'literal' | 'symbol';
  text: string;
  offset: number;
}

const SPACE = /(?:\s|\/\/[^\n]*)+/y;
const TOKENS: readonly [Token['kind'], RegExp][] = [
  [
    'literal',
    /(?:[rR][bB]?|[bB][rR]?)?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')/y,
  ],
  ['literal', /(?:0x[0-9a-fA-F]+u?|(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)/y],
  ['name', /[_a-zA-Z][_a-zA-Z0-9]*|`[-_./ a-zA-Z0-9]+`/y],
  ['symbol', /==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()[\]{}]/y],
];

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  while (offset < source.length) {
    SPACE.lastIndex = offset;
    const space = SPACE.exec(source);
    if (space) {
      offset += space[0].length;
      continue;
    }
    const token = tokenAt(source, offset);
    if (!token) {
      throw new SyntaxProblem(offset, `token recognition error at: '${source[offset]}'`);
    }
    tokens.push(token);
    offset += token.text.length;
  }
  tokens.push({ kind: 'end', text: '<EOF>', offset: source.length });
  return tokens;
}

function tokenAt(source: string, offset: number): Token | undefined {
  for (const [kind, form] of TOKENS) {
    form.lastIndex = offset;
    const found = form.exec(source);
    if (found) return { kind, text: found[0], offset };
  }
  return undefined;
}

/** Binary operators, loosest first; the ternary is looser than all. */
const LEVELS = [['||'], ['&&'], ['<', '<=', '>=', '>', '==', '!=', 'in'], ['+', '-'], ['*', '/', '%']];

class Parser {
  private readonly tokens: Token[];
  private position = 0;
  private depth = 0;

  constructor(tokens: Token[]) {
    this.tokens = tokens;
  }

  parse(): void {
    this.expression();
    if (this.peek().kind !== 'end') this.fail();
  }

  private expression(): void {
    this.depth += 1;
    if (this.depth > DEEPEST) {
      throw new SyntaxProblem(this.peek().offset, `expression recursion limit exceeded: ${DEEPEST}`);
    }
    this.binary(0);
    if (this.take('?')) {
      this.binary(0);
      this.expect(':');
      this.expression();
    }
    this.depth -= 1;
  }

  private binary(level: number): void {
    const operators = LEVELS[level];
    if (!operators) {
      this.unary();
      return;
    }
    this.binary(level + 1);
    while (operators.includes(this.peek().text) && this.peek().kind !== 'literal') {
      this.position += 1;
      this.binary(level + 1);
    }
  }

  private unary(): void {
    const sign = this.peek().text;
    if (sign === '!' || sign === '-') while (this.take(sign));
    this.primary();
    while (this.suffix());
  }

  private suffix(): boolean {
    if (this.take('.')) {
      this.take('?');
      if (this.peek().kind !== 'name') this.fail();
      this.position += 1;
      if (this.take('(')) this.list(')');
      return true;
    }
    if (this.take('[')) {
      this.take('?');
      this.expression();
      this.expect(']');
      return true;
    }
    if (this.take('{')) {
      this.entries();
      return true;
    }
    return false;
  }

  private primary(): void {
    const token = this.peek();
    if (token.kind === 'literal') {
      this.position += 1;
    } else if (this.take('(')) {
      this.expression();
      this.expect(')');
    } else if (this.take('[')) {
      this.list(']');
    } else if (this.take('{')) {
      this.entries();
    } else {
      this.take('.');
      if (this.peek().kind !== 'name' || this.peek().text === 'in') this.fail();
      this.position += 1;
      if (this.take('(')) this.list(')');
    }
  }

  /** Elements up to the closing mark; a comma may follow the last one of a list, not of arguments. */
  private list(close: string): void {
    if (this.take(close)) return;
    for (;;) {
      if (close === ']') this.take('?');
      this.expression();
      if (this.take(close)) return;
      this.expect(',');
      if (close === ']' && this.take(close)) return;
    }
  }

  /** Of a map or a message: `key: value`. */
  private entries(): void {
    if (this.take('}')) return;
    for (;;) {
      this.take('?');
      this.expression();
      this.expect(':');
      this.expression();
      if (this.take('}')) return;
      this.expect(',');
      if (this.take('}')) return;
    }
  }

  private peek(): Token {
    return this.tokens[this.position] as Token;
  }

  private take(text: string): boolean {
    const token = this.peek();
    if (token.kind !== 'symbol' || token.text !== text) return false;
    this.position += 1;
    return true;
  }

  private expect(text: string): void {
    if (!this.take(text)) {
      const token = this.peek();
      throw new SyntaxProblem(token.offset, `mismatched input '${token.text}' expecting '${text}'`);
    }
  }

  private fail(): never {
    const token = this.peek();
    const previous = this.tokens[this.position - 1];
    if (token.kind === 'end' && previous) {
      throw new SyntaxProblem(token.offset, `no viable alternative at input '${previous.text}'`);
    }
    throw new SyntaxProblem(token.offset, `extraneous input '${token.text}'`);
  }
}
