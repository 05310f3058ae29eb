import type { IncomingMessage } from 'node:http';
import { microTimestamp } from '../../lib/clock.ts';
import type { UserInfo } from '../registry/port.ts';
import type { RequestInfo } from './request-info.ts';

/** What is known of a request when it is answered (or, for a stream, begun). */
export interface AuditedRequest {
  id: string;
  method: string;
  info: RequestInfo | undefined;
  request: IncomingMessage;
  /** Whose credentials they are; undefined: nobody's. */
  user: UserInfo | undefined;
  /** Whom they act for. */
  effective: UserInfo | undefined;
  code: number;
  /** Of a refusal. */
  reason?: string | undefined;
  message?: string | undefined;
  /** Said by admission: policies' audit annotations, Pod Security's findings. */
  annotations: ReadonlyMap<string, string>;
  /** Milliseconds since 1970. */
  receivedAt: number;
  now: number;
  stage: 'ResponseStarted' | 'ResponseComplete';
}

/** Asked for by machines all the time, and of no interest to anybody who reads an audit log. */
const QUIET_PATHS = /^\/(?:healthz|livez|readyz|metrics|version|openapi|apis?$|apis?\/[^/]*\/?[^/]*$)/;
const QUIET_RESOURCES = new Set(['events', 'leases']);

/** The policy: everything at level Metadata (no bodies, so no Secrets), but for what would drown it. */
export function isAudited({ info, user, code }: AuditedRequest): boolean {
  if (code === 401 || code === 403) return true;
  if (info === undefined) return true;
  if (info.kind === 'path')
    return !QUIET_PATHS.test(info.path) && info.verb !== 'get' && info.verb !== 'head';
  if (QUIET_RESOURCES.has(info.resource)) return false;
  const isNode = user?.groups.includes('system:nodes') === true;
  return !(isNode && ['get', 'list', 'watch'].includes(info.verb));
}

/** An Event of audit.k8s.io/v1 at level Metadata. */
export function auditEvent(audited: AuditedRequest): object {
  const { id, method, info, request, user, effective, code, reason, message, receivedAt, now, stage } =
    audited;
  const { socket, headers, url } = request;
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'Metadata',
    auditID: id,
    stage,
    requestURI: url ?? '',
    verb: info?.verb ?? method.toLowerCase(),
    user: userOf(user),
    ...(effective && user && effective.name !== user.name ? { impersonatedUser: userOf(effective) } : {}),
    ...(socket.remoteAddress === undefined ? {} : { sourceIPs: [socket.remoteAddress] }),
    ...(headers['user-agent'] === undefined ? {} : { userAgent: headers['user-agent'] }),
    ...(info?.kind === 'resource' ? { objectRef: objectRef(info) } : {}),
    responseStatus: {
      metadata: {},
      ...(code >= 400 ? { status: 'Failure' } : {}),
      ...(message === undefined ? {} : { message }),
      ...(reason === undefined || reason === '' ? {} : { reason }),
      code,
    },
    requestReceivedTimestamp: microTimestamp(receivedAt),
    stageTimestamp: microTimestamp(now),
    ...(user
      ? {
          annotations: {
            'authorization.k8s.io/decision': code === 403 ? 'forbid' : 'allow',
            ...Object.fromEntries(audited.annotations),
          },
        }
      : {}),
  };
}

function userOf(user: UserInfo | undefined): object {
  if (!user) return {};
  const { name, uid, groups, extra } = user;
  return {
    username: name,
    ...(uid === undefined || uid === '' ? {} : { uid }),
    groups,
    ...(extra === undefined ? {} : { extra }),
  };
}

function objectRef(info: Extract<RequestInfo, { kind: 'resource' }>): object {
  const { resource, namespace, name, group, version, subresource } = info;
  const given = Object.entries({
    resource,
    namespace,
    name,
    apiGroup: group,
    apiVersion: version,
    subresource,
  });
  return Object.fromEntries(given.filter(([, value]) => value !== ''));
}
