import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { forbidden, StatusError } from '../../api/errors.ts';
import { groupResource } from '../../api/resource.ts';
import { NODE_REFUSALS } from '../../wire/join.ts';
import type { Authenticator, CertificateSubject } from '../identity/authentication.ts';
import type { Attributes, Authorizer } from '../identity/authorization.ts';
import { readImpersonation } from '../identity/impersonation.ts';
import { fingerprintOf, type Refusal } from '../identity/node-certificates.ts';
import type { UserInfo } from '../registry/port.ts';
import type { RequestInfo } from './request-info.ts';

export interface AccessOptions {
  authenticator: Authenticator;
  authorizer: Authorizer;
  /** Why credentials were refused; the client is not told. */
  onRefused: (reason: string) => void;
}

/** Who asks, and may they: the two questions before anything else is done for a request. */
export class Access {
  private readonly options: AccessOptions;
  /** A connection's certificate does not change while it lives. */
  private readonly subjects = new WeakMap<object, CertificateSubject | false>();

  constructor(options: AccessOptions) {
    this.options = options;
  }

  /**
   * The user whom the credentials name, or undefined for none. Throws 401 for credentials that are not good. Without
   * impersonation: that needs authorisation, see `effectiveUser`.
   */
  authenticate(request: IncomingMessage): { user: UserInfo; anonymous: boolean } {
    const certificate = this.certificateOf(request.socket as TLSSocket);
    // A browser shows its certificate to this server for every site that asks it to: a foreign page must gain nothing.
    if (certificate && isForeign(request)) {
      throw new StatusError(
        'Forbidden',
        403,
        'requests of other sites are not accepted with a client certificate',
        {},
      );
    }
    const result = this.options.authenticator.authenticate({
      certificate,
      authorization: request.headers.authorization,
      webSocketProtocols: request.headers['sec-websocket-protocol'],
    });
    if (result.outcome === 'refused') {
      this.options.onRefused(result.reason);
      throw result.node ? nodeRefused(result.node) : unauthorized();
    }
    return { user: result.user, anonymous: result.outcome === 'anonymous' };
  }

  /** The user to act for, after Impersonate-* headers. Throws 403 when the user may not impersonate. */
  effectiveUser(request: IncomingMessage, user: UserInfo): UserInfo {
    const wanted = readImpersonation(request.headers, (name) => request.headersDistinct[name] ?? []);
    if (!wanted) return user;
    for (const demand of wanted.demands) this.demand({ ...demand, user });
    return wanted.user;
  }

  /** Throws 403 unless the user may do this. */
  authorize(user: UserInfo, info: RequestInfo, query: URLSearchParams): void {
    this.demand(attributesOf(user, info, query));
  }

  /** For a write that makes an object where it finds none: throws 403 unless the user may. */
  creation(user: UserInfo, info: RequestInfo, query: URLSearchParams): (() => void) | undefined {
    if (info.kind === 'path') return undefined;
    return () => this.authorize(user, { ...info, verb: 'create' }, query);
  }

  private demand(attributes: Attributes): void {
    const decision = this.options.authorizer.authorize(attributes);
    if (!decision.allowed) throw refusal(attributes, decision.reason);
  }

  private certificateOf(socket: TLSSocket): CertificateSubject | undefined {
    const known = this.subjects.get(socket);
    if (known !== undefined) return known || undefined;
    const subject = socket.authorized ? subjectOf(socket) : undefined;
    this.subjects.set(socket, subject ?? false);
    return subject;
  }
}

/**
 * Only browsers send Origin. A page cannot add X-Forwarded-For to what it sends (CORS): that came through a proxy, such
 * as `kubectl proxy`, which decides for itself whose requests it takes.
 */
function isForeign({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers;
  if (headers['x-forwarded-for'] !== undefined) return false;
  return origin !== undefined && origin !== `https://${host}`;
}

export function unauthorized(): StatusError {
  return new StatusError('Unauthorized', 401, 'Unauthorized');
}

/** The one refusal that says why: the board has to know whether it was removed, or may join anew. */
function nodeRefused({ name, refusal }: { name: string; refusal: Refusal }): StatusError {
  const [reason, message] =
    refusal === 'removed'
      ? [NODE_REFUSALS.removed, `node ${JSON.stringify(name)} was removed from the cluster`]
      : [NODE_REFUSALS.unknown, `the certificate of node ${JSON.stringify(name)} is not known here`];
  return new StatusError('Unauthorized', 401, message, {
    name,
    kind: 'nodes',
    causes: [{ reason, message }],
  });
}

/** CN and O of the client certificate, which TLS has checked against the CA. */
function subjectOf(socket: TLSSocket): CertificateSubject | undefined {
  const certificate = socket.getPeerCertificate(false);
  const subject = certificate.subject as Record<string, string | string[] | undefined> | undefined;
  const commonName = subject?.CN;
  // Several common names would leave open which one is meant.
  if (typeof commonName !== 'string' || commonName === '') return undefined;
  const organizations = subject?.O;
  return {
    commonName,
    organizations:
      organizations === undefined ? [] : Array.isArray(organizations) ? organizations : [organizations],
    fingerprint: fingerprintOf(certificate),
  };
}

function attributesOf(user: UserInfo, info: RequestInfo, query: URLSearchParams): Attributes {
  if (info.kind === 'path') {
    const none = { group: '', version: '', resource: '', subresource: '', namespace: '', name: '' };
    return { user, verb: info.verb === 'head' ? 'get' : info.verb, path: info.path, ...none };
  }
  const { verb, group, version, resource, subresource, namespace } = info;
  const fieldSelector = query.get('fieldSelector') ?? '';
  // A list of the one object of a name is a matter of that object: roles may be limited to names.
  const byName = /(?:^|,)metadata\.name==?([^,]+)/.exec(fieldSelector)?.[1];
  const name = info.name === '' && byName !== undefined ? byName : info.name;
  return {
    user,
    verb,
    group,
    version,
    resource,
    subresource,
    namespace,
    name,
    ...(fieldSelector === '' ? {} : { fieldSelector }),
  };
}

function refusal(attributes: Attributes, reason: string): StatusError {
  const { user, verb, path, group, resource, subresource, namespace, name } = attributes;
  const more = reason === '' ? '' : `: ${reason}`;
  const who = `User ${JSON.stringify(user.name)} cannot ${verb}`;
  if (path !== undefined) {
    return new StatusError('Forbidden', 403, `forbidden: ${who} path ${JSON.stringify(path)}${more}`, {});
  }
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  const sentence = `${who} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${where}${more}`;
  return forbidden({ group, resource }, name, sentence);
}

/** For logs and metrics. */
export function describe(info: RequestInfo): string {
  return info.kind === 'path'
    ? info.path
    : `${groupResource(info)}${info.subresource && `/${info.subresource}`}`;
}
