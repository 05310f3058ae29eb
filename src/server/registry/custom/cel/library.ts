// The functions that Kubernetes adds to CEL's own: on lists, strings, regular expressions, URLs, quantities, addresses,
// sets and named formats.
import { isIP } from 'node:net';
import type { Environment, Optional } from '@marcbachmann/cel-js';
import { dns1035Label, dnsLabel, dnsSubdomain, labelValue, qualifiedName } from '../../../../api/names.ts';
import {
  addQuantities,
  compareQuantities,
  parseQuantity,
  type Quantity,
  subtractQuantities,
} from '../../../../api/quantity.ts';
import { hasFormat } from '../formats.ts';
import type { PatternEngine } from '../patterns.ts';

const MOST_FOUND = 10_000;
const LONGEST_TEXT = 4 * 1024 * 1024;
const NANO = 1_000_000_000n;

/** `[signature, function]`; the signature's receiver comes before the dot. */
type Overload = readonly [signature: string, run: (...values: never[]) => unknown];

export class CelFunctionError extends Error {}

class QuantityValue {
  readonly quantity: Quantity;
  constructor(quantity: Quantity) {
    this.quantity = quantity;
  }
}

class UrlValue {
  readonly url: URL;
  constructor(url: URL) {
    this.url = url;
  }
}

class Address {
  readonly text: string;
  readonly bytes: Uint8Array;
  constructor(text: string) {
    this.text = text;
    this.bytes = addressBytes(text);
  }
}

class Network {
  readonly address: Address;
  readonly bits: number;
  constructor(address: Address, bits: number) {
    this.address = address;
    this.bits = bits;
  }
}

class NamedFormat {
  readonly check: (text: string) => string[];
  constructor(check: (text: string) => string[]) {
    this.check = check;
  }
}

class Namespace {}
class SetsNamespace extends Namespace {}
class FormatNamespace extends Namespace {}

const F = 'kubernetes.NamedFormat';

/** Registers everything; `patterns` is what regular expressions run on. */
export function registerLibrary(
  environment: Environment,
  optional: typeof Optional,
  patterns: PatternEngine,
): void {
  for (const [name, ctor] of [
    ['kubernetes.Quantity', QuantityValue],
    ['kubernetes.URL', UrlValue],
    ['net.IP', Address],
    ['net.CIDR', Network],
    ['kubernetes.NamedFormat', NamedFormat],
    ['kubernetes.Sets', SetsNamespace],
    ['kubernetes.Formats', FormatNamespace],
  ] as const) {
    environment.registerType(name, ctor as never);
  }
  environment.registerConstant('sets', 'kubernetes.Sets', new SetsNamespace());
  environment.registerConstant('format', 'kubernetes.Formats', new FormatNamespace());
  environment.registerOperator(
    'kubernetes.Quantity == kubernetes.Quantity',
    ((a: QuantityValue, b: QuantityValue) => compareQuantities(a.quantity, b.quantity) === 0) as never,
  );
  environment.registerOperator(
    'net.IP == net.IP',
    ((a: Address, b: Address) => Buffer.compare(a.bytes, b.bytes) === 0) as never,
  );
  environment.registerOperator(
    'kubernetes.URL == kubernetes.URL',
    ((a: UrlValue, b: UrlValue) => a.url.href === b.url.href) as never,
  );
  const overloads = [...LISTS, ...STRINGS, ...QUANTITIES, ...URLS, ...ADDRESSES, ...SETS, ...FORMATS];
  for (const [signature, run] of [...overloads, ...expressions(patterns)]) {
    environment.registerFunction(signature, run as never);
  }
  environment.registerFunction(`${F}.validate(string): optional<list<string>>`, ((
    { check }: NamedFormat,
    text: string,
  ) => {
    const problems = check(text);
    return problems.length === 0 ? optional.none() : optional.of(problems);
  }) as never);
}

/** What rules call `matches` is renamed to: the library's own runs on the engine of JavaScript, which hostile patterns stall. */
export const SAFE_MATCHES = 'matchesExpression';

function expressions(patterns: PatternEngine): Overload[] {
  const test = (text: string, pattern: string): boolean => {
    try {
      return patterns.compile(pattern)(text);
    } catch (error) {
      throw new CelFunctionError((error as Error).message);
    }
  };
  const findAll = (text: string, pattern: string, limit: bigint): string[] =>
    patterns.find(pattern, text, limit < 0n ? MOST_FOUND : Math.min(Number(limit), MOST_FOUND));
  return [
    [`string.${SAFE_MATCHES}(string): bool`, test],
    [`${SAFE_MATCHES}(string, string): bool`, test],
    [
      'string.find(string): string',
      (text: string, pattern: string) => patterns.find(pattern, text, 1)[0] ?? '',
    ],
    ['string.findAll(string): list<string>', (text: string, pattern: string) => findAll(text, pattern, -1n)],
    ['string.findAll(string, int): list<string>', findAll],
  ];
}

