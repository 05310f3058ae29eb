import { RuntimeError, type RuntimeErrorCode } from '../runtime.ts';

/** The text that Docker itself sent, without docker-modem's frame around it. */
export function engineMessage(error: unknown): string {
  const { json, message } = error as { json?: unknown; message?: string };
  if (json && typeof json === 'object' && 'message' in json) return String(json.message);
  return (message ?? String(error)).replace(/^\(HTTP code \d+\) [a-z ]* - /, '').trim();
}

/** What went wrong, as a code the pod's status can be computed from, with the engine's own words. */
export function toRuntimeError(error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error;
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  const message = engineMessage(error);
  if (code && CONNECTION_CODES.has(code)) {
    return new RuntimeError('Unavailable', `Cannot connect to the Docker daemon: ${message}`);
  }
  return new RuntimeError(classify(statusCode, message), message);
}

const CONNECTION_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EPIPE', 'EACCES', 'ENOTSOCK']);

/** First match wins: the texts are Docker's, the status alone is too coarse (500 for nearly everything). */
const BY_TEXT: readonly [RegExp, RuntimeErrorCode][] = [
  [/no such image|manifest .*unknown|pull access denied|repository .* not found/i, 'ImageNotFound'],
  [
    /no matching manifest|does not match the (specified|detected) (host )?platform|exec format error/i,
    'ImageArchitecture',
  ],
  [
    /executable file not found|no such file or directory: unknown|permission denied: unknown/i,
    'CommandNotFound',
  ],
  [/is already in use by container/i, 'NameConflict'],
  [/no such container|no such exec instance/i, 'NotFound'],
];

function classify(statusCode: number | undefined, message: string): RuntimeErrorCode {
  for (const [pattern, code] of BY_TEXT) if (pattern.test(message)) return code;
  if (statusCode === 404) return 'NotFound';
  if (statusCode === 400) return 'InvalidSpec';
  if (statusCode === 503) return 'Unavailable';
  return 'Other';
}
