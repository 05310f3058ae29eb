// How an answer compares with a recorded one: the rules of recordings/README.md, as pure functions.
type Json = unknown;
interface Fields {
  [field: string]: Json;
}

export interface CompareOptions {
  /** The answer may have more keys than were recorded. */
  subset?: boolean;
  /** managedFields are recorded (scenarios about apply), without the entries of these managers. */
  managedFields?: boolean;
}

const CONTROLLERS = new Set(['kube-controller-manager', 'kube-scheduler']);
const PLACEHOLDER = /<\*[A-Za-z]+>/;

/** The first differences between the recorded body and the answer's, as `path: what`; empty when they match. */
export function differences(recorded: Json, actual: Json, options: CompareOptions = {}): string[] {
  const found: string[] = [];
  compare(recorded, normalise(actual, options), '', options, found);
  return found;
}

/** For a Status of 400 and above: status, reason, code and the set of (field, reason) of the causes. */
export function statusDifferences(recorded: Fields, actual: Json): string[] {
  const pick = (status: Fields) => ({
    status: status.status,
    reason: status.reason,
    code: status.code,
    causes: causesOf(status),
  });
  if (!isObject(actual)) return ['body: is no Status'];
  const found: string[] = [];
  compare(pick(recorded), pick(actual), '', {}, found);
  return found;
}

function causesOf(status: Fields): string[] {
  const details = isObject(status.details) ? status.details : {};
  const causes = Array.isArray(details.causes) ? (details.causes as Fields[]) : [];
  return [
    ...new Set(causes.map(({ field, reason }) => `${String(field ?? '')} ${String(reason ?? '')}`)),
  ].sort();
}

/** Does a text match a recorded one that may hold placeholders? */
export function textMatches(recorded: string, actual: string): boolean {
  if (!PLACEHOLDER.test(recorded)) return recorded === actual;
  const pattern = recorded
    .split(/(<\*[A-Za-z]+>)/)
    .map((part) => {
      if (!PLACEHOLDER.test(part)) return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      return part === '<*any>' ? '[\\s\\S]*' : '[\\s\\S]+';
    })
    .join('');
  return new RegExp(`^${pattern}$`).test(actual);
}

function isObject(value: Json): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Takes away what is never compared. */
function normalise(value: Json, options: CompareOptions): Json {
  if (Array.isArray(value)) return value.map((item) => normalise(item, options));
  if (!isObject(value)) return value;
  const result: Fields = {};
  for (const [key, child] of Object.entries(value)) {
    if (key === 'managedFields') {
      if (!options.managedFields || !Array.isArray(child)) continue;
      const kept = (child as Fields[]).filter(({ manager }) => !CONTROLLERS.has(String(manager)));
      if (kept.length > 0) result[key] = kept;
    } else if (key === 'annotations' && isObject(child)) {
      const { 'deployment.kubernetes.io/revision': revision, ...others } = child;
      if (revision === undefined || Object.keys(others).length > 0) result[key] = others;
    } else {
      result[key] = normalise(child, options);
    }
  }
  return result;
}

function compare(recorded: Json, actual: Json, path: string, options: CompareOptions, found: string[]): void {
  const tell = (what: string): void => void found.push(`${path === '' ? '(body)' : path}: ${what}`);
  if (recorded === '<*any>') return;
  if (typeof recorded === 'string' && PLACEHOLDER.test(recorded)) {
    if (actual === undefined || actual === null) tell(`absent, recorded ${recorded}`);
    else if (/^<\*[A-Za-z]+>$/.test(recorded)) return;
    else if (typeof actual !== 'string' || !textMatches(recorded, actual)) tell(differ(recorded, actual));
    return;
  }
  if (Array.isArray(recorded)) {
    if (!Array.isArray(actual)) return tell(differ(recorded, actual));
    if (recorded.length !== actual.length) tell(`${actual.length} items, recorded ${recorded.length}`);
    for (const [index, item] of recorded.entries()) {
      if (index < actual.length) compare(item, actual[index], `${path}[${index}]`, options, found);
    }
    return;
  }
  if (isObject(recorded)) {
    if (!isObject(actual)) return tell(differ(recorded, actual));
    for (const [key, child] of Object.entries(recorded)) {
      compare(child, actual[key], path === '' ? key : `${path}.${key}`, options, found);
    }
    if (options.subset) return;
    for (const key of Object.keys(actual)) {
      if (!(key in recorded)) tell(`has ${key} = ${short(actual[key])}, not recorded`);
    }
    return;
  }
  if (recorded !== actual) tell(differ(recorded, actual));
}

const differ = (recorded: Json, actual: Json): string => `${short(actual)}, recorded ${short(recorded)}`;

function short(value: Json): string {
  const text = JSON.stringify(value) ?? 'absent';
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
