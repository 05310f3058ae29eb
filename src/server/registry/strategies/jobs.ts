// Jobs and CronJobs.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  checkChoice,
  checkNonNegative,
  ensureObject,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf, humanDuration } from './age.ts';
import { selectorCell } from './cells.ts';
import { validateCronSchedule, validateTimeZone } from './cron-schedule.ts';
import {
  validateFailurePolicy,
  validateIndexed,
  validateManagedBy,
  validateSuccessPolicy,
} from './job-policies.ts';
import { validateJobStatus } from './job-status.ts';
import { safeMatcher, validateLabelSelector } from './label-selector.ts';
import { defaultTemplate, validateTemplate } from './pod-spec.ts';
import { workloadWarnings } from './pod-warnings.ts';
import { containerCells, emptyStatus, mismatch } from './workloads.ts';

const CONTROLLER_UID = 'batch.kubernetes.io/controller-uid';
const JOB_NAME = 'batch.kubernetes.io/job-name';
/** The labels that Jobs set before they had a prefix. */
const OLD_CONTROLLER_UID = 'controller-uid';
const OLD_JOB_NAME = 'job-name';
const POLICIES = ['OnFailure', 'Never'];

function defaultJobSpec(spec: JsonObject): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  setDefault(spec, 'parallelism', 1);
  const perIndex = spec.backoffLimitPerIndex !== undefined;
  setDefault(spec, 'backoffLimit', perIndex ? 2147483647 : 6);
  if (isUnset(spec.completionMode)) spec.completionMode = 'NonIndexed';
  setDefault(spec, 'suspend', false);
  const failurePolicy = asObject(spec.podFailurePolicy);
  for (const rule of listAt(failurePolicy, 'rules')) {
    for (const pattern of listAt(rule, 'onPodConditions')) {
      if (isUnset(pattern.status)) pattern.status = 'True';
    }
  }
  setDefault(spec, 'podReplacementPolicy', failurePolicy ? 'Failed' : 'TerminatingOrFailed');
  setDefault(spec, 'manualSelector', false);
}

export const jobStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (job) => {
    const spec = ensureObject(job, 'spec');
    defaultJobSpec(spec);
    const template = ensureObject(spec, 'template');
    // A Job without labels takes those of its pods.
    const labels = objectAt(objectAt(template, 'metadata'), 'labels');
    const metadata = ensureObject(job, 'metadata');
    if (Object.keys(labels).length > 0 && Object.keys(objectAt(metadata, 'labels')).length === 0) {
      metadata.labels = { ...labels };
    }
    defaultTemplate(template);
  },
  prepareForCreate: (job) => {
    emptyStatus(job);
    const metadata = objectAt(job, 'metadata');
    const spec = objectAt(job, 'spec');
    if (spec.manualSelector === true) return;
    const uid = stringAt(metadata, 'uid');
    const name = stringAt(metadata, 'name');
    const template = ensureObject(spec, 'template');
    const generated = {
      [CONTROLLER_UID]: uid,
      [JOB_NAME]: name,
      [OLD_CONTROLLER_UID]: uid,
      [OLD_JOB_NAME]: name,
    };
    const templateMeta = ensureObject(template, 'metadata');
    templateMeta.labels = { ...objectAt(templateMeta, 'labels'), ...generated };
    metadata.labels = { ...objectAt(metadata, 'labels'), ...generated };
    const selector = ensureObject(spec, 'selector');
    selector.matchLabels = { ...objectAt(selector, 'matchLabels'), [CONTROLLER_UID]: uid };
  },
  validate: (job) => {
    const spec = objectAt(job, 'spec');
    return [...validateGeneratedSelector(job, spec), ...validateJobSpec(spec, 'spec', true)];
  },
  validateCreate: validateHostNames,
  validateUpdate: validateJobUpdate,
  validateStatusUpdate: validateJobStatus,
  isDecision: (job, old) => COUNTED.some((field) => differs(job, old, field)),
  warnings: (job, old) => workloadWarnings(job, old, 'spec.template'),
  fieldLabelError: (field) => `field label ${JSON.stringify(field)} not supported for Job`,
  selectableFields: fieldsAt('status.successful'),
  cells: (job, now) => {
    const metadata = objectAt(job, 'metadata');
    const spec = objectAt(job, 'spec');
    const status = objectAt(job, 'status');
    return [
      stringAt(metadata, 'name'),
      jobState(metadata, status),
      completions(spec, status),
      duration(status, now),
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(objectAt(spec, 'template')),
      selectorCell(asObject(spec.selector)),
    ];
  },
};

