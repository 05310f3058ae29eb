// Valid requests made odd. Everything is drawn from one seeded source, so that a request that did harm comes again.
import type { SeededRandom } from '../../support/seeded-random.ts';
import {
  ACCEPTS,
  CONTENT_TYPES,
  DEEP_TEXTS,
  HEADERS,
  HOSTILE_KEYS,
  HOSTILE_TEXTS,
  METHODS,
  ODD_BODIES,
  ODD_NUMBERS,
  PATCH_OPERATIONS,
  QUERIES,
  SEGMENTS,
} from './hostile.ts';

export interface FuzzRequest {
  method: string;
  /** With its query, as it is sent. */
  path: string;
  headers: Record<string, string>;
  body: Buffer | undefined;
}

export interface Corpus {
  /** Paths of other requests, for what a path may be exchanged with. */
  paths: readonly string[];
  /** Bodies of other requests. */
  bodies: readonly unknown[];
}

type Mutation = (request: FuzzRequest, random: SeededRandom, corpus: Corpus) => void;

/** One to three mutations of a copy of `request`. */
export function mutate(request: FuzzRequest, random: SeededRandom, corpus: Corpus): FuzzRequest {
  const copy = { ...request, headers: { ...request.headers } };
  // Mostly one: the second often keeps the first from being reached.
  const count = random.pick([1, 1, 1, 1, 2, 2, 3]);
  for (let index = 0; index < count; index += 1) {
    const mutations = copy.body && random.chance(0.7) ? BODY_MUTATIONS : OTHER_MUTATIONS;
    random.pick(mutations)(copy, random, corpus);
  }
  copy.path = sendable(copy.path);
  return copy;
}

const changeValue: Mutation = (request, random, corpus) =>
  withJson(request, (value) => changeSomewhere(value, random, corpus));