function ordered(list: readonly (string | bigint | number)[]): boolean {
  return list.every((item, index) => index === 0 || (list[index - 1] as typeof item) <= item);
}

function extreme<T extends bigint | number | string>(list: readonly T[], better: (a: T, b: T) => boolean): T {
  let [best] = list;
  if (best === undefined) throw new CelFunctionError('min/max called on empty list');
  for (const item of list) if (better(item, best)) best = item;
  return best;
}

function positionIn(list: readonly unknown[], wanted: unknown, last: boolean): bigint {
  return BigInt(last ? list.lastIndexOf(wanted) : list.indexOf(wanted));
}

const COMPARABLE = [
  'int',
  'double',
  'string',
  'bool',
  'google.protobuf.Timestamp',
  'google.protobuf.Duration',
];

const LISTS: Overload[] = [
  ...COMPARABLE.flatMap((type): Overload[] => [
    [`list<${type}>.isSorted(): bool`, ordered],
    [`list<${type}>.min(): ${type}`, (list: bigint[]) => extreme(list, (a, b) => a < b)],
    [`list<${type}>.max(): ${type}`, (list: bigint[]) => extreme(list, (a, b) => a > b)],
  ]),
  ['list<int>.sum(): int', (list: bigint[]) => list.reduce((sum, item) => sum + item, 0n)],
  ['list<double>.sum(): double', (list: number[]) => list.reduce((sum, item) => sum + item, 0)],
  ['list<A>.indexOf(A): int', (list: unknown[], item: unknown) => positionIn(list, item, false)],
  ['list<A>.lastIndexOf(A): int', (list: unknown[], item: unknown) => positionIn(list, item, true)],
];

function replaced(text: string, from: string, to: string, limit: bigint): string {
  const parts = text.split(from);
  const most = limit < 0n ? parts.length - 1 : Math.min(Number(limit), parts.length - 1);
  const length = text.length + most * (to.length - from.length);
  if (length > LONGEST_TEXT) throw new CelFunctionError('the result of replace is too long');
  return `${parts.slice(0, most + 1).join(to)}${parts
    .slice(most + 1)
    .map((part) => `${from}${part}`)
    .join('')}`;
}

const STRINGS: Overload[] = [
  ['string.charAt(int): string', charAt],
  [
    'string.replace(string, string): string',
    (text: string, from: string, to: string) => replaced(text, from, to, -1n),
  ],
  ['string.replace(string, string, int): string', replaced],
  ['string.reverse(): string', (text: string) => [...text].reverse().join('')],
  ['string.format(list): string', format],
];

function charAt(text: string, index: bigint): string {
  const points = [...text];
  if (index < 0n || index > BigInt(points.length)) throw new CelFunctionError(`index out of range: ${index}`);
  return points[Number(index)] ?? '';
}

/** `%s`, `%d`, `%f`, `%e`, `%b`, `%o`, `%x`, `%X` and `%%`. */
function format(pattern: string, values: readonly unknown[]): string {
  let next = 0;
  return pattern.replaceAll(
    /%(?:%|(?:\.(\d{1,2}))?([sdfebxXo]))/g,
    (whole, precision: string, verb: string) => {
      if (whole === '%%') return '%';
      if (next >= values.length) throw new CelFunctionError(`index ${next} out of range`);
      const value = values[next];
      next += 1;
      switch (verb) {
        case 'f':
          return Number(value).toFixed(precision === undefined ? 6 : Number(precision));
        case 'e':
          return Number(value).toExponential(precision === undefined ? 6 : Number(precision));
        case 'b':
          return typeof value === 'boolean' ? (value ? '1' : '0') : (value as bigint).toString(2);
        case 'o':
          return (value as bigint).toString(8);
        case 'x':
        case 'X': {
          const text =
            typeof value === 'string' ? Buffer.from(value).toString('hex') : (value as bigint).toString(16);
          return verb === 'X' ? text.toUpperCase() : text;
        }
        default:
          return shown(value);
      }
    },
  );
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (value instanceof Date) return `${value.toISOString().slice(0, 19)}Z`;
  if (value instanceof Map) {
    return `{${[...value]
      .map(([key, item]) => `${shown(key)}: ${shown(item)}`)
      .sort()
      .join(', ')}}`;
  }
  return String(value);
}

