import { badRequest, type FieldError, invalid } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import type { DeleteRequest, ReadOptions, WatchRequest, WriteOptions } from '../registry/port.ts';
import { isTrue } from './request-info.ts';

type OptionsKind = 'CreateOptions' | 'UpdateOptions' | 'PatchOptions' | 'DeleteOptions' | 'ListOptions';
const LONGEST_FIELD_MANAGER = 128;

function refuse(kind: OptionsKind, errors: FieldError[]): void {
  if (errors.length > 0) throw invalid({ group: 'meta.k8s.io', kind }, '', errors);
}

/** dryRun, fieldValidation and fieldManager out of the query; throws 422 as Kubernetes words it. */
export function writeOptions(query: URLSearchParams, kind: OptionsKind): WriteOptions {
  const validation = query.get('fieldValidation') ?? '';
  const errors = [...checkDryRun(query.getAll('dryRun'))];
  errors.push(...checkFieldManager(query.get('fieldManager') ?? ''));
  if (!['', 'Ignore', 'Strict', 'Warn'].includes(validation)) {
    errors.push(unsupported('fieldValidation', JSON.stringify(validation), ['', 'Ignore', 'Strict', 'Warn']));
  }
  refuse(kind, errors);
  return {
    dryRun: query.getAll('dryRun').includes('All'),
    ...(validation === ''
      ? {}
      : { fieldValidation: validation as NonNullable<WriteOptions['fieldValidation']> }),
  };
}

/** An apply says who applies. */
export function demandFieldManager(query: URLSearchParams): string {
  const manager = query.get('fieldManager') ?? '';
  if (manager === '') {
    refuse('PatchOptions', [
      {
        reason: 'FieldValueRequired',
        field: 'fieldManager',
        message: 'Required value: is required for apply patch',
      },
    ]);
  }
  return manager;
}

/** `force` belongs to apply only. */
export function refuseForce(query: URLSearchParams): void {
  if (query.get('force') === null) return;
  refuse('PatchOptions', [
    {
      reason: 'FieldValueForbidden',
      field: 'force',
      message: 'Forbidden: may not be specified for non-apply patch',
    },
  ]);
}

function checkDryRun(values: readonly string[]): FieldError[] {
  const given = values.filter((value) => value !== '');
  if (given.every((value) => value === 'All')) return [];
  return [unsupported('dryRun', JSON.stringify(given), ['All'])];
}

