/**
 * JSON as a stranger sent it. Native JSON.parse does the work; a scan beside it finds what JSON.parse hides: fields that
 * occur twice (fieldValidation reports them), nesting that would overflow a stack later, and the key `__proto__`, which
 * would change an object's prototype when copied by assignment. The scan's errors are worded as Go's encoding/json words
 * them, because API clients print and match them.
 */
export class JsonSyntaxError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JsonSyntaxError';
  }
}

/** Kubernetes refuses beyond 10000; our recursion (clone, merge, compare) is safe to here, and no real object comes near. */
const DEEPEST_SAFE = 500;

export interface ParsedJson {
  value: unknown;
  /** Paths of fields that occurred more than once: `data.a`, `spec.containers[0].image`. */
  duplicates: string[];
}

export function parseJson(text: string): ParsedJson {
  const duplicates = new Scanner(text).scan();
  return { value: JSON.parse(text), duplicates };
}

interface Frame {
  /** Keys seen; undefined for an array. */
  keys: Set<string> | undefined;
  /** The present key, or index. */
  at: string | number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

class Scanner {
  private readonly text: string;
  private position = 0;
  private readonly frames: Frame[] = [];
  private readonly duplicates: string[] = [];

  constructor(text: string) {
    this.text = text;
  }

  scan(): string[] {
    this.value('looking for beginning of value');
    while (this.frames.length > 0) this.step();
    this.space();
    if (this.position < this.text.length) this.fail('after top-level value');
    return this.duplicates;
  }

  /** Goes on inside the innermost open array or object, right after one of its values. */
  private step(): void {
    const frame = this.frames[this.frames.length - 1] as Frame;
    this.space();
    const character = this.text[this.position];
    if (frame.keys === undefined) {
      if (character === ']') return this.close();
      if (character !== ',') this.fail('after array element');
      this.position += 1;
      frame.at = (frame.at as number) + 1;
      return this.value('looking for beginning of value');
    }
    if (character === '}') return this.close();
    if (character !== ',') this.fail('after object key:value pair');
    this.position += 1;
    this.space();
    this.key(frame, frame.keys);
  }

  private close(): void {
    this.position += 1;
    this.frames.pop();
  }

  private value(expecting: string): void {
    this.space();
    const character = this.text[this.position];
    switch (character) {
      case '{':
        return this.openObject();
      case '[':
        return this.openArray();
      case '"':
        this.string();
        return;
      case 't':
        return this.literal('true');
      case 'f':
        return this.literal('false');
      case 'n':
        return this.literal('null');
      default:
        if (character !== undefined && (character === '-' || isDigit(character))) return this.number();
        this.fail(expecting);
    }
  }

  private push(frame: Frame): void {
    if (this.frames.length >= DEEPEST_SAFE) throw new JsonSyntaxError('exceeded max depth');
    this.frames.push(frame);
    this.position += 1;
    this.space();
  }

  private openObject(): void {
    const keys = new Set<string>();
    const frame: Frame = { keys, at: '' };
    this.push(frame);
    if (this.text[this.position] === '}') return this.close();
    this.key(frame, keys);
  }

  private openArray(): void {
    this.push({ keys: undefined, at: 0 });
    if (this.text[this.position] === ']') return this.close();
    this.value('looking for beginning of value');
  }

  private key(frame: Frame, keys: Set<string>): void {
    if (this.text[this.position] !== '"') this.fail('looking for beginning of object key string');
    const start = this.position;
    const escaped = this.string();
    const raw = this.text.slice(start, this.position);
    const key = escaped ? (JSON.parse(raw) as string) : raw.slice(1, -1);
    if (key === '__proto__') throw new JsonSyntaxError('the field name "__proto__" is not allowed');
    frame.at = key;
    if (keys.has(key)) this.duplicates.push(this.path());
    else keys.add(key);
    this.space();
    if (this.text[this.position] !== ':') this.fail('after object key');
    this.position += 1;
    this.value('looking for beginning of value');
  }

  private path(): string {
    let path = '';
    for (const { at } of this.frames) {
      if (typeof at === 'number') path += `[${at}]`;
      else path += path === '' ? at : `.${at}`;
    }
    return path;
  }

  /** Passes a string; true when it holds an escape. */
  private string(): boolean {
    let escaped = false;
    this.position += 1;
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code === QUOTE) {
        this.position += 1;
        return escaped;
      }
      if (code === BACKSLASH) {
        escaped = true;
        this.escape();
      } else if (code < 0x20 || Number.isNaN(code)) {
        this.fail('in string literal');
      } else {
        this.position += 1;
      }
    }
  }

  private escape(): void {
    this.position += 1;
    const character = this.text[this.position] ?? '';
    if (character === 'u') {
      for (let digit = 0; digit < 4; digit += 1) {
        this.position += 1;
        if (!/^[0-9a-fA-F]$/.test(this.text[this.position] ?? ''))
          this.fail('in \\u hexadecimal character escape');
      }
    } else if (character === '' || !'"\\/bfnrt'.includes(character)) {
      this.fail('in string escape code');
    }
    this.position += 1;
  }

  private literal(word: string): void {
    for (let index = 1; index < word.length; index += 1) {
      this.position += 1;
      if (this.text[this.position] !== word[index])
        this.fail(`in literal ${word} (expecting '${word[index]}')`);
    }
    this.position += 1;
  }

  private number(): void {
    if (this.text[this.position] === '-') {
      this.position += 1;
      if (!isDigit(this.text[this.position])) this.fail('in numeric literal');
    }
    if (this.text[this.position] === '0') this.position += 1;
    else this.digits();
    if (this.text[this.position] === '.') {
      this.position += 1;
      if (!isDigit(this.text[this.position])) this.fail('after decimal point in numeric literal');
      this.digits();
    }
    const exponent = this.text[this.position];
    if (exponent === 'e' || exponent === 'E') {
      this.position += 1;
      const sign = this.text[this.position];
      if (sign === '+' || sign === '-') this.position += 1;
      if (!isDigit(this.text[this.position])) this.fail('in exponent of numeric literal');
      this.digits();
    }
  }

  private digits(): void {
    while (isDigit(this.text[this.position])) this.position += 1;
  }

  private space(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.position += 1;
    }
  }

  private fail(where: string): never {
    const point = this.text.codePointAt(this.position);
    if (point === undefined) throw new JsonSyntaxError('unexpected end of JSON input');
    throw new JsonSyntaxError(`invalid character ${quoteRune(String.fromCodePoint(point))} ${where}`);
  }
}

function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= '0' && character <= '9';
}

/** As Go's quoteChar: `'b'`, `'\''`, `'"'`, `'\n'`. */
function quoteRune(character: string): string {
  if (character === "'") return "'\\''";
  if (character === '"') return `'"'`;
  return `'${JSON.stringify(character).slice(1, -1)}'`;
}
