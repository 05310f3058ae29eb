import { NODES_GROUP, nodeNameOf } from '../../wire/join.ts';
import type { UserInfo } from '../registry/port.ts';
import type { AccountTokens } from './account-tokens.ts';
import { ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED } from './authorization.ts';
import type { BootstrapTokens } from './bootstrap-tokens.ts';
import type { NodeCertificates, Refusal } from './node-certificates.ts';
import { sameText } from './text.ts';

/** What a connection and a request say about who asks. */
export interface Credentials {
  /** Subject of a client certificate that the CA vouches for. */
  certificate?: CertificateSubject | undefined;
  /** The Authorization header. */
  authorization?: string | undefined;
  /** Sec-WebSocket-Protocol: browsers cannot set Authorization on a WebSocket, and put the token here. */
  webSocketProtocols?: string | undefined;
}

export interface CertificateSubject {
  commonName: string;
  organizations: readonly string[];
  /** SHA-256 over the DER, in lower-case hex. */
  fingerprint: string;
}

export type Authentication =
  | { outcome: 'user'; user: UserInfo }
  /** No credentials at all. */
  | { outcome: 'anonymous'; user: UserInfo }
  /** Credentials that are not good. `reason` is for the log; `node`: a certificate of a node that is no longer one. */
  | { outcome: 'refused'; reason: string; node?: { name: string; refusal: Refusal } };

const TOKEN_PROTOCOL = 'base64url.bearer.authorization.k8s.io.';

/** Finds out who asks: client certificate, bearer token of the dashboard, of a service account or for bootstrapping, or nobody. */
export class Authenticator {
  private readonly tokens: AccountTokens;
  private readonly adminToken: () => string;
  private readonly bootstrap: BootstrapTokens | undefined;
  private readonly nodes: Pick<NodeCertificates, 'refusal'> | undefined;

  constructor(
    tokens: AccountTokens,
    adminToken: () => string,
    bootstrap?: BootstrapTokens,
    nodes?: Pick<NodeCertificates, 'refusal'>,
  ) {
    this.tokens = tokens;
    this.adminToken = adminToken;
    this.bootstrap = bootstrap;
    this.nodes = nodes;
  }

  authenticate(credentials: Credentials): Authentication {
    const { certificate } = credentials;
    if (certificate) {
      const name = certificate.organizations.includes(NODES_GROUP)
        ? nodeNameOf(certificate.commonName)
        : undefined;
      const refusal = name && this.nodes?.refusal(name, certificate.fingerprint);
      if (name && refusal) {
        const reason = `the certificate of node ${name} is no longer good`;
        return { outcome: 'refused', reason, node: { name, refusal } };
      }
      return {
        outcome: 'user',
        user: {
          name: certificate.commonName,
          groups: [...certificate.organizations, AUTHENTICATED],
        },
      };
    }
    const token = bearerToken(credentials);
    if (token === undefined) {
      return { outcome: 'anonymous', user: { name: ANONYMOUS, groups: [UNAUTHENTICATED] } };
    }
    try {
      const user = this.userOfToken(token)?.user;
      return user ? { outcome: 'user', user } : { outcome: 'refused', reason: 'invalid bearer token' };
    } catch (error) {
      return { outcome: 'refused', reason: (error as Error).message };
    }
  }

  /** For TokenReview too. Throws with the reason when the token is one of ours but no longer good. */
  userOfToken(
    token: string,
    audiences?: readonly string[],
  ): { user: UserInfo; audiences: string[] } | undefined {
    const admin = this.adminToken();
    if (admin !== '' && sameText(token, admin)) {
      const user = { name: 'copepod:admin', groups: [MASTERS, AUTHENTICATED] };
      // An administrator's token is good for this API only.
      const good = audiences?.filter((audience) => audience === this.tokens.issuer);
      if (good?.length === 0) throw new Error('token is invalid for the target audiences');
      return { user, audiences: good ?? [this.tokens.issuer] };
    }
    const booting = this.bootstrap?.userOf(token);
    if (booting) {
      const good = audiences?.filter((audience) => audience === this.tokens.issuer);
      if (good?.length === 0) throw new Error('token is invalid for the target audiences');
      return { user: booting, audiences: good ?? [this.tokens.issuer] };
    }
    return this.tokens.verify(token, audiences);
  }
}

function bearerToken({ authorization, webSocketProtocols }: Credentials): string | undefined {
  if (authorization !== undefined) {
    const match = /^Bearer\s+(\S+)\s*$/i.exec(authorization);
    // Another scheme counts as no credentials, as in Kubernetes; an empty bearer token as well.
    return match?.[1];
  }
  for (const protocol of (webSocketProtocols ?? '').split(',')) {
    const text = protocol.trim();
    if (text.startsWith(TOKEN_PROTOCOL)) {
      return Buffer.from(text.slice(TOKEN_PROTOCOL.length), 'base64url').toString();
    }
  }
  return undefined;
}