function quantity(text: string): QuantityValue {
  try {
    return new QuantityValue(parseQuantity(text));
  } catch (error) {
    throw new CelFunctionError((error as Error).message);
  }
}

const succeeds = (run: () => unknown): boolean => {
  try {
    run();
    return true;
  } catch {
    return false;
  }
};

const Q = 'kubernetes.Quantity';
const compared = (a: QuantityValue, b: QuantityValue): number => compareQuantities(a.quantity, b.quantity);
const QUANTITIES: Overload[] = [
  [`quantity(string): ${Q}`, quantity],
  ['isQuantity(string): bool', (text: string) => succeeds(() => quantity(text))],
  [`${Q}.sign(): int`, ({ quantity: { nano } }: QuantityValue) => (nano > 0n ? 1n : nano < 0n ? -1n : 0n)],
  [`${Q}.isInteger(): bool`, ({ quantity: { nano } }: QuantityValue) => nano % NANO === 0n],
  [`${Q}.asInteger(): int`, asInteger],
  [`${Q}.asApproximateFloat(): double`, ({ quantity: { nano } }: QuantityValue) => Number(nano) / 1e9],
  [`${Q}.isGreaterThan(${Q}): bool`, (a: QuantityValue, b: QuantityValue) => compared(a, b) > 0],
  [`${Q}.isLessThan(${Q}): bool`, (a: QuantityValue, b: QuantityValue) => compared(a, b) < 0],
  [`${Q}.compareTo(${Q}): int`, (a: QuantityValue, b: QuantityValue) => BigInt(compared(a, b))],
  [
    `${Q}.add(${Q}): ${Q}`,
    (a: QuantityValue, b: QuantityValue) => new QuantityValue(addQuantities(a.quantity, b.quantity)),
  ],
  [
    `${Q}.sub(${Q}): ${Q}`,
    (a: QuantityValue, b: QuantityValue) => new QuantityValue(subtractQuantities(a.quantity, b.quantity)),
  ],
  [
    `${Q}.add(int): ${Q}`,
    (a: QuantityValue, b: bigint) => new QuantityValue({ ...a.quantity, nano: a.quantity.nano + b * NANO }),
  ],
  [
    `${Q}.sub(int): ${Q}`,
    (a: QuantityValue, b: bigint) => new QuantityValue({ ...a.quantity, nano: a.quantity.nano - b * NANO }),
  ],
];

function asInteger({ quantity: { nano } }: QuantityValue): bigint {
  if (nano % NANO !== 0n) throw new CelFunctionError('cannot convert value to integer');
  return nano / NANO;
}

function parseUrl(text: string): UrlValue {
  // Go's url.ParseRequestURI: absolute, or a path of its own.
  const relative = text.startsWith('/');
  if (!relative && !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(text)) {
    throw new CelFunctionError(
      `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
    );
  }
  try {
    return new UrlValue(relative ? new URL(text, 'none://') : new URL(text));
  } catch {
    throw new CelFunctionError(
      `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
    );
  }
}

const U = 'kubernetes.URL';
const URLS: Overload[] = [
  [`url(string): ${U}`, parseUrl],
  ['isURL(string): bool', (text: string) => succeeds(() => parseUrl(text))],
  [
    `${U}.getScheme(): string`,
    ({ url }: UrlValue) => (url.protocol === 'none:' ? '' : url.protocol.slice(0, -1)),
  ],
  [`${U}.getHost(): string`, ({ url }: UrlValue) => url.host],
  [`${U}.getHostname(): string`, ({ url }: UrlValue) => url.hostname.replace(/^\[|\]$/g, '')],
  [`${U}.getPort(): string`, ({ url }: UrlValue) => url.port],
  [`${U}.getEscapedPath(): string`, ({ url }: UrlValue) => url.pathname],
  [
    `${U}.getQuery(): map<string, list<string>>`,
    ({ url }: UrlValue) =>
      new Map([...new Set(url.searchParams.keys())].map((key) => [key, url.searchParams.getAll(key)])),
  ],
];

function addressBytes(text: string): Uint8Array {
  if (isIP(text) === 4) return new Uint8Array(text.split('.').map(Number));
  const [head = '', tail] = text.split('::');
  const words = (part: string | undefined): number[] =>
    !part
      ? []
      : part.split(':').flatMap((word) => {
          if (!word.includes('.')) return [Number.parseInt(word, 16)];
          const [a = 0, b = 0, c = 0, d = 0] = word.split('.').map(Number);
          return [a * 256 + b, c * 256 + d];
        });
  const left = words(head);
  const right = words(tail);
  const all = [...left, ...new Array(Math.max(0, 8 - left.length - right.length)).fill(0), ...right];
  return new Uint8Array(all.flatMap((word) => [word >> 8, word & 255]));
}

