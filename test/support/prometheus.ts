/** A metric family as Prometheus reads it: by the whole text of its labels, the value. */
export interface Family {
  type: string;
  samples: Map<string, number>;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\n"])*"`;
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?\\})? (\\S+)$`);

/**
 * Prometheus' text format, read as strictly as promtool checks it: HELP and TYPE before the samples of a family, each
 * family once, no series twice, histograms whose buckets grow and end in +Inf. Throws what is wrong.
 */
export function parsePrometheus(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, Family>();
  let current: { name: string; family: Family } | undefined;
  let helped = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      helped = name;
    } else if (keyword === 'TYPE') {
      if (helped !== name) throw new Error(`${name} has no HELP`);
      if (families.has(name)) throw new Error(`${name} is there twice`);
      if (rest === 'counter' && !name.endsWith('_total')) throw new Error(`the counter ${name} is no _total`);
      current = { name, family: { type: rest, samples: new Map() } };
      families.set(name, current.family);
    } else {
      const [, sampleName = '', labels = '', value = ''] = SAMPLE.exec(line) ?? [];
      if (sampleName === '' || !current) throw new Error(`no sample: ${line}`);
      const suffix = sampleName.slice(current.name.length);
      const suffixes = current.family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      if (!sampleName.startsWith(current.name) || !suffixes.includes(suffix)) {
        throw new Error(`${sampleName} stands below ${current.name}`);
      }
      if (Number.isNaN(Number(value))) throw new Error(`no number: ${line}`);
      const key = `${suffix}{${labels}}`;
      if (current.family.samples.has(key)) throw new Error(`twice: ${line}`);
      current.family.samples.set(key, Number(value));
    }
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family);
  return families;
}

function checkHistogram(name: string, { samples }: Family): void {
  const last = new Map<string, { bound: number; count: number }>();
  for (const [key, count] of samples) {
    if (!key.startsWith('_bucket')) continue;
    const [, bound = ''] = /[{,]le="([^"]*)"/.exec(key) ?? [];
    const series = key.replace(/,le="[^"]*"|(?<=\{)le="[^"]*",?/, '').slice('_bucket'.length);
    const le = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound);
    const before = last.get(series);
    if (before && (le <= before.bound || count < before.count)) throw new Error(`${name}${key} goes back`);
    last.set(series, { bound: le, count });
  }
  for (const [series, { bound, count }] of last) {
    if (bound !== Number.POSITIVE_INFINITY) throw new Error(`${name}${series} has no +Inf`);
    if (samples.get(`_count${series}`) !== count) throw new Error(`${name}${series}: +Inf is not the count`);
    if (!samples.has(`_sum${series}`)) throw new Error(`${name}${series} has no sum`);
  }
}