/** Pods lose their finalizer, and may be gone, once they are counted here. */
const COUNTED = [
  'uncountedTerminatedPods',
  'succeeded',
  'failed',
  'completedIndexes',
  'failedIndexes',
  'conditions',
];

function differs(object: JsonObject, old: JsonObject, field: string): boolean {
  return !jsonEqual(objectAt(object, 'status')[field], objectAt(old, 'status')[field]);
}

function jobState(metadata: JsonObject, status: JsonObject): string {
  const has = (type: string): boolean =>
    listAt(status, 'conditions').some((condition) => condition.type === type && condition.status === 'True');
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (has('Suspended')) return 'Suspended';
  if (has('FailureTarget')) return 'FailureTarget';
  if (has('SuccessCriteriaMet')) return 'SuccessCriteriaMet';
  return 'Running';
}

function completions(spec: JsonObject, status: JsonObject): string {
  const done = numberAt(status, 'succeeded') ?? 0;
  const wanted = numberAt(spec, 'completions');
  if (wanted !== undefined) return `${done}/${wanted}`;
  const parallel = numberAt(spec, 'parallelism') ?? 0;
  return parallel > 1 ? `${done}/1 of ${parallel}` : `${done}/1`;
}

function duration(status: JsonObject, now: number): string {
  const start = stringAt(status, 'startTime');
  if (start === '') return '';
  const end = stringAt(status, 'completionTime');
  return humanDuration((end === '' ? now : Date.parse(end)) - Date.parse(start));
}

/** The pods of an Indexed Job have hosts of its name with their index behind it. */
function validateHostNames(job: JsonObject): FieldError[] {
  const spec = objectAt(job, 'spec');
  const count = numberAt(spec, 'completions') ?? 0;
  if (spec.completionMode !== 'Indexed' || count <= 0) return [];
  const name = stringAt(objectAt(job, 'metadata'), 'name');
  const last = `${name}-${count - 1}`;
  const why = `will not able to create pod with invalid DNS label: ${last}`;
  return dnsLabel(last).length === 0 ? [] : [invalidValue('metadata.name', name, why)];
}

function validateGeneratedSelector(job: JsonObject, spec: JsonObject): FieldError[] {
  if (spec.manualSelector === true) return [];
  const uid = stringAt(objectAt(job, 'metadata'), 'uid');
  const selector = objectAt(spec, 'selector');
  const generated = { matchLabels: { [CONTROLLER_UID]: uid } };
  const old = { matchLabels: { [OLD_CONTROLLER_UID]: uid } };
  return jsonEqual(selector, generated) || jsonEqual(selector, old)
    ? []
    : [invalidValue('spec.selector', selector, '`selector` not auto-generated')];
}

function validateJobSpec(spec: JsonObject, path: string, withSelector: boolean): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of [
    'parallelism',
    'completions',
    'activeDeadlineSeconds',
    'backoffLimit',
    'ttlSecondsAfterFinished',
    'backoffLimitPerIndex',
    'maxFailedIndexes',
  ]) {
    errors.push(...checkNonNegative(`${path}.${field}`, spec[field]));
  }
  const mode = stringAt(spec, 'completionMode');
  errors.push(...checkChoice(`${path}.completionMode`, mode, ['NonIndexed', 'Indexed']));
  if (mode === 'Indexed' && spec.completions === undefined) {
    errors.push(required(`${path}.completions`, 'when completion mode is Indexed'));
  }
  if (mode !== 'Indexed') {
    for (const field of ['backoffLimitPerIndex', 'maxFailedIndexes']) {
      if (spec[field] !== undefined) {
        errors.push(invalidValue(`${path}.${field}`, spec[field], 'requires indexed completion mode'));
      }
    }
  }
  errors.push(
    ...validateIndexed(spec, path),
    ...validateManagedBy(spec.managedBy, `${path}.managedBy`),
    ...validateFailurePolicy(spec, path),
    ...validateSuccessPolicy(spec, path),
  );
  errors.push(
    ...checkChoice(`${path}.podReplacementPolicy`, spec.podReplacementPolicy, [
      'Failed',
      'TerminatingOrFailed',
    ]),
  );
  const template = objectAt(spec, 'template');
  errors.push(...validateTemplate(template, `${path}.template`));
  errors.push(...validateRestartPolicy(objectAt(template, 'spec'), `${path}.template.spec.restartPolicy`));
  if (asObject(spec.podFailurePolicy) && objectAt(template, 'spec').restartPolicy !== 'Never') {
    errors.push(
      invalidValue(
        `${path}.template.spec.restartPolicy`,
        objectAt(template, 'spec').restartPolicy,
        'only "Never" is supported when podFailurePolicy is specified',
      ),
    );
  }
  if (withSelector) errors.push(...validateSelector(spec, template, path));
  return errors;
}