const BODY_MUTATIONS: readonly Mutation[] = [
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  changeValue,
  (request, random) => {
    // Truncated.
    const { body } = request;
    if (body) request.body = body.subarray(0, random.integer(body.length));
  },
  (request, random) => {
    // A byte that may break the encoding or the syntax.
    if (!request.body || request.body.length === 0) return;
    const bytes = Buffer.from(request.body);
    bytes[random.integer(bytes.length)] = random.integer(256);
    request.body = bytes;
  },
  (request, random) => {
    if (!request.body) return;
    const at = random.integer(request.body.length);
    const invalid = Buffer.from(random.pick(['ff', 'c080', 'eda080', 'f4908080', 'efbbbf', '00']), 'hex');
    request.body = Buffer.concat([request.body.subarray(0, at), invalid, request.body.subarray(at)]);
  },
  (request, random) => {
    // A field twice: after some opening brace comes one that the object has, or a hostile one.
    if (!request.body) return;
    const text = request.body.toString('latin1');
    const braces = [...text.matchAll(/\{/g)].map(({ index }) => index);
    if (braces.length === 0) return;
    const at = random.pick(braces) + 1;
    const key = random.chance(0.6)
      ? (/"(\w+)":/.exec(text.slice(at))?.[1] ?? 'a')
      : random.pick(HOSTILE_KEYS);
    const value = random.pick(['1', '""', 'null', '{}', '[]', '"x"', '{"__proto__":{"polluted":true}}']);
    const rest = text[at] === '}' ? '' : ',';
    request.body = Buffer.from(
      `${text.slice(0, at)}${JSON.stringify(key)}:${value}${rest}${text.slice(at)}`,
      'latin1',
    );
  },
  (request, random) => {
    request.body = Buffer.from(random.pick(ODD_BODIES));
  },
  (request, random) => {
    // Deep where a value was.
    if (!request.body) return;
    const text = request.body.toString('latin1');
    const colons = [...text.matchAll(/":/g)].map(({ index }) => index);
    if (colons.length === 0) return;
    const at = random.pick(colons) + 2;
    request.body = Buffer.from(text.slice(0, at) + random.pick(DEEP_TEXTS) + text.slice(at), 'latin1');
  },
  (request, random) => {
    request.headers['content-type'] = random.pick(CONTENT_TYPES);
  },
  (request, random, corpus) => {
    request.body = Buffer.from(JSON.stringify(random.pick(corpus.bodies)));
  },
];

const OTHER_MUTATIONS: readonly Mutation[] = [
  (request, random) => {
    request.path = withQuery(request.path, random);
  },
  (request, random) => {
    request.path = withQuery(withQuery(request.path, random), random);
  },
  (request, random) => {
    const [path = '', query] = request.path.split('?', 2);
    const segments = path.split('/');
    const at = 1 + random.integer(segments.length);
    const odd = random.pick(SEGMENTS);
    const how = random.integer(4);
    if (how < 2) segments[at] = odd;
    else if (how === 2) segments.splice(at, 0, odd);
    else segments.splice(at, 1);
    request.path = segments.join('/') + (query === undefined ? '' : `?${query}`);
  },
  (request, random, corpus) => {
    request.path = random.pick(corpus.paths);
  },
  (request, random) => {
    request.method = random.pick(METHODS);
  },
  (request, random) => {
    const [name, values] = random.pick(HEADERS);
    request.headers[name] = random.pick(values);
  },
  (request, random) => {
    request.headers.accept = random.pick(ACCEPTS);
  },
  (request, random) => {
    // A patch of one's own, whatever the request was.
    request.method = 'PATCH';
    const type = random.pick(CONTENT_TYPES);
    request.headers['content-type'] = type;
    const operations = Array.from({ length: 1 + random.integer(4) }, () => random.pick(PATCH_OPERATIONS));
    request.body = Buffer.from(
      JSON.stringify(type.includes('json-patch') ? operations : { spec: random.pick(operations) }),
    );
    if (type.includes('apply'))
      request.path = `${request.path}${request.path.includes('?') ? '&' : '?'}fieldManager=fuzz&force=true`;
  },
];

function withQuery(path: string, random: SeededRandom): string {
  const [name, values] = random.pick(QUERIES);
  const value = random.chance(0.1) ? random.pick(HOSTILE_TEXTS).slice(0, 8000) : random.pick(values);
  const mark = path.includes('?') ? '&' : '?';
  return `${path}${mark}${name}=${random.chance(0.9) ? encodeText(value) : value}`;
}

/** encodeURIComponent throws on lone surrogates, which a text may well hold here. */
function encodeText(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      /[\w.~-]/.test(String.fromCharCode(byte))
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).padStart(2, '0')}`,
    )
    .join('');
}

/** What Node's client refuses to send is encoded, and the length kept to what a request line may have. */
function sendable(path: string): string {
  const rooted = path.startsWith('/') ? path : `/${path}`;
  return rooted.slice(0, 12_000).replace(/[^\x21-\x7e]/gu, (character) => encodeText(character));
}

function withJson(request: FuzzRequest, change: (value: unknown) => unknown): void {
  try {
    const value: unknown = JSON.parse(request.body?.toString() ?? '');
    request.body = Buffer.from(JSON.stringify(change(value)) ?? 'null');
  } catch {
    // An earlier mutation left what is no JSON, or nests too deeply to be written again: it is sent as it is.
  }
}

/** Changes one place of a JSON value, chosen by a walk that ends at each level with some probability. */
function changeSomewhere(value: unknown, random: SeededRandom, corpus: Corpus): unknown {
  if (typeof value !== 'object' || value === null || random.chance(0.12))
    return changeHere(value, random, corpus);
  if (Array.isArray(value)) {
    if (value.length === 0) return changeHere(value, random, corpus);
    const at = random.integer(value.length);
    return value.map((item, index) => (index === at ? changeSomewhere(item, random, corpus) : item));
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return changeHere(value, random, corpus);
  const at = random.integer(entries.length);
  return fromEntries(
    entries.map(([key, child], index) => [
      key,
      index === at ? changeSomewhere(child, random, corpus) : child,
    ]),
  );
}

/** Object.fromEntries makes `__proto__` an own field, which is what is to be sent. */
const fromEntries = (entries: readonly (readonly [string, unknown])[]): object => Object.fromEntries(entries);

function changeHere(value: unknown, random: SeededRandom, corpus: Corpus): unknown {
  switch (random.integer(9)) {
    case 0:
      return oddValue(random);
    case 1:
      return random.pick(HOSTILE_TEXTS);
    case 2:
      return random.pick(ODD_NUMBERS);
    case 3:
      if (Array.isArray(value)) return random.chance(0.5) ? [...value, ...value] : [...value].reverse();
      return [value];
    case 4:
      if (isObject(value)) {
        const entries = Object.entries(value);
        entries.splice(random.integer(entries.length + 1), random.integer(2), [
          random.pick(HOSTILE_KEYS),
          oddValue(random),
        ]);
        return fromEntries(entries);
      }
      return { [random.pick(HOSTILE_KEYS)]: value };
    case 5:
      if (isObject(value)) {
        const entries = Object.entries(value);
        entries.splice(random.integer(entries.length + 1), 1);
        return fromEntries(entries);
      }
      return null;
    case 6:
      return Array.from({ length: random.pick([0, 1, 2, 300, 5000]) }, (_, index) =>
        isObject(value) ? value : random.chance(0.5) ? index : 'x',
      );
    case 7:
      return random.pick(corpus.bodies);
    default:
      if (typeof value === 'string') return tweakText(value, random);
      if (typeof value === 'number') return -value;
      if (typeof value === 'boolean') return !value;
      return oddValue(random);
  }
}

function tweakText(text: string, random: SeededRandom): string {
  const at = random.integer(text.length + 1);
  const bit = random.pick([
    '\u0000',
    '/',
    ' ',
    '\ud800',
    '\u202e',
    '$',
    '%',
    '\n',
    '"',
    'A',
    '-',
    '.',
    '😀',
    '\\',
    '..',
    ':',
    ',',
  ]);
  return random.chance(0.5) ? text.slice(0, at) + bit + text.slice(at) : text.slice(at);
}

function oddValue(random: SeededRandom): unknown {
  return random.pick<() => unknown>([
    () => null,
    () => true,
    () => false,
    () => '',
    () => [],
    () => ({}),
    () => [null],
    () => [[]],
    () => [{}],
    () => ({ '': '' }),
    () => random.pick(HOSTILE_TEXTS),
    () => random.pick(ODD_NUMBERS),
    () => fromEntries([[random.pick(HOSTILE_KEYS), random.pick(HOSTILE_TEXTS)]]),
    () => ({ valueFrom: { fieldRef: { fieldPath: random.pick(HOSTILE_TEXTS) } } }),
    () => ({
      matchExpressions: [
        { key: random.pick(HOSTILE_TEXTS), operator: 'In', values: [random.pick(HOSTILE_TEXTS)] },
      ],
    }),
    () => ({ $patch: random.pick(['replace', 'delete', 'merge', 'bogus', 1]) }),
    () => ({ pattern: random.pick(HOSTILE_TEXTS), type: 'string' }),
  ])();
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
