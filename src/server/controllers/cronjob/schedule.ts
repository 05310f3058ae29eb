import { parse, validateDetailed } from 'node-cron';

/**
 * Cron schedules as Kubernetes understands them (robfig/cron's standard parser): five fields or a macro. node-cron reads
 * the fields; what it would allow beyond (seconds, L, W, #, ranges that wrap) is refused here, and the search for the
 * next time is ours, because Kubernetes' rules differ: a day matches by day of month *or* day of week when both are
 * given, a time that the clock skips does not run, a time that it repeats runs twice.
 */
export interface Schedule {
  /** The first time after `after`, ms since 1970; undefined when there is none within five years. */
  next(after: number): number | undefined;
}

export class ScheduleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ScheduleError';
  }
}

const MINUTE = 60_000;
const HOUR = 3_600_000;
const HORIZON_YEARS = 5;
const EVERY = /^@every\s+(\S+)$/;
const MACROS = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/;
const FIELD = /^(\*|\?|[A-Za-z0-9]+(-[A-Za-z0-9]+)?)(\/\d+)?$/;
const WITH_ZONE = /^(?:CRON_TZ|TZ)=(\S+)\s+(.*)$/;

interface Fields {
  minute: ReadonlySet<number>;
  hour: ReadonlySet<number>;
  dayOfMonth: ReadonlySet<number>;
  month: ReadonlySet<number>;
  dayOfWeek: ReadonlySet<number>;
  /** Either day field was `*`: then both must match, else one is enough. */
  anyDay: boolean;
}

/** Throws ScheduleError. `timeZone` is an IANA name; absent: UTC, which is what a server without /etc/localtime has. */
export function parseSchedule(text: string, timeZone: string | undefined): Schedule {
  const zoned = WITH_ZONE.exec(text.trim());
  const expression = zoned ? (zoned[2] ?? '').trim() : text.trim();
  const zone = zoned?.[1] ?? timeZone ?? 'UTC';
  const every = EVERY.exec(expression);
  if (every) return fixedInterval(parseDuration(every[1] ?? ''));
  const offsets = new Offsets(zone);
  const fields = parseFields(expression);
  return { next: (after) => fields && search(fields, offsets, after) };
}

/** True for a time zone that this runtime knows. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function parseFields(expression: string): Fields | undefined {
  const macro = MACROS.test(expression);
  const parts = expression.split(/\s+/);
  if (!macro) {
    if (expression.startsWith('@')) throw new ScheduleError(`unrecognized descriptor: ${expression}`);
    if (parts.length !== BOUNDS.length) {
      throw new ScheduleError(`expected exactly 5 fields, found ${parts.length}: [${parts.join(' ')}]`);
    }
  }
  const usable = macro ? expression : parts.map((part, index) => normalField(part, index)).join(' ');
  const checked = validateDetailed(usable);
  if (!checked.valid) {
    const message = checked.errors[0]?.message ?? `invalid schedule ${expression}`;
    // The thirtieth of February: a valid schedule that never comes.
    if (message.includes('impossible day')) return undefined;
    throw new ScheduleError(message);
  }
  const read = parse(usable);
  const numbers = (values: readonly (number | string)[]): ReadonlySet<number> => new Set(values.map(Number));
  return {
    minute: numbers(read.minute),
    hour: numbers(read.hour),
    dayOfMonth: numbers(read.dayOfMonth),
    month: numbers(read.month),
    dayOfWeek: numbers(read.dayOfWeek),
    anyDay: macro
      ? /monthly|yearly|annually|weekly|daily|midnight|hourly/.test(expression)
      : isStar(parts[2]) || isStar(parts[4]),
  };
}

const isStar = (field: string | undefined): boolean =>
  (field ?? '').split(',').some((part) => /^[*?](\/1)?$/.test(part));

/** Smallest and largest value: minute, hour, day of month, month, day of week. */
const BOUNDS: readonly (readonly [number, number])[] = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 6],
];

const NAMES: Readonly<Record<string, number>> = {
  sun: 0,
  mon: 1,
  tue: 2,
  wed: 3,
  thu: 4,
  fri: 5,
  sat: 6,
  jan: 1,
  feb: 2,
  mar: 3,
  apr: 4,
  may: 5,
  jun: 6,
  jul: 7,
  aug: 8,
  sep: 9,
  oct: 10,
  nov: 11,
  dec: 12,
};