function validateRestartPolicy(podSpec: JsonObject, field: string): FieldError[] {
  const policy = stringAt(podSpec, 'restartPolicy');
  if (POLICIES.includes(policy)) return [];
  if (policy === '' || policy === 'Always') return [required(field, 'valid values: "OnFailure", "Never"')];
  return [
    {
      reason: 'FieldValueNotSupported',
      field,
      message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "OnFailure", "Never"`,
    },
  ];
}

function validateSelector(spec: JsonObject, template: JsonObject, path: string): FieldError[] {
  const selector = asObject(spec.selector);
  const labelled = objectAt(objectAt(template, 'metadata'), 'labels');
  if (!selector) return [required(`${path}.selector`), mismatch(labelled)];
  const errors = validateLabelSelector(selector, `${path}.selector`);
  const matches = safeMatcher(selector);
  if (matches && !matches(labelled as Record<string, string>)) errors.push(mismatch(labelled));
  return errors;
}

function validateJobUpdate(job: JsonObject, old: JsonObject): FieldError[] {
  const spec = objectAt(job, 'spec');
  const before = objectAt(old, 'spec');
  const errors: FieldError[] = [];
  if (spec.completionMode !== 'Indexed') {
    errors.push(...checkImmutable('spec.completions', spec.completions, before.completions));
  } else if (
    spec.completions !== undefined &&
    spec.completions !== before.completions &&
    spec.completions !== spec.parallelism
  ) {
    const why = 'can only be modified in tandem with spec.parallelism';
    errors.push(invalidValue('spec.completions', spec.completions, why));
  }
  errors.push(...checkImmutable('spec.selector', spec.selector, before.selector));
  errors.push(...validateTemplateChange(spec, before, objectAt(old, 'status')));
  for (const field of [
    'completionMode',
    'podFailurePolicy',
    'backoffLimitPerIndex',
    'managedBy',
    'successPolicy',
  ]) {
    errors.push(...checkImmutable(`spec.${field}`, spec[field], before[field]));
  }
  return errors;
}

/**
 * The template is fixed, but for a Job that is suspended and has no pods: where its pods go and what they need may
 * still change, and their metadata.
 */
function validateTemplateChange(spec: JsonObject, before: JsonObject, status: JsonObject): FieldError[] {
  const next = objectAt(spec, 'template');
  const old = objectAt(before, 'template');
  if (before.suspend !== true || !isAtRest(status)) return checkImmutable('spec.template', next, old);
  const same = jsonEqual(withoutChangeable(objectAt(next, 'spec')), withoutChangeable(objectAt(old, 'spec')));
  return same ? [] : [invalidValue('spec.template.spec', next.spec, 'field is immutable')];
}

/** No pod runs, and the Job never started or was stopped since. */
function isAtRest(status: JsonObject): boolean {
  if ((numberAt(status, 'active') ?? 0) > 0) return false;
  if (status.startTime === undefined) return true;
  return listAt(status, 'conditions').some(
    (condition) => condition.type === 'Suspended' && condition.status === 'True',
  );
}

function withoutChangeable(podSpec: JsonObject): JsonObject {
  const rest = { ...podSpec };
  for (const field of ['nodeSelector', 'tolerations', 'schedulingGates']) delete rest[field];
  const { nodeAffinity: _steered, ...affinity } = objectAt(podSpec, 'affinity');
  if (Object.keys(affinity).length === 0) delete rest.affinity;
  else rest.affinity = affinity;
  for (const field of ['containers', 'initContainers']) {
    if (podSpec[field] === undefined) continue;
    rest[field] = listAt(podSpec, field).map(({ resources: _needed, ...container }) => container);
  }
  return rest;
}

export const cronJobStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (cronJob) => {
    const spec = ensureObject(cronJob, 'spec');
    if (isUnset(spec.concurrencyPolicy)) spec.concurrencyPolicy = 'Allow';
    setDefault(spec, 'suspend', false);
    setDefault(spec, 'successfulJobsHistoryLimit', 3);
    setDefault(spec, 'failedJobsHistoryLimit', 1);
    const job = ensureObject(ensureObject(spec, 'jobTemplate'), 'spec');
    // The defaults of the Job itself are set when it is made.
    defaultTemplate(ensureObject(job, 'template'));
  },
  prepareForCreate: (cronJob) => emptyStatus(cronJob),
  // The Job of that run may be gone soon: nothing else tells that it was started.
  isDecision: (cronJob, old) => differs(cronJob, old, 'lastScheduleTime'),
  validate: validateCronJob,
  validateCreate: validateCronJobName,
  warnings: (cronJob, old) => workloadWarnings(cronJob, old, 'spec.jobTemplate.spec.template'),
  cells: (cronJob, now) => {
    const metadata = objectAt(cronJob, 'metadata');
    const spec = objectAt(cronJob, 'spec');
    const status = objectAt(cronJob, 'status');
    const job = objectAt(objectAt(spec, 'jobTemplate'), 'spec');
    const last = status.lastScheduleTime;
    return [
      stringAt(metadata, 'name'),
      stringAt(spec, 'schedule'),
      stringAt(spec, 'timeZone') || '<none>',
      spec.suspend === true ? 'True' : 'False',
      listAt(status, 'active').length,
      last === undefined ? '<none>' : ageOf(last, now),
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(objectAt(job, 'template')),
      selectorCell(asObject(job.selector)),
    ];
  },
};

/** A Job's name is the CronJob's, a dash and ten digits; pods add to that. */
const LONGEST_NAME = 52;

function validateCronJob(cronJob: JsonObject): FieldError[] {
  const spec = objectAt(cronJob, 'spec');
  const errors: FieldError[] = [];
  const schedule = stringAt(spec, 'schedule');
  if (schedule === '') errors.push(required('spec.schedule'));
  else errors.push(...validateCronSchedule(schedule, 'spec.schedule'));
  errors.push(...checkNonNegative('spec.startingDeadlineSeconds', spec.startingDeadlineSeconds));
  errors.push(...validateTimeZone(spec.timeZone, 'spec.timeZone'));
  errors.push(
    ...checkChoice('spec.concurrencyPolicy', spec.concurrencyPolicy, ['Allow', 'Forbid', 'Replace']),
  );
  const template = objectAt(spec, 'jobTemplate');
  const job = objectAt(template, 'spec');
  errors.push(...validateJobSpec(job, 'spec.jobTemplate.spec', false));
  if (job.selector !== undefined) {
    const why = '`selector` will be auto-generated';
    errors.push(invalidValue('spec.jobTemplate.spec.selector', job.selector, why));
  }
  if (job.manualSelector === true) {
    errors.push(notSupported('spec.jobTemplate.spec.manualSelector', true, ['nil', 'false']));
  }
  errors.push(...checkNonNegative('spec.successfulJobsHistoryLimit', spec.successfulJobsHistoryLimit));
  errors.push(...checkNonNegative('spec.failedJobsHistoryLimit', spec.failedJobsHistoryLimit));
  return errors;
}

function validateCronJobName(cronJob: JsonObject): FieldError[] {
  const name = stringAt(objectAt(cronJob, 'metadata'), 'name');
  const why = `must be no more than ${LONGEST_NAME} characters`;
  return name.length > LONGEST_NAME ? [invalidValue('metadata.name', name, why)] : [];
}
