// What a Job's status may say: its end is told once, whole, and is not taken back.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { countIndexes } from './job-policies.ts';
import { validateCounts } from './workloads.ts';

const TERMINAL = ['Failed', 'Complete', 'FailureTarget'] as const;
const UIDS = ['succeeded', 'failed'] as const;

export function validateJobStatus(job: JsonObject, old: JsonObject): FieldError[] {
  const [now, before] = [new Reading(job), new Reading(old)];
  return [
    ...validateCounts(job, ['active', 'succeeded', 'failed', 'ready', 'terminating']),
    ...uncounted(now),
    ...ending(now, before),
    ...indexes(now, before),
    ...togetherness(now, before),
    ...changes(now, before),
  ];
}

/** A job's status and what follows from it. */
class Reading {
  readonly status: JsonObject;
  readonly spec: JsonObject;
  private readonly met: ReadonlySet<string>;

  constructor(job: JsonObject) {
    this.status = objectAt(job, 'status');
    this.spec = objectAt(job, 'spec');
    const met = listAt(this.status, 'conditions').filter(({ status }) => status === 'True');
    this.met = new Set(met.map((condition) => stringAt(condition, 'type')));
  }

  is(type: string): boolean {
    return this.met.has(type);
  }

  get finished(): boolean {
    return this.is('Complete') || this.is('Failed');
  }

  count(field: string): number {
    return numberAt(this.status, field) ?? 0;
  }

  differs(other: Reading, ...fields: string[]): boolean {
    return fields.some((field) => !jsonEqual(this.status[field] ?? null, other.status[field] ?? null));
  }
}

const condition = (why: string): FieldError => ({
  reason: 'FieldValueInvalid',
  field: 'status.conditions',
  message: `Invalid value: ${why}`,
});

function uncounted({ status }: Reading): FieldError[] {
  const seen = new Set<string>();
  return UIDS.flatMap((field) =>
    stringsAt(objectAt(status, 'uncountedTerminatedPods'), field).flatMap((uid, index) => {
      const path = `status.uncountedTerminatedPods.${field}[${index}]`;
      if (uid === '') return [invalidValue(path, uid, 'must not be empty')];
      if (seen.has(uid)) {
        const message = `Duplicate value: ${JSON.stringify(uid)}`;
        return [{ reason: 'FieldValueDuplicate' as const, field: path, message }];
      }
      seen.add(uid);
      return [];
    }),
  );
}

function ending(now: Reading, before: Reading): FieldError[] {
  const errors: FieldError[] = [];
  const turned = (type: string): boolean => now.is(type) !== before.is(type);
  const { startTime, completionTime } = now.status;
  const complete = now.is('Complete');
  if ((turned('Complete') || turned('Failed')) && complete && now.is('Failed')) {
    errors.push(condition('cannot set Complete=True and Failed=true conditions'));
  }
  if ((turned('Complete') || turned('FailureTarget')) && complete && now.is('FailureTarget')) {
    errors.push(condition('cannot set Complete=True and FailureTarget=true conditions'));
  }
  const field = 'status.completionTime';
  if (turned('Complete') || now.differs(before, 'completionTime')) {
    if (completionTime !== undefined && !complete) {
      const why = 'cannot set completionTime when there is no Complete=True condition';
      errors.push(invalidValue(field, completionTime, why));
    }
    if (completionTime === undefined && complete) {
      errors.push(required(field, 'completionTime is required for Complete jobs'));
    }
  }
  if (now.differs(before, 'startTime', 'completionTime') && startTime && completionTime) {
    if (Date.parse(String(completionTime)) < Date.parse(String(startTime))) {
      errors.push(invalidValue(field, completionTime, 'completionTime cannot be set before startTime'));
    }
  }
  if ((turned('Failed') || turned('FailureTarget')) && now.is('Failed') && !now.is('FailureTarget')) {
    errors.push(condition('cannot set Failed=True condition without the FailureTarget=true condition'));
  }
  if ((turned('Complete') || turned('SuccessCriteriaMet')) && complete && !now.is('SuccessCriteriaMet')) {
    errors.push(
      condition('cannot set Complete=True condition without the SuccessCriteriaMet=true condition'),
    );
  }
  return [...errors, ...leftOver(now, before)];
}

