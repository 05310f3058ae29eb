// Schedules of CronJobs, refused in the words of the library that Kubernetes uses. When a job runs is the controller's
// business; this only says whether the text means anything.
import type { FieldError } from '../../../api/errors.ts';
import type { Json } from '../../../api/object.ts';
import { invalidValue } from '../../../api/validation.ts';

interface Field {
  readonly least: number;
  readonly most: number;
  readonly names?: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const FIELDS: readonly Field[] = [
  { least: 0, most: 59 },
  { least: 0, most: 23 },
  { least: 1, most: 31 },
  { least: 1, most: 12, names: MONTHS },
  { least: 0, most: 6, names: DAYS },
];
const DESCRIPTORS = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'];

export function validateCronSchedule(schedule: string, field: string): FieldError[] {
  if (/\b(?:CRON_)?TZ=/.test(schedule)) {
    return [
      invalidValue(field, schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead'),
    ];
  }
  const problem = scheduleProblem(schedule);
  return problem === undefined ? [] : [invalidValue(field, schedule, problem)];
}

function scheduleProblem(schedule: string): string | undefined {
  if (schedule.startsWith('@')) {
    if (DESCRIPTORS.includes(schedule)) return undefined;
    if (schedule.startsWith('@every ')) {
      const duration = schedule.slice('@every '.length);
      return /^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$/.test(duration)
        ? undefined
        : `failed to parse duration ${schedule}: time: invalid duration ${JSON.stringify(duration)}`;
    }
    return `unrecognized descriptor: ${schedule}`;
  }
  const parts = schedule.split(/\s+/).filter((part) => part !== '');
  if (parts.length !== FIELDS.length) {
    return `expected exactly ${FIELDS.length} fields, found ${parts.length}: [${parts.join(' ')}]`;
  }
  for (const [index, part] of parts.entries()) {
    for (const expression of part.split(',')) {
      const problem = expressionProblem(expression, FIELDS[index] as Field);
      if (problem !== undefined) return problem;
    }
  }
  return undefined;
}

function expressionProblem(expression: string, field: Field): string | undefined {
  const [range = '', step, extraStep] = expression.split('/');
  const [low = '', high, extraRange] = range.split('-');
  let start = field.least;
  let end = field.most;
  if (low !== '*' && low !== '?') {
    const first = numberOf(low, field);
    if (typeof first === 'string') return first;
    start = first;
    end = first;
    if (high !== undefined) {
      if (extraRange !== undefined) return `too many hyphens: ${expression}`;
      const last = numberOf(high, field);
      if (typeof last === 'string') return last;
      end = last;
    }
  }
  if (step !== undefined) {
    if (extraStep !== undefined) return `too many slashes: ${expression}`;
    const width = numberOf(step, { least: 0, most: Number.MAX_SAFE_INTEGER });
    if (typeof width === 'string') return width;
    if (width === 0) return `step of range should be a positive number: ${expression}`;
    if (high === undefined && low !== '*' && low !== '?') end = field.most;
  }
  if (start < field.least)
    return `beginning of range (${start}) below minimum (${field.least}): ${expression}`;
  if (end > field.most) return `end of range (${end}) above maximum (${field.most}): ${expression}`;
  if (start > end) return `beginning of range (${start}) beyond end of range (${end}): ${expression}`;
  return undefined;
}

function numberOf(text: string, field: Field): number | string {
  const named = field.names?.indexOf(text.toLowerCase()) ?? -1;
  if (named >= 0) return field.names === MONTHS ? named + 1 : named;
  if (/^-\d+$/.test(text)) return `negative number (${text}) not allowed: ${text}`;
  if (!/^\d{1,9}$/.test(text)) {
    return `failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`;
  }
  return Number(text);
}

export function validateTimeZone(zone: Json | undefined, field: string): FieldError[] {
  if (zone === undefined || zone === null) return [];
  const name = String(zone);
  if (name === '') return [invalidValue(field, name, 'timeZone must be nil or non-empty string')];
  if (name.toLowerCase() === 'local') {
    const why = 'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones';
    // Go knows it by exactly this name.
    const unknown = name === 'Local' ? [] : [invalidValue(field, name, `unknown time zone ${name}`)];
    return [invalidValue(field, name, why), ...unknown];
  }
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return [];
  } catch {
    return [invalidValue(field, name, `unknown time zone ${name}`)];
  }
}
