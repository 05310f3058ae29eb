import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { badRequest } from '../../api/errors.ts';
import type { KubeObject } from '../../api/object.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import { type Clock, timestamp } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { UserInfo } from '../registry/port.ts';
import type { TokenIssuer } from '../registry/ports.ts';
import type { Store } from '../store/port.ts';
import { AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, serviceAccountGroups } from './authorization.ts';
import { readPrivateKey } from './certificates.ts';

/** An object that is being deleted still vouches for its tokens this long, so that its last words get through. */
const DELETION_LEEWAY_MS = 60_000;
const CREDENTIAL_ID = 'authentication.kubernetes.io/credential-id';

interface Reference {
  name: string;
  uid: string;
}

interface Claims {
  iss: string;
  sub: string;
  aud: string[];
  iat: number;
  nbf: number;
  exp: number;
  jti: string;
  'kubernetes.io': {
    namespace: string;
    serviceaccount: Reference;
    pod?: Reference;
    secret?: Reference;
    node?: Reference;
  };
}

export interface AccountTokensOptions {
  store: Pick<Store, 'get'>;
  clock: Clock;
  random: Random;
  /** PEM of an EC P-256 private key. */
  key: string;
  /** `https://kubernetes.default.svc.<cluster domain>` */
  issuer: string;
}

/** Makes and checks the tokens of service accounts: JWTs (ES256) bound to objects by uid. */
export class AccountTokens implements TokenIssuer {
  private readonly store: Pick<Store, 'get'>;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly key: KeyObject;
  private readonly publicKey: KeyObject;
  private readonly keyId: string;
  readonly issuer: string;

  constructor(options: AccountTokensOptions) {
    this.store = options.store;
    this.clock = options.clock;
    this.random = options.random;
    this.key = readPrivateKey(options.key);
    this.publicKey = createPublicKey(this.key);
    this.issuer = options.issuer;
    const spki = this.publicKey.export({ type: 'spki', format: 'der' });
    this.keyId = createHash('sha256').update(spki).digest('base64url');
  }

  get defaultAudiences(): readonly string[] {
    return [this.issuer];
  }

  async issue(
    request: Parameters<TokenIssuer['issue']>[0],
  ): Promise<{ token: string; expirationTimestamp: string }> {
    const {
      namespace = '',
      name = '',
      uid = '',
    } = (request.serviceAccount as unknown as KubeObject).metadata;
    const now = Math.floor(this.clock.now() / 1000);
    const exp = now + request.expirationSeconds;
    const token = this.sign({
      aud: [...request.audiences],
      exp,
      iat: now,
      iss: this.issuer,
      jti: this.random.uuid(),
      'kubernetes.io': {
        namespace,
        ...this.boundClaims(namespace, name, request.boundObject),
        serviceaccount: { name, uid },
      },
      nbf: now,
      sub: `${SERVICE_ACCOUNT_PREFIX}${namespace}:${name}`,
    });
    return { token, expirationTimestamp: timestamp(exp * 1000) };
  }