/** What may no longer be there when a job has ended. */
function leftOver(now: Reading, before: Reading): FieldError[] {
  if (!now.finished) return [];
  const errors: FieldError[] = [];
  const asked = (field: string): boolean => !before.finished || now.differs(before, field);
  if (asked('active') && now.count('active') > 0) {
    errors.push(invalidValue('status.active', now.count('active'), 'active>0 is invalid for finished job'));
  }
  if (asked('startTime') && now.status.startTime === undefined) {
    errors.push(required('status.startTime', 'startTime is required for finished job'));
  }
  const waiting = objectAt(now.status, 'uncountedTerminatedPods');
  if (asked('uncountedTerminatedPods') && UIDS.some((uid) => stringsAt(waiting, uid).length > 0)) {
    const why = 'uncountedTerminatedPods needs to be empty for finished job';
    errors.push(invalidValue('status.uncountedTerminatedPods', waiting, why));
  }
  return errors;
}

function indexes(now: Reading, before: Reading): FieldError[] {
  const errors: FieldError[] = [];
  const completions = numberAt(now.spec, 'completions');
  const perIndex = now.spec.backoffLimitPerIndex !== undefined;
  const completed = stringAt(now.status, 'completedIndexes');
  const { failedIndexes } = now.status;
  const parse = (field: string, text: string): void => {
    const counted = countIndexes(text, completions ?? 0);
    if (typeof counted === 'number') return;
    errors.push(invalidValue(`status.${field}`, text, `error parsing ${field}: ${counted}`));
  };
  const completedChanged = now.differs(before, 'completedIndexes');
  const failedChanged = now.differs(before, 'failedIndexes');
  if (completedChanged && completions !== undefined) parse('completedIndexes', completed);
  if (failedChanged && completions !== undefined && perIndex && typeof failedIndexes === 'string') {
    parse('failedIndexes', failedIndexes);
  }
  if (completedChanged && completed !== '' && now.spec.completionMode !== 'Indexed') {
    const why = 'cannot set non-empty completedIndexes when non-indexed completion mode';
    errors.push(invalidValue('status.completedIndexes', completed, why));
  }
  if (failedChanged && !perIndex && failedIndexes !== undefined) {
    const why = 'cannot set non-null failedIndexes when backoffLimitPerIndex is null';
    errors.push(invalidValue('status.failedIndexes', failedIndexes, why));
  }
  return errors;
}

function togetherness(now: Reading, before: Reading): FieldError[] {
  const errors: FieldError[] = [];
  const terminating = now.count('terminating');
  if (now.finished && terminating > 0 && (!before.finished || now.differs(before, 'terminating'))) {
    const why = 'terminating>0 is invalid for finished job';
    errors.push(invalidValue('status.terminating', terminating, why));
  }
  if (now.differs(before, 'ready', 'active') && now.count('ready') > now.count('active')) {
    errors.push(invalidValue('status.ready', now.count('ready'), 'cannot set more ready pods than active'));
  }
  const met = now.is('SuccessCriteriaMet');
  if (met && now.is('Failed')) {
    errors.push(condition('cannot set SuccessCriteriaMet=True and Failed=true conditions'));
  }
  if (met && now.is('FailureTarget')) {
    errors.push(condition('cannot set SuccessCriteriaMet=True and FailureTarget=true conditions'));
  }
  if (now.spec.successPolicy !== undefined && !met && now.is('Complete')) {
    const why = 'cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True';
    errors.push(condition(why));
  }
  return errors;
}

function changes(now: Reading, before: Reading): FieldError[] {
  const errors = TERMINAL.filter((type) => before.is(type) && !now.is(type)).map((type) =>
    condition(`cannot disable the terminal ${type}=True condition`),
  );
  const fewer = (field: string): void => {
    if (now.count(field) >= before.count(field)) return;
    errors.push(invalidValue(`status.${field}`, now.count(field), `cannot decrease the ${field} counter`));
  };
  fewer('failed');
  // An indexed job may be scaled down, and counts less then.
  const { completionMode, completions, parallelism } = now.spec;
  if (completionMode !== 'Indexed' || completions !== parallelism) fewer('succeeded');
  const { startTime, completionTime } = now.status;
  if (completionTime !== undefined && before.status.completionTime !== undefined) {
    if (completionTime !== before.status.completionTime) {
      const why = 'completionTime cannot be mutated';
      errors.push(invalidValue('status.completionTime', completionTime, why));
    }
  }
  // Who is resumed starts anew.
  const started = before.is('Suspended') ? undefined : before.status.startTime;
  if (started !== undefined && started !== startTime && now.spec.suspend !== true) {
    errors.push(required('status.startTime', 'startTime cannot be removed for unsuspended job'));
  }
  if (before.is('SuccessCriteriaMet') && !now.is('SuccessCriteriaMet')) {
    errors.push(condition('cannot disable the SuccessCriteriaMet=True condition'));
  }
  return errors;
}