/** Checks a field by robfig/cron's rules and writes it so that node-cron reads the same: `5/15` is `5-59/15` there. */
function normalField(field: string, index: number): string {
  const [least, most] = BOUNDS[index] ?? [0, 0];
  return field
    .split(',')
    .map((part) => {
      if (!FIELD.test(part)) throw new ScheduleError(`failed to parse int from ${part}`);
      const [range = '', step] = part.split('/');
      if (step !== undefined && Number(step) === 0) {
        throw new ScheduleError(`step of range should be a positive number: ${part}`);
      }
      const [first, last = first] = range.split('-').map(numberOf);
      if (first === undefined || last === undefined) return step === undefined ? '*' : `*/${step}`;
      if (first < least)
        throw new ScheduleError(`beginning of range (${first}) below minimum (${least}): ${part}`);
      if (last > most) throw new ScheduleError(`end of range (${last}) above maximum (${most}): ${part}`);
      if (first > last) {
        throw new ScheduleError(`beginning of range (${first}) beyond end of range (${last}): ${part}`);
      }
      if (step === undefined) return first === last ? String(first) : `${first}-${last}`;
      return `${first}-${range.includes('-') ? last : most}/${step}`;
    })
    .join(',');
}

function numberOf(text: string): number | undefined {
  if (text === '*' || text === '?') return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  const named = NAMES[text.toLowerCase()];
  if (named === undefined) throw new ScheduleError(`failed to parse int from ${text}`);
  return named;
}

/** Steps through local time: months, then days, hours and minutes, each rolled forward until it matches. */
function search(fields: Fields, offsets: Offsets, after: number): number | undefined {
  let time = Math.floor(after / MINUTE) * MINUTE + MINUTE;
  const limit = after + HORIZON_YEARS * 366 * 24 * HOUR;
  while (time <= limit) {
    const local = new Date(time + offsets.at(time));
    const month = local.getUTCMonth();
    if (!fields.month.has(month + 1)) {
      time = offsets.instantOf(Date.UTC(local.getUTCFullYear(), month + 1, 1), time);
    } else if (!dayMatches(fields, local)) {
      time = offsets.instantOf(Date.UTC(local.getUTCFullYear(), month, local.getUTCDate() + 1), time);
    } else if (!fields.hour.has(local.getUTCHours())) {
      // In absolute hours: a repeated hour is seen twice, a skipped one not at all.
      time += HOUR - local.getUTCMinutes() * MINUTE;
    } else if (!fields.minute.has(local.getUTCMinutes())) {
      time += MINUTE;
    } else {
      return time;
    }
  }
  return undefined;
}

function dayMatches({ dayOfMonth, dayOfWeek, anyDay }: Fields, local: Date): boolean {
  const byDate = dayOfMonth.has(local.getUTCDate());
  const byWeekday = dayOfWeek.has(local.getUTCDay());
  return anyDay ? byDate && byWeekday : byDate || byWeekday;
}

/** Offsets of one time zone from UTC, in ms. Asked of Intl once for every quarter of an hour that is looked at. */
class Offsets {
  private readonly format: Intl.DateTimeFormat | undefined;
  private known: { from: number; offset: number } | undefined;

  constructor(zone: string) {
    if (!isTimeZone(zone)) throw new ScheduleError(`unknown time zone ${zone}`);
    this.format =
      zone === 'UTC'
        ? undefined
        : new Intl.DateTimeFormat('en-US', {
            timeZone: zone,
            hourCycle: 'h23',
            year: 'numeric',
            month: 'numeric',
            day: 'numeric',
            hour: 'numeric',
            minute: 'numeric',
            second: 'numeric',
          });
  }

  at(time: number): number {
    if (!this.format) return 0;
    // Zones change on quarters of an hour at the finest.
    const quarter = Math.floor(time / (15 * MINUTE)) * 15 * MINUTE;
    if (this.known?.from === quarter) return this.known.offset;
    const parts: Record<string, number> = {};
    for (const { type, value } of this.format.formatToParts(quarter)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    const offset = Date.UTC(year, month - 1, day, hour, minute, second) - quarter;
    this.known = { from: quarter, offset };
    return offset;
  }

  /** The first instant after `after` that reads `local` or, where the clock skips that, later. */
  instantOf(local: number, after: number): number {
    let time = local - this.at(local);
    const again = local - this.at(time);
    if (again !== time) time = Math.min(again, time);
    while (time + this.at(time) < local) time += 15 * MINUTE;
    return Math.max(time, after + MINUTE);
  }
}

const UNITS: Readonly<Record<string, number>> = { h: HOUR, m: MINUTE, s: 1000, ms: 1 };

function parseDuration(text: string): number {
  let total = 0;
  let rest = text;
  while (rest !== '') {
    const match = /^(\d+(?:\.\d+)?)(h|ms|m|s)/.exec(rest);
    if (!match)
      throw new ScheduleError(`failed to parse duration @every ${text}: time: invalid duration "${text}"`);
    total += Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0);
    rest = rest.slice(match[0].length);
  }
  return Math.max(1000, Math.floor(total / 1000) * 1000);
}

/** `@every`: counted from the time given, on whole seconds. */
function fixedInterval(interval: number): Schedule {
  return { next: (after) => Math.floor((after + interval) / 1000) * 1000 };
}