function parseAddress(text: string): Address {
  if (isIP(text) === 0 || text.includes('%')) {
    throw new CelFunctionError(
      `IP Address ${JSON.stringify(text)} parse error during conversion from string`,
    );
  }
  return new Address(text);
}

function parseNetwork(text: string): Network {
  if (!hasFormat('cidr', text)) {
    throw new CelFunctionError(`CIDR ${JSON.stringify(text)} parse error during conversion from string`);
  }
  const slash = text.lastIndexOf('/');
  return new Network(parseAddress(text.slice(0, slash)), Number(text.slice(slash + 1)));
}

function contains(network: Network, address: Address): boolean {
  if (network.address.bytes.length !== address.bytes.length) return false;
  for (let bit = 0; bit < network.bits; bit += 1) {
    const mask = 128 >> (bit % 8);
    const index = bit >> 3;
    if (((network.address.bytes[index] as number) & mask) !== ((address.bytes[index] as number) & mask))
      return false;
  }
  return true;
}

const isLoopback = ({ bytes }: Address): boolean =>
  bytes.length === 4 ? bytes[0] === 127 : bytes.every((byte, index) => byte === (index === 15 ? 1 : 0));

const ADDRESSES: Overload[] = [
  ['ip(string): net.IP', parseAddress],
  ['isIP(string): bool', (text: string) => isIP(text) !== 0 && !text.includes('%')],
  ['net.IP.family(): int', ({ bytes }: Address) => (bytes.length === 4 ? 4n : 6n)],
  ['net.IP.isUnspecified(): bool', ({ bytes }: Address) => bytes.every((byte) => byte === 0)],
  ['net.IP.isLoopback(): bool', isLoopback],
  [
    'net.IP.isLinkLocalUnicast(): bool',
    ({ bytes }: Address) =>
      bytes.length === 4
        ? bytes[0] === 169 && bytes[1] === 254
        : bytes[0] === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80,
  ],
  ['string(net.IP): string', ({ text }: Address) => text],
  ['cidr(string): net.CIDR', parseNetwork],
  ['isCIDR(string): bool', (text: string) => hasFormat('cidr', text)],
  ['net.CIDR.containsIP(net.IP): bool', contains],
  [
    'net.CIDR.containsIP(string): bool',
    (network: Network, text: string) => contains(network, parseAddress(text)),
  ],
  [
    'net.CIDR.containsCIDR(net.CIDR): bool',
    (outer: Network, inner: Network) => outer.bits <= inner.bits && contains(outer, inner.address),
  ],
  [
    'net.CIDR.containsCIDR(string): bool',
    (outer: Network, text: string) => {
      const inner = parseNetwork(text);
      return outer.bits <= inner.bits && contains(outer, inner.address);
    },
  ],
  ['net.CIDR.ip(): net.IP', ({ address }: Network) => address],
  ['net.CIDR.prefixLength(): int', ({ bits }: Network) => BigInt(bits)],
];

const among = (list: readonly unknown[], items: readonly unknown[]): boolean => {
  const known = new Set(list);
  return items.every((item) => known.has(item));
};

const SETS: Overload[] = [
  [
    'kubernetes.Sets.contains(list<A>, list<A>): bool',
    (_: Namespace, list: unknown[], items: unknown[]) => among(list, items),
  ],
  [
    'kubernetes.Sets.equivalent(list<A>, list<A>): bool',
    (_: Namespace, a: unknown[], b: unknown[]) => among(a, b) && among(b, a),
  ],
  [
    'kubernetes.Sets.intersects(list<A>, list<A>): bool',
    (_: Namespace, a: unknown[], b: unknown[]) => {
      const known = new Set(a);
      return b.some((item) => known.has(item));
    },
  ],
];

const byFormat =
  (name: string) =>
  (text: string): string[] =>
    hasFormat(name, text) ? [] : [`invalid ${name}`];

const NAMED_FORMATS: Readonly<Record<string, (text: string) => string[]>> = {
  dns1123Label: dnsLabel,
  dns1123Subdomain: dnsSubdomain,
  dns1035Label,
  qualifiedName,
  labelValue,
  uri: byFormat('uri'),
  uuid: byFormat('uuid'),
  byte: byFormat('byte'),
  date: byFormat('date'),
  datetime: byFormat('date-time'),
};

const FORMATS: Overload[] = [
  ...Object.entries(NAMED_FORMATS).map(
    ([name, check]): Overload => [`kubernetes.Formats.${name}(): ${F}`, () => new NamedFormat(check)],
  ),
];
