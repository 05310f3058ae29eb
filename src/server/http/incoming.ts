// What a request says of itself, before anything is known of what it asks for.
import type { IncomingMessage } from 'node:http';
import { badRequest } from '../../api/errors.ts';
import type { RequestContext, UserInfo } from '../registry/port.ts';
import { parseRequest, type RequestInfo, type ResourceRequest } from './request-info.ts';
import { fieldManagerOf } from './request-options.ts';

export const STREAMED = ['log', 'exec', 'attach', 'portforward'] as const;
export const NOBODY: UserInfo = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/**
 * A WebSocket opens with GET, but a right to read pods/exec is not one to run commands: authorised as `create`, as
 * Kubernetes does since 1.35.
 */
export function asConnect(info: ResourceRequest): ResourceRequest {
  const running = ['exec', 'attach', 'portforward'].includes(info.subresource);
  return running && info.verb === 'get' ? { ...info, verb: 'create' } : info;
}

export function matchesRoute(route: string, path: string): boolean {
  return route.endsWith('/') ? path.startsWith(route) && path.length > route.length : path === route;
}

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** No request came in time. Such a client is let go without a word, as by Go's server: kubectl keeps spare connections. */
export function isSilence(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
}

export function readUrl(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  if (!path.startsWith('/')) throw badRequest('the request has no path');
  return { path, query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)) };
}

export function parse(method: string, path: string, query: URLSearchParams): RequestInfo {
  try {
    return parseRequest(method, path, query);
  } catch {
    throw badRequest('the path is not valid percent-encoding');
  }
}

/** The client may name its request, for finding it in logs; anything odd is ignored. */
export function auditId(request: IncomingMessage): string | undefined {
  const given = request.headers['audit-id'];
  return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : undefined;
}

export function makeContext(
  user: UserInfo,
  requestId: string,
  warnings: string[],
  request: IncomingMessage,
  query: URLSearchParams,
  demandCreate: (() => void) | undefined,
  annotations: Map<string, string>,
): RequestContext {
  return {
    user,
    requestId,
    ...(demandCreate === undefined ? {} : { demandCreate }),
    warn: (text) => {
      if (!warnings.includes(text)) warnings.push(text);
    },
    // As Kubernetes: the first who says something under a key has said it.
    annotate: (key, value) => {
      if (!annotations.has(key)) annotations.set(key, value);
    },
    fieldManager: fieldManagerOf(query, request.headers['user-agent']),
  };
}
