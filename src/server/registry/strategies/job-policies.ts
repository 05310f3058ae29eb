// What a Job says of pods that fail and of indexes that are enough, and its other rules that go together.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkName,
  duplicate,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  stringAt,
  tooLong,
  tooMany,
} from '../../../api/validation.ts';

const MOST_INDEXED_PARALLEL = 100_000;
const MOST_INDEXES_WITH_LIMITS = 100_000;
const MOST_MANAGED_BY = 63;

/** How many indexes there may be, and how many at a time. */
export function validateIndexed(spec: JsonObject, path: string): FieldError[] {
  if (spec.completionMode !== 'Indexed') return [];
  const errors: FieldError[] = [];
  const atMost = (field: string, most: number, why: string): void => {
    const value = numberAt(spec, field);
    if (value !== undefined && value > most) {
      errors.push(invalidValue(`${path}.${field}`, value, `must be less than or equal to ${most}${why}`));
    }
  };
  atMost('parallelism', MOST_INDEXED_PARALLEL, ' when completion mode is Indexed');
  const completions = numberAt(spec, 'completions');
  const allowed = numberAt(spec, 'maxFailedIndexes');
  if (completions !== undefined && allowed !== undefined && allowed > completions) {
    const why = 'must be less than or equal to completions';
    errors.push(invalidValue(`${path}.maxFailedIndexes`, allowed, why));
  }
  if (allowed !== undefined && allowed > MOST_INDEXES_WITH_LIMITS) {
    atMost('maxFailedIndexes', MOST_INDEXES_WITH_LIMITS, '');
  }
  return errors;
}

