// How an admission plugin refuses.
import { forbidden, type StatusError } from '../../api/errors.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { AdmissionRequest } from './port.ts';

/** 403 about the request's object, which may have no name yet. */
export function refuse(request: AdmissionRequest, why: string): StatusError {
  return forbidden(request.target.info, subjectName(request), why);
}

export function subjectName({ target, object }: AdmissionRequest): string {
  if (target.name) return target.name;
  const metadata = objectAt(object, 'metadata');
  return stringAt(metadata, 'name') || stringAt(metadata, 'generateName') || 'Unknown';
}

/** Several reasons as apimachinery's Aggregate writes them. */
export function listed(reasons: readonly string[]): string {
  const unique = [...new Set(reasons)];
  return unique.length === 1 ? (unique[0] ?? '') : `[${unique.join(', ')}]`;
}
