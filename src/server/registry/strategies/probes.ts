// Probes and lifecycle handlers.
import type { FieldError } from '../../../api/errors.ts';
import { portName, portNumber } from '../../../api/names.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkNonNegative,
  forbiddenField,
  invalidValue,
  listAt,
  numberAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';

export function defaultHandler(handler: JsonObject): void {
  const http = asObject(handler.httpGet);
  if (http) {
    if (stringAt(http, 'path') === '') http.path = '/';
    if (stringAt(http, 'scheme') === '') http.scheme = 'HTTP';
  }
  const grpc = asObject(handler.grpc);
  if (grpc) setDefault(grpc, 'service', '');
}

const HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'];

export function validateHandler(handler: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  let given = 0;
  for (const kind of HANDLERS) {
    const action = asObject(handler[kind]);
    if (!action) continue;
    given += 1;
    if (given > 1) {
      errors.push(forbiddenField(`${path}.${kind}`, 'may not specify more than 1 handler type'));
    } else {
      errors.push(...validateAction(kind, action, `${path}.${kind}`));
    }
  }
  if (given === 0) errors.push(required(path, 'must specify a handler type'));
  return errors;
}

function validateAction(kind: string, action: JsonObject, path: string): FieldError[] {
  switch (kind) {
    case 'exec':
      return stringsAt(action, 'command').length === 0 ? [required(`${path}.command`)] : [];
    case 'httpGet':
      return [
        ...(stringAt(action, 'path') === '' ? [required(`${path}.path`)] : []),
        ...validatePort(action.port, `${path}.port`),
        ...checkChoice(`${path}.scheme`, action.scheme, ['HTTP', 'HTTPS']),
        ...listAt(action, 'httpHeaders').flatMap((header) => validateHeaderName(header, path)),
      ];
    case 'tcpSocket':
      return validatePort(action.port, `${path}.port`);
    case 'grpc':
      return validatePort(action.port, `${path}.port`);
    default:
      return [];
  }
}

/** A hook that outlasts the grace period would be cut off. */
export function validateSleep(handler: JsonObject, field: string, grace: number | undefined): FieldError[] {
  const action = asObject(handler.sleep);
  if (!action || grace === undefined) return [];
  const seconds = numberAt(action, 'seconds') ?? 0;
  if (seconds >= 0 && seconds <= grace) return [];
  const rule = `must be non-negative and less than terminationGracePeriodSeconds (${grace})`;
  return [invalidValue(field, seconds, rule)];
}

function validateHeaderName(header: JsonObject, path: string): FieldError[] {
  const name = stringAt(header, 'name');
  return /^[-A-Za-z0-9]+$/.test(name)
    ? []
    : [
        invalidValue(
          `${path}.httpHeaders`,
          name,
          "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
        ),
      ];
}

/** A number or the name of a container's port. */
export function validatePort(port: Json | undefined, field: string): FieldError[] {
  if (typeof port === 'string') return portName(port).map((rule) => invalidValue(field, port, rule));
  return portNumber(typeof port === 'number' ? port : 0).map((rule) => invalidValue(field, port ?? 0, rule));
}

export function validateProbe(probe: JsonObject, path: string, kind: string): FieldError[] {
  const errors = validateHandler(probe, path);
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ]) {
    errors.push(...checkNonNegative(`${path}.${field}`, probe[field]));
  }
  const grace = numberAt(probe, 'terminationGracePeriodSeconds');
  if (grace !== undefined && grace <= 0) {
    errors.push(invalidValue(`${path}.terminationGracePeriodSeconds`, grace, 'must be greater than 0'));
  }
  if (kind === 'readinessProbe') {
    if (grace !== undefined) {
      errors.push(
        invalidValue(`${path}.terminationGracePeriodSeconds`, grace, 'must not be set for readinessProbes'),
      );
    }
  } else if ((numberAt(probe, 'successThreshold') ?? 1) !== 1) {
    errors.push(invalidValue(`${path}.successThreshold`, probe.successThreshold, 'must be 1'));
  }
  return errors;
}