/** `example.com/controller`, as long as a label. */
export function validateManagedBy(value: unknown, field: string): FieldError[] {
  if (typeof value !== 'string') return [];
  if (value === '') return [required(field)];
  const slash = value.indexOf('/');
  const domain = value.slice(0, slash);
  const rest = value.slice(slash + 1);
  if (slash <= 0 || rest === '') {
    return [invalidValue(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  }
  const errors = checkName(field, domain, dnsSubdomain);
  if (!/^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/.test(rest)) {
    errors.push(
      invalidValue(
        field,
        rest,
        "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
      ),
    );
  }
  if (value.length > MOST_MANAGED_BY) {
    errors.push(tooLong(field, MOST_MANAGED_BY));
  }
  return errors;
}

const MOST_RULES = 20;
const MOST_EXIT_CODES = 255;
const MOST_CONDITIONS = 20;
const ACTIONS = ['Count', 'FailIndex', 'FailJob', 'Ignore'];

export function validateFailurePolicy(spec: JsonObject, path: string): FieldError[] {
  const policy = asObject(spec.podFailurePolicy);
  if (!policy) return [];
  const field = `${path}.podFailurePolicy.rules`;
  const rules = listAt(policy, 'rules');
  const errors: FieldError[] = [];
  if (rules.length > MOST_RULES) errors.push(tooMany(field, rules.length, MOST_RULES));
  const podSpec = objectAt(objectAt(spec, 'template'), 'spec');
  const containers = new Set(
    [...listAt(podSpec, 'containers'), ...listAt(podSpec, 'initContainers')].map(({ name }) => name),
  );
  rules.forEach((rule, index) => {
    errors.push(...validateFailureRule(rule, `${field}[${index}]`, spec, containers));
  });
  return errors;
}

function validateFailureRule(
  rule: JsonObject,
  path: string,
  spec: JsonObject,
  containers: ReadonlySet<unknown>,
): FieldError[] {
  const errors: FieldError[] = [];
  const action = stringAt(rule, 'action');
  if (action === '') errors.push(required(`${path}.action`, `valid values: ${listed(ACTIONS)}`));
  else if (action === 'FailIndex' && spec.backoffLimitPerIndex === undefined) {
    errors.push(invalidValue(`${path}.action`, action, 'requires the backoffLimitPerIndex to be set'));
  } else if (!ACTIONS.includes(action)) errors.push(notSupported(`${path}.action`, action, ACTIONS));
  const codes = asObject(rule.onExitCodes);
  if (codes) errors.push(...validateExitCodes(codes, `${path}.onExitCodes`, containers));
  const conditions = listAt(rule, 'onPodConditions');
  if (conditions.length > 0) {
    errors.push(...validateConditions(conditions, `${path}.onPodConditions`));
  }
  if (codes && conditions.length > 0) {
    const why = 'specifying both OnExitCodes and OnPodConditions is not supported';
    errors.push(malformed(path, why));
  }
  if (!codes && conditions.length === 0) {
    errors.push(malformed(path, 'specifying one of OnExitCodes and OnPodConditions is required'));
  }
  return errors;
}

function validateExitCodes(codes: JsonObject, path: string, containers: ReadonlySet<unknown>): FieldError[] {
  const errors: FieldError[] = [];
  const operators = ['In', 'NotIn'];
  if (isUnset(codes.operator)) {
    errors.push(required(`${path}.operator`, `valid values: ${listed(operators)}`));
  } else if (!operators.includes(codes.operator as string)) {
    errors.push(notSupported(`${path}.operator`, codes.operator, operators));
  }
  const name = stringAt(codes, 'containerName');
  if (name !== '' && !containers.has(name)) {
    const why = 'must be one of the container or initContainer names in the pod template';
    errors.push(invalidValue(`${path}.containerName`, name, why));
  }
  const values = Array.isArray(codes.values) ? codes.values : [];
  if (values.length === 0) {
    errors.push(invalidValue(`${path}.values`, values, 'at least one value is required'));
  } else if (values.length > MOST_EXIT_CODES) {
    errors.push(tooMany(`${path}.values`, values.length, MOST_EXIT_CODES));
  }
  const seen = new Set<unknown>();
  let last = Number.NEGATIVE_INFINITY;
  let ordered = true;
  values.forEach((value, index) => {
    if (value === 0 && codes.operator === 'In') {
      errors.push(invalidValue(`${path}.values[${index}]`, value, 'must not be 0 for the In operator'));
    }
    if (seen.has(value)) errors.push(duplicate(`${path}.values[${index}]`, value));
    else seen.add(value);
    if ((value as number) < last) ordered = false;
    last = value as number;
  });
  if (!ordered) errors.push(invalidValue(`${path}.values`, values, 'must be ordered'));
  return errors;
}

function validateConditions(conditions: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (conditions.length > MOST_CONDITIONS) {
    errors.push(tooMany(field, conditions.length, MOST_CONDITIONS));
  }
  const statuses = ['False', 'True', 'Unknown'];
  conditions.forEach((condition, index) => {
    const at = `${field}[${index}]`;
    errors.push(...checkName(`${at}.type`, stringAt(condition, 'type'), qualifiedName));
    const status = stringAt(condition, 'status');
    if (status === '') errors.push(required(`${at}.status`, `valid values: ${listed(statuses)}`));
    else if (!statuses.includes(status)) errors.push(notSupported(`${at}.status`, status, statuses));
  });
  return errors;
}

const MOST_SUCCESS_RULES = 20;
const LONGEST_INDEXES = 65_536;

export function validateSuccessPolicy(spec: JsonObject, path: string): FieldError[] {
  const policy = asObject(spec.successPolicy);
  if (!policy) return [];
  if (spec.completionMode !== 'Indexed') {
    return [invalidValue(`${path}.successPolicy`, policy, 'requires indexed completion mode')];
  }
  const field = `${path}.successPolicy.rules`;
  const rules = listAt(policy, 'rules');
  const errors: FieldError[] = [];
  if (rules.length === 0)
    errors.push(required(field, 'at least one rules must be specified for the successPolicy'));
  if (rules.length > MOST_SUCCESS_RULES) errors.push(tooMany(field, rules.length, MOST_SUCCESS_RULES));
  const completions = numberAt(spec, 'completions') ?? 0;
  rules.forEach((rule, index) => {
    errors.push(...validateSuccessRule(rule, `${field}[${index}]`, completions));
  });
  return errors;
}

function validateSuccessRule(rule: JsonObject, path: string, completions: number): FieldError[] {
  const count = numberAt(rule, 'succeededCount');
  const indexes = rule.succeededIndexes;
  if (count === undefined && indexes === undefined) {
    return [required(path, 'at least one of succeededCount or succeededIndexes must be specified')];
  }
  const errors: FieldError[] = [];
  let total: number | undefined;
  if (typeof indexes === 'string') {
    const field = `${path}.succeededIndexes`;
    if (indexes.length > LONGEST_INDEXES) errors.push(tooLong(field, LONGEST_INDEXES));
    const counted = countIndexes(indexes, completions);
    if (typeof counted === 'string') {
      errors.push(invalidValue(field, indexes, `error parsing succeededIndexes: ${counted}`));
    } else {
      total = counted;
    }
  }
  if (count !== undefined) {
    const field = `${path}.succeededCount`;
    if (count < 1) errors.push(invalidValue(field, count, 'must be greater than 0'));
    if (count > completions) {
      const why = `must be less than or equal to ${completions} (the number of specified completions)`;
      errors.push(invalidValue(field, count, why));
    }
    if (total !== undefined && count > total) {
      const why = `must be less than or equal to ${total} (the number of indexes in the specified succeededIndexes field)`;
      errors.push(invalidValue(field, count, why));
    }
  }
  return errors;
}

/** How many indexes `1,3-5` names, or what is wrong with it. */
export function countIndexes(text: string, completions: number): number | string {
  if (text === '') return 0;
  let total = 0;
  let last = -1;
  for (const part of text.split(',')) {
    const limits = part.split('-');
    const [first = '', second = first] = limits;
    if (limits.length > 2 || ![first, second].every((limit) => /^\d+$/.test(limit))) {
      const bad = [first, second].find((limit) => !/^\d+$/.test(limit)) ?? part;
      return limits.length > 2
        ? `the fragment ${JSON.stringify(part)} violates the requirement that an index interval can have at most two parts separated by '-'`
        : `cannot convert string to integer for index: ${JSON.stringify(bad)}`;
    }
    const [from, to] = [Number(first), Number(second)];
    if (from >= completions) return `too large index: ${JSON.stringify(first)}`;
    if (to >= completions) return `too large index: ${JSON.stringify(second)}`;
    if (last >= from) return `non-increasing order, previous: ${last}, current: ${from}`;
    if (to < from) return `non-increasing order, previous: ${from}, current: ${to}`;
    total += to - from + 1;
    last = to;
  }
  return total;
}

/** As Go's %q writes a list. */
const listed = (choices: readonly string[]): string =>
  `[${choices.map((choice) => JSON.stringify(choice)).join(' ')}]`;

/** A value that is too much to be told. */
const malformed = (field: string, why: string): FieldError => ({
  reason: 'FieldValueInvalid',
  field,
  message: `Invalid value: ${why}`,
});
