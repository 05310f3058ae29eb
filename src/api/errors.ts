import type { Status, StatusCause } from './types/meta-v1.ts';

/** The reasons of metav1.Status that this server answers with, each with its HTTP status code. */
export const STATUS_CODES = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Gone: 410,
  Expired: 410,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  Invalid: 422,
  TooManyRequests: 429,
  InternalError: 500,
  ServiceUnavailable: 503,
  Timeout: 504,
  ServerTimeout: 500,
} as const;

export type StatusReason = keyof typeof STATUS_CODES;

/** An error that the API answers with: it carries the whole metav1.Status. The only error type callers need to tell apart. */
export class StatusError extends Error {
  readonly status: Status & { code: number; message: string };

  constructor(reason: StatusReason | '', code: number, message: string, details?: Status['details']) {
    super(message);
    this.name = 'StatusError';
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      ...(reason === '' ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    } as StatusError['status'];
  }

  get reason(): string {
    return this.status.reason ?? '';
  }

  get code(): number {
    return this.status.code;
  }
}

export function hasReason(error: unknown, reason: StatusReason): boolean {
  return error instanceof StatusError && error.reason === reason;
}
export const isNotFound = (error: unknown): boolean => hasReason(error, 'NotFound');
export const isConflict = (error: unknown): boolean => hasReason(error, 'Conflict');
export const isAlreadyExists = (error: unknown): boolean => hasReason(error, 'AlreadyExists');
/** The watch or continue token reaches further back than history does: list again. */
export const isExpired = (error: unknown): boolean => hasReason(error, 'Expired') || hasReason(error, 'Gone');

interface Subject {
  group: string;
  resource: string;
}
const written = ({ group, resource }: Subject): string => (group === '' ? resource : `${resource}.${group}`);
// Status.details.kind holds the resource's plural, except for Invalid, which holds the Kind: so does Kubernetes.
const details = (subject: Subject, name: string): Status['details'] => ({
  ...(name === '' ? {} : { name }),
  ...(subject.group === '' ? {} : { group: subject.group }),
  kind: subject.resource,
});

export function notFound(subject: Subject, name: string): StatusError {
  return new StatusError('NotFound', 404, `${written(subject)} "${name}" not found`, details(subject, name));
}

export function alreadyExists(subject: Subject, name: string): StatusError {
  return new StatusError(
    'AlreadyExists',
    409,
    `${written(subject)} "${name}" already exists`,
    details(subject, name),
  );
}

export function conflict(subject: Subject, name: string, why: string): StatusError {
  return new StatusError(
    'Conflict',
    409,
    `Operation cannot be fulfilled on ${written(subject)} "${name}": ${why}`,
    details(subject, name),
  );
}

/** The sentence Kubernetes uses for a lost optimistic lock. */
export const OBJECT_MODIFIED =
  'the object has been modified; please apply your changes to the latest version and try again';

export function forbidden(subject: Subject, name: string, why: string): StatusError {
  const what =
    name === '' ? `${written(subject)} is forbidden` : `${written(subject)} "${name}" is forbidden`;
  return new StatusError('Forbidden', 403, `${what}: ${why}`, details(subject, name));
}

export function badRequest(message: string): StatusError {
  return new StatusError('BadRequest', 400, message);
}

export function expired(message: string): StatusError {
  return new StatusError('Expired', 410, message);
}

export function internalError(message: string): StatusError {
  return new StatusError('InternalError', 500, `Internal error occurred: ${message}`, {
    causes: [{ message }],
  });
}

/** One failed rule of validation, as field.Error of apimachinery: `reason` is a cause type such as FieldValueRequired. */
export interface FieldError {
  reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueDuplicate'
    | 'FieldValueNotFound'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany'
    | 'FieldValueTypeInvalid'
    | 'InternalError';
  field: string;
  /** The message without the field: `Required value: name is required`. */
  message: string;
}

/** 422 with every cause, worded as apimachinery's NewInvalid does. */
export function invalid(
  kind: { group: string; kind: string },
  name: string,
  errors: readonly FieldError[],
): StatusError {
  const causes: StatusCause[] = errors.map(({ reason, field, message }) => ({ reason, message, field }));
  const texts = [...new Set(errors.map(({ field, message }) => `${field}: ${message}`))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const qualified = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  return new StatusError('Invalid', 422, `${qualified} "${name}" is invalid: ${list}`, {
    ...(name === '' ? {} : { name }),
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes,
  });
}
