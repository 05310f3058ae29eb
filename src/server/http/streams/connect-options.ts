// exec, attach and portforward as admission sees them: a CONNECT with the options of the query as an object.
import { badRequest } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { flag } from './logs.ts';

const KINDS: Readonly<Record<string, string>> = {
  exec: 'PodExecOptions',
  attach: 'PodAttachOptions',
  portforward: 'PodPortForwardOptions',
};

/** Undefined for a subresource of pods that is read (log) and not connected to. Throws 400 for a port that is none. */
export function connectOptions(subresource: string, query: URLSearchParams): JsonObject | undefined {
  const kind = KINDS[subresource];
  if (kind === undefined) return undefined;
  const type = { kind, apiVersion: 'v1' };
  if (subresource === 'portforward') {
    const ports = query
      .getAll('ports')
      .flatMap((text) => text.split(','))
      .map(portOf);
    return { ...type, ...(ports.length > 0 ? { ports } : {}) };
  }
  const container = query.get('container') ?? '';
  const flags = ['stdin', 'stdout', 'stderr', 'tty'].filter((name) => flag(query, name));
  return {
    ...type,
    ...Object.fromEntries(flags.map((name) => [name, true])),
    ...(container === '' ? {} : { container }),
    ...(subresource === 'exec' ? { command: query.getAll('command') } : {}),
  };
}

function portOf(text: string): number {
  if (!/^[+-]?\d{1,10}$/.test(text)) throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  return Number(text);
}
