import type { IncomingMessage } from 'node:http';
import { cloneJson, type Json, type JsonObject } from '../../api/object.ts';
import { asObject, listAt, objectAt, stringAt } from '../../api/validation.ts';
import { microTimestamp } from '../../lib/clock.ts';
import type { UserInfo } from '../registry/port.ts';
import type { RequestInfo } from './request-info.ts';

export type Level = 'None' | 'Metadata' | 'Request' | 'RequestResponse';
export type Stage = 'RequestReceived' | 'ResponseStarted' | 'ResponseComplete' | 'Panic';

/** How one request is told of. */
export interface AuditRule {
  readonly level: Level;
  readonly omitStages: ReadonlySet<string>;
  /** In the objects of the request and of the answer. */
  readonly omitManagedFields: boolean;
}

/** What is kept of the bodies of one request until its event is written. */
export class AuditedBodies {
  /** Of what a POST makes, once that is known. */
  name = '';
  request: unknown;
  response: unknown;
  private readonly rule: AuditRule;

  constructor(rule: AuditRule) {
    this.rule = rule;
  }

  get wantsResponse(): boolean {
    return this.rule.level === 'RequestResponse';
  }

  /** As it came: admission and defaults change the object that is handed on, so this keeps a copy. */
  keepRequest(object: unknown): void {
    this.name = stringAt(objectAt(asObject(object as Json), 'metadata'), 'name');
    if (this.rule.level === 'Request' || this.wantsResponse) this.request = this.shown(cloneJson(object));
  }

  keepResponse(object: object): void {
    if (this.wantsResponse) this.response = this.shown(object);
  }

  private shown(object: unknown): unknown {
    const given = asObject(object as Json);
    if (!given || !this.rule.omitManagedFields) return object;
    const items = Array.isArray(given.items) ? { items: listAt(given, 'items').map(withoutOwners) } : {};
    return { ...withoutOwners(given), ...items };
  }
}

function withoutOwners(object: JsonObject): JsonObject {
  const metadata = asObject(object.metadata);
  if (metadata?.managedFields === undefined) return object;
  const { managedFields: _, ...others } = metadata;
  return { ...object, metadata: others };
}

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
  stage: Stage;
  /** Of the policy; undefined: copepod's own. */
  rule?: AuditRule | undefined;
  bodies?: AuditedBodies | undefined;
}

/** Asked for by machines all the time, and of no interest to anybody who reads an audit log. */
const QUIET_PATHS = /^\/(?:healthz|livez|readyz|metrics|version|openapi|apis?$|apis?\/[^/]*\/?[^/]*$)/;
const QUIET_RESOURCES = new Set(['events', 'leases']);

/** What holds without a policy: one event a request, and for a stream one at each of its ends. */
export const OWN_RULE: AuditRule = {
  level: 'Metadata',
  omitStages: new Set(['RequestReceived']),
  omitManagedFields: false,
};

/** What holds without a policy: everything at level Metadata (no bodies, so no Secrets), but for what would drown it. */
export function isAudited({ info, user, code }: AuditedRequest): boolean {
  if (code === 401 || code === 403) return true;
  if (info === undefined) return true;
  if (info.kind === 'path')
    return !QUIET_PATHS.test(info.path) && info.verb !== 'get' && info.verb !== 'head';
  if (QUIET_RESOURCES.has(info.resource)) return false;
  const isNode = user?.groups.includes('system:nodes') === true;
  return !(isNode && ['get', 'list', 'watch'].includes(info.verb));
}

/** An Event of audit.k8s.io/v1. */
export function auditEvent(audited: AuditedRequest): object {
  const { id, method, info, request, user, effective, code, reason, message, receivedAt, now, stage } =
    audited;
  const { socket, headers, url } = request;
  const { rule = OWN_RULE, bodies } = audited;
  const answered = stage !== 'RequestReceived';
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: rule.level,
    auditID: id,
    stage,
    requestURI: url ?? '',
    verb: info?.verb ?? method.toLowerCase(),
    user: userOf(user),
    ...(effective && user && effective.name !== user.name ? { impersonatedUser: userOf(effective) } : {}),
    ...(socket.remoteAddress === undefined ? {} : { sourceIPs: [socket.remoteAddress] }),
    ...(headers['user-agent'] === undefined ? {} : { userAgent: headers['user-agent'] }),
    ...(info?.kind === 'resource' ? { objectRef: objectRef(info, bodies?.name ?? '') } : {}),
    ...(answered
      ? {
          responseStatus: {
            metadata: {},
            ...(code >= 400 ? { status: 'Failure' } : {}),
            ...(message === undefined ? {} : { message }),
            ...(reason === undefined || reason === '' ? {} : { reason }),
            code,
          },
        }
      : {}),
    ...(bodies?.request === undefined ? {} : { requestObject: bodies.request }),
    ...(bodies?.response === undefined ? {} : { responseObject: bodies.response }),
    requestReceivedTimestamp: microTimestamp(receivedAt),
    stageTimestamp: microTimestamp(now),
    ...(user && answered
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

function objectRef(info: Extract<RequestInfo, { kind: 'resource' }>, made: string): object {
  const { resource, namespace, name, group, version, subresource } = info;
  const given = Object.entries({
    resource,
    namespace,
    name: name || made,
    apiGroup: group,
    apiVersion: version,
    subresource,
  });
  return Object.fromEntries(given.filter(([, value]) => value !== ''));
}