function checkFieldManager(manager: string): FieldError[] {
  const field = 'fieldManager';
  if (manager.length > LONGEST_FIELD_MANAGER) {
    const message = `Too long: may not be more than ${LONGEST_FIELD_MANAGER} bytes`;
    return [{ reason: 'FieldValueTooLong', field, message }];
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for.
  if (!/[\u0000-\u001f\u007f-\u009f]/.test(manager)) return [];
  const message = `Invalid value: ${JSON.stringify(manager)}: should only contain printable characters`;
  return [{ reason: 'FieldValueInvalid', field, message }];
}

function unsupported(field: string, value: string, supported: readonly string[]): FieldError {
  const list = supported.map((entry) => JSON.stringify(entry)).join(', ');
  return {
    reason: 'FieldValueNotSupported',
    field,
    message: `Unsupported value: ${value}: supported values: ${list}`,
  };
}

/** Who a change is attributed to when no fieldManager is given: the product of the User-Agent. */
export function fieldManagerOf(query: URLSearchParams, userAgent: string | undefined): string {
  const given = query.get('fieldManager');
  if (given) return given;
  return (userAgent ?? '').split('/', 1)[0]?.slice(0, LONGEST_FIELD_MANAGER) || 'unknown';
}

function copyTexts<T extends object>(query: URLSearchParams, names: readonly (keyof T & string)[]): T {
  const result: Partial<Record<string, string>> = {};
  for (const name of names) {
    const value = query.get(name);
    if (value !== null && value !== '') result[name] = value;
  }
  return result as T;
}

/** Options of a list or deletecollection. */
export function readOptions(query: URLSearchParams): ReadOptions {
  const options: ReadOptions = copyTexts(query, [
    'resourceVersion',
    'resourceVersionMatch',
    'labelSelector',
    'fieldSelector',
    'continue',
  ]);
  const limit = integer(query, 'limit');
  if (limit !== undefined && limit > 0) options.limit = limit;
  // Of no use to a list, and still read.
  integer(query, 'timeoutSeconds');
  checkListMatch(options, query);
  if (
    options.resourceVersion !== undefined &&
    options.resourceVersion !== '0' &&
    options.continue !== undefined
  ) {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  return options;
}

export function watchOptions(query: URLSearchParams): WatchRequest & { timeoutSeconds: number | undefined } {
  const initial = query.get('sendInitialEvents');
  const request: WatchRequest = {
    ...copyTexts<WatchRequest>(query, [
      'resourceVersion',
      'resourceVersionMatch',
      'labelSelector',
      'fieldSelector',
    ] as (keyof WatchRequest & string)[]),
    allowWatchBookmarks: isTrue(query.get('allowWatchBookmarks')),
    ...(initial === null ? {} : { sendInitialEvents: isTrue(initial) }),
  };
  checkWatchMatch(request, query);
  return { ...request, timeoutSeconds: integer(query, 'timeoutSeconds') };
}

const MATCH = 'resourceVersionMatch';
const forbidden = (field: string, why: string): FieldError => ({
  reason: 'FieldValueForbidden',
  field,
  message: `Forbidden: ${why}`,
});

/** As ValidateListOptions of apimachinery, of a list. */
function checkListMatch(options: ReadOptions, query: URLSearchParams): void {
  const { resourceVersion, resourceVersionMatch: match } = options;
  const errors: FieldError[] = [];
  if (match !== undefined) {
    if (resourceVersion === undefined) {
      errors.push(forbidden(MATCH, 'resourceVersionMatch is forbidden unless resourceVersion is provided'));
    }
    if (options.continue !== undefined) {
      errors.push(forbidden(MATCH, 'resourceVersionMatch is forbidden when continue is provided'));
    }
    if (match !== 'Exact' && match !== 'NotOlderThan') {
      errors.push(unsupported(MATCH, JSON.stringify(match), ['Exact', 'NotOlderThan', '']));
    }
    if (match === 'Exact' && resourceVersion === '0') {
      errors.push(forbidden(MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'));
    }
  }
  if (query.has('sendInitialEvents')) {
    errors.push(forbidden('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  }
  refuse('ListOptions', errors);
}

/** As ValidateListOptions of apimachinery, of a watch. */
function checkWatchMatch(
  { resourceVersionMatch: match, sendInitialEvents }: WatchRequest,
  query: URLSearchParams,
): void {
  const errors: FieldError[] = [];
  if (sendInitialEvents !== undefined && match !== 'NotOlderThan') {
    const why = 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan';
    errors.push(forbidden(MATCH, why));
  }
  if (match !== undefined) {
    if (sendInitialEvents === undefined) {
      const why = 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided';
      errors.push(forbidden(MATCH, why));
    }
    if (match !== 'NotOlderThan') {
      errors.push(unsupported(MATCH, JSON.stringify(match), ['NotOlderThan']));
    }
    if (query.get('continue')) {
      errors.push(forbidden(MATCH, 'resourceVersionMatch is forbidden when continue is provided'));
    }
  }
  refuse('ListOptions', errors);
}

function integer(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^[+-]?\d+$/.test(text)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  return Number(text);
}

const POLICIES = ['Foreground', 'Background', 'Orphan'];

/** DeleteOptions out of the body, if there is one, else out of the query. */
export function deleteOptions(query: URLSearchParams, body: JsonObject | undefined): DeleteRequest {
  const source = body ?? queryAsDeleteOptions(query);
  if (body) checkDeleteTypes(body);
  const { gracePeriodSeconds, propagationPolicy: policy, orphanDependents, preconditions, dryRun } = source;
  const errors = checkDryRun((dryRun as string[] | undefined) ?? []);
  if (typeof policy === 'string' && !POLICIES.includes(policy)) {
    errors.push(unsupported('propagationPolicy', JSON.stringify(policy), [...POLICIES, 'nil']));
  }
  if (typeof policy === 'string' && typeof orphanDependents === 'boolean') {
    errors.push({
      reason: 'FieldValueInvalid',
      field: 'propagationPolicy',
      message: `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
    });
  }
  refuse('DeleteOptions', errors);
  const dry =
    ((dryRun as string[] | undefined) ?? []).includes('All') || query.getAll('dryRun').includes('All');
  return {
    dryRun: dry,
    ...(typeof gracePeriodSeconds === 'number' ? { gracePeriodSeconds } : {}),
    ...(typeof policy === 'string' ? { propagationPolicy: policy } : {}),
    ...(typeof orphanDependents === 'boolean' ? { orphanDependents } : {}),
    ...(preconditions ? { preconditions: preconditions as { uid?: string; resourceVersion?: string } } : {}),
  };
}

function queryAsDeleteOptions(query: URLSearchParams): JsonObject {
  const grace = integer(query, 'gracePeriodSeconds');
  const policy = query.get('propagationPolicy');
  const orphan = query.get('orphanDependents');
  return {
    dryRun: query.getAll('dryRun'),
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    ...(policy ? { propagationPolicy: policy } : {}),
    ...(orphan ? { orphanDependents: isTrue(orphan) } : {}),
  };
}

const DELETE_FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  gracePeriodSeconds: (value) => Number.isSafeInteger(value),
  propagationPolicy: (value) => typeof value === 'string',
  orphanDependents: (value) => typeof value === 'boolean',
  dryRun: (value) => Array.isArray(value) && value.every((entry) => typeof entry === 'string'),
  preconditions: (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((entry) => entry === null || typeof entry === 'string'),
};

function checkDeleteTypes(body: JsonObject): void {
  const kind = body.kind;
  if (kind !== undefined && kind !== '' && kind !== 'DeleteOptions') {
    // The options of deletions are of a scheme of their own, which Kubernetes names by its source.
    const version = body.apiVersion || 'meta.k8s.io/v1';
    throw badRequest(
      `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(version)} in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"`,
    );
  }
  for (const [name, isGood] of Object.entries(DELETE_FIELDS)) {
    const value = body[name];
    if (value !== undefined && value !== null && !isGood(value)) {
      throw badRequest(`DeleteOptions cannot be handled: the field ${name} has a value of the wrong type`);
    }
  }
}
