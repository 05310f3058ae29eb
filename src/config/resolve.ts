import { nearest } from './nearest.ts';
import type { Setting, SettingsTable, ValuesOf } from './settings.ts';

/** What the person or the machine said, by where it was said. */
export interface ConfigSources {
  /** Flags in the order given; a switch without a value is 'true'. */
  flags: readonly { flag: string; value: string }[];
  environment: Readonly<Record<string, string | undefined>>;
  /** The parsed configuration file, or undefined where there is none. */
  file?: { path: string; content: unknown };
}

/** One line naming the setting, its value and what is allowed. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigError';
  }
}

/** Set for copepod's own tools and launcher, not settings. */
const OTHER_VARIABLES = /^COPEPOD_(NODE|TEST_.*|BENCH_.*|(SERVICE|PORT)(_.*)?)$/;

export const environmentName = (flag: string): string => `COPEPOD_${flag.replaceAll('-', '_').toUpperCase()}`;

/**
 * Merges flag over environment over file over default. Throws ConfigError for what is unknown or not allowed. A key of
 * the file that only `others` has is a warning: one file may serve several commands.
 */
export function resolveSettings<Table extends SettingsTable>(
  table: Table,
  others: SettingsTable,
  sources: ConfigSources,
): { values: ValuesOf<Table>; warnings: string[] } {
  const settings = Object.entries(table);
  const known = settings.map(([, setting]) => setting.flag);
  const foreign = Object.values(others).map(({ flag }) => flag);
  const warnings = unknownVariables(sources.environment, known);
  const fromFile = fileEntries(sources.file, settings, foreign, warnings);
  const values: Record<string, unknown> = {};
  for (const [property, setting] of settings) {
    const said =
      fromFlags(setting, sources) ?? fromEnvironment(setting, sources) ?? fromFile.get(setting.flag);
    values[property] = said ? parseSaid(setting, said) : setting.default;
  }
  return { values: values as ValuesOf<Table>, warnings };
}

/** What one source said of one setting. */
interface Said {
  where: string;
  texts: string[];
}

function parseSaid(setting: Setting<unknown>, { where, texts }: Said): unknown {
  const parsed = texts.map((text) => {
    const value = setting.type.parse(text);
    if (value === undefined) {
      const shown = setting.secret ? 'the value' : JSON.stringify(text);
      const guess = nearest(text, setting.type.words ?? []);
      throw new ConfigError(
        `${where}: ${shown} is not allowed, expected ${setting.type.expected}${guess ? `; did you mean ${guess}?` : ''}`,
      );
    }
    return value;
  });
  return setting.list ? parsed : parsed.at(-1);
}

const splitList = (setting: Setting<unknown>, texts: string[]): string[] =>
  setting.list ? texts.flatMap((text) => text.split(',')).filter((text) => text !== '') : texts;

function fromFlags(setting: Setting<unknown>, sources: ConfigSources): Said | undefined {
  const texts = sources.flags.filter(({ flag }) => flag === setting.flag).map(({ value }) => value);
  return texts.length > 0 ? { where: `--${setting.flag}`, texts: splitList(setting, texts) } : undefined;
}

function fromEnvironment(setting: Setting<unknown>, { environment }: ConfigSources): Said | undefined {
  for (const name of [environmentName(setting.flag), setting.alsoEnvironment]) {
    const text = name === undefined ? undefined : environment[name];
    // Empty is unset: systemd units and compose files cannot say it otherwise.
    if (name && text) return { where: name, texts: splitList(setting, [text]) };
  }
  return undefined;
}

function fileEntries(
  file: ConfigSources['file'],
  settings: readonly [string, Setting<unknown>][],
  foreign: readonly string[],
  warnings: string[],
): Map<string, Said> {
  const entries = new Map<string, Said>();
  if (!file || file.content === null || file.content === undefined) return entries;
  if (typeof file.content !== 'object' || Array.isArray(file.content)) {
    throw new ConfigError(`${file.path}: expected a mapping of flag names to values`);
  }
  for (const [key, value] of Object.entries(file.content)) {
    const where = `${file.path}: ${key}`;
    const setting = settings.find(([, candidate]) => candidate.flag === key)?.[1];
    if (!setting && foreign.includes(key)) {
      warnings.push(`${where} has no effect here: it is a setting of another command`);
      continue;
    }
    if (!setting || setting.notInFile) {
      const guess = nearest(
        key,
        settings.map(([, { flag }]) => flag),
      );
      throw new ConfigError(`${where}: unknown key${guess ? `, did you mean ${guess}?` : ''}`);
    }
    const items = Array.isArray(value) ? value : [value];
    if (Array.isArray(value) && !setting.list) {
      throw new ConfigError(`${where}: expected one value (${setting.type.expected}), found a list`);
    }
    if (items.some((item) => item === null || typeof item === 'object')) {
      throw new ConfigError(`${where}: expected ${setting.type.expected}`);
    }
    entries.set(key, { where, texts: splitList(setting, items.map(String)) });
  }
  return entries;
}

function unknownVariables(environment: ConfigSources['environment'], known: readonly string[]): string[] {
  const names = known.map(environmentName);
  return Object.keys(environment)
    .filter((name) => name.startsWith('COPEPOD_') && !names.includes(name) && !OTHER_VARIABLES.test(name))
    .map((name) => {
      const guess = nearest(name, names);
      return `the environment variable ${name} means nothing to this command${guess ? `, did you mean ${guess}?` : ''}`;
    });
}