  /**
   * Who a token stands for. Undefined when it is no token of this issuer at all; throws with the reason when it is one
   * but is not (or no longer) good for any of the audiences.
   */
  verify(token: string, audiences: readonly string[] = [this.issuer]): VerifiedToken | undefined {
    const claims = this.read(token);
    if (!claims) return undefined;
    // nbf is not looked at: only this server makes these tokens, and its clock may have been set back since.
    if (claims.exp * 1000 <= this.clock.now()) throw new Error('service account token has expired');
    const good = audiences.filter((audience) => claims.aud.includes(audience));
    if (good.length === 0) {
      throw new Error(`token audiences ${JSON.stringify(claims.aud)} is invalid for the target audiences`);
    }
    const { namespace, serviceaccount, pod, secret, node } = claims['kubernetes.io'];
    this.demand('serviceaccounts', `${namespace}/${serviceaccount.name}`, serviceaccount.uid);
    if (pod) this.demand('pods', `${namespace}/${pod.name}`, pod.uid);
    if (secret) this.demand('secrets', `${namespace}/${secret.name}`, secret.uid);
    const extra: Record<string, string[]> = { [CREDENTIAL_ID]: [`JTI=${claims.jti}`] };
    const tell = (kind: string, reference: Reference | undefined): void => {
      if (!reference) return;
      extra[`authentication.kubernetes.io/${kind}-name`] = [reference.name];
      extra[`authentication.kubernetes.io/${kind}-uid`] = [reference.uid];
    };
    tell('pod', pod);
    tell('node', node);
    return {
      audiences: good,
      user: {
        name: claims.sub,
        uid: serviceaccount.uid,
        groups: [...serviceAccountGroups(namespace), AUTHENTICATED],
        extra,
      },
    };
  }

  /** The public key as JWKS, for `/openid/v1/jwks`. */
  jwks(): { keys: object[] } {
    const jwk = this.publicKey.export({ format: 'jwk' });
    return {
      keys: [{ use: 'sig', kty: jwk.kty, kid: this.keyId, crv: jwk.crv, alg: 'ES256', x: jwk.x, y: jwk.y }],
    };
  }

  private boundClaims(
    namespace: string,
    accountName: string,
    bound: Parameters<TokenIssuer['issue']>[0]['boundObject'],
  ): { pod?: Reference; secret?: Reference; node?: Reference } {
    if (!bound) return {};
    const reference = { name: bound.name, uid: bound.uid };
    if (bound.kind === 'Secret') return { secret: reference };
    if (bound.kind === 'Node') return { node: reference };
    const pod = this.store.get('pods', `${namespace}/${bound.name}`)?.object as Pod | undefined;
    const { nodeName, serviceAccountName } = pod?.spec ?? {};
    if (serviceAccountName !== accountName) {
      throw badRequest(
        `cannot bind token for serviceaccount "${accountName}" to pod running with different serviceaccount name.`,
      );
    }
    const node = nodeName ? this.store.get('nodes', nodeName)?.object : undefined;
    return {
      ...(node ? { node: { name: nodeName as string, uid: node.metadata.uid ?? '' } } : {}),
      pod: reference,
    };
  }

  private sign(claims: Claims): string {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'ES256', kid: this.keyId })}.${part(claims)}`;
    const signature = sign('sha256', Buffer.from(text), { key: this.key, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  }

  /** The claims of a token that this key signed for this issuer; undefined for anything else. */
  private read(token: string): Claims | undefined {
    const [head = '', body = '', signature = '', ...more] = token.split('.');
    if (head === '' || body === '' || signature === '' || more.length > 0) return undefined;
    try {
      const header: unknown = JSON.parse(Buffer.from(head, 'base64url').toString());
      if ((header as { alg?: unknown }).alg !== 'ES256') return undefined;
      const good = verify(
        'sha256',
        Buffer.from(`${head}.${body}`),
        { key: this.publicKey, dsaEncoding: 'ieee-p1363' },
        Buffer.from(signature, 'base64url'),
      );
      if (!good) return undefined;
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Claims;
      return claims.iss === this.issuer ? claims : undefined;
    } catch {
      return undefined;
    }
  }

  private demand(bucket: string, key: string, uid: string): void {
    const object = this.store.get(bucket, key)?.object;
    if (!object || object.metadata.uid !== uid) {
      throw new Error(`${bucket} "${key}" of the service account token does not exist any more`);
    }
    const deleted = object.metadata.deletionTimestamp;
    if (deleted && Date.parse(deleted) + DELETION_LEEWAY_MS < this.clock.now()) {
      throw new Error(`${bucket} "${key}" of the service account token has been deleted`);
    }
  }
}

export interface VerifiedToken {
  user: UserInfo;
  audiences: string[];
}
