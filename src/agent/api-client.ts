import type { TokenRequest } from '../api/types/authentication-v1.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { httpsRequest } from './https-request.ts';
import type { NodeIdentity } from './join.ts';
import type { Journal } from './journal.ts';
import type { TokenSource } from './ports.ts';

/** kubelet renews a token when less than a fifth of its life is left, and at least daily. */
const RENEW_AT = 0.8;
const LONGEST_USE_MS = 86_400_000;
const MAX_TOKENS = 500;
const ASK_MS = 15_000;
/** A pod that has a token need not wait for one: it may be the start of a whole site, whose link is down. */
const RENEW_MS = 3_000;
/** A server that did not answer is not asked again for so long, by pods that have a token. */
const AWAY_MS = 60_000;

type Asked = Parameters<TokenSource['token']>[0];

interface Held {
  token: string;
  /** Monotonic time until which it is used without asking; 0 for one from the journal. */
  freshUntil: number;
}

/**
 * Tokens for pods from the API server, over the node's certificate. A token from before a restart is used only when the
 * server cannot be reached: then nobody is there to check it, and the pod starts.
 */
export class ApiTokenSource implements TokenSource {
  private readonly server: string;
  private readonly identity: () => NodeIdentity;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly journal: Pick<Journal, 'take' | 'put' | 'delete'>;
  private readonly held = new Map<string, Held>();
  private readonly underWay = new Map<string, Promise<string>>();
  /** Monotonic time; undefined while the server answers. */
  private awayUntil: number | undefined;

  constructor(options: {
    /** `https://HOST:6443`. */
    server: string;
    /** Read for each request: certificates are renewed. */
    identity: () => NodeIdentity;
    journal: Pick<Journal, 'take' | 'put' | 'delete'>;
    clock: Clock;
    logger: Logger;
  }) {
    this.server = options.server;
    this.identity = options.identity;
    this.journal = options.journal;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  /** Reads the journalled tokens; before the first `token`. */
  load(): void {
    for (const [key, token] of this.journal.take<string>('token'))
      this.held.set(key, { token, freshUntil: 0 });
  }

  get ca(): string {
    return this.identity().ca;
  }

  async token(asked: Asked): Promise<string> {
    const key = keyOf(asked);
    const held = this.held.get(key);
    if (held && this.clock.monotonic() < Math.max(held.freshUntil, this.awayUntil ?? 0)) return held.token;
    let work = this.underWay.get(key);
    if (!work) {
      work = this.request(key, asked, held ? RENEW_MS : ASK_MS).finally(() => this.underWay.delete(key));
      this.underWay.set(key, work);
    }
    try {
      return await work;
    } catch (error) {
      if (!held || error instanceof TokenRefused) throw error;
      // Once for each time that the server is away: the log may lie on flash.
      if (this.awayUntil === undefined)
        this.logger.warn(
          { error: (error as Error).message, pod: asked.podName },
          'service account tokens are not renewed while the server cannot be asked; pods keep what they have',
        );
      this.awayUntil = this.clock.monotonic() + AWAY_MS;
      return held.token;
    }
  }

  /** Tokens of a pod that is gone. */
  forget(podUid: string): void {
    for (const key of [...this.held.keys()]) {
      if (!key.startsWith(`${podUid}/`)) continue;
      this.held.delete(key);
      this.journal.delete('token', key);
    }
  }

  private async request(key: string, asked: Asked, timeoutMs: number): Promise<string> {
    const { ca, certificate, key: privateKey } = this.identity();
    const path = `/api/v1/namespaces/${encodeURIComponent(asked.namespace)}/serviceaccounts/${encodeURIComponent(asked.serviceAccount)}/token`;
    const body: Omit<TokenRequest, 'metadata' | 'status'> = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: [...asked.audiences],
        expirationSeconds: asked.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: asked.podName, uid: asked.podUid },
      },
    };
    const answer = await httpsRequest(new URL(path, this.server), {
      clock: this.clock,
      method: 'POST',
      ca,
      certificate,
      key: privateKey,
      body: JSON.stringify(body),
      timeoutMs,
    });
    this.awayUntil = undefined;
    const { status, message } = JSON.parse(answer.body) as {
      status?: TokenRequest['status'];
      message?: string;
    };
    if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
      throw new TokenRefused(message ?? `the server answered ${answer.status}`);
    }
    if (answer.status !== 201 && answer.status !== 200)
      throw new Error(message ?? `the server answered ${answer.status}`);
    if (typeof status !== 'object' || typeof status.token !== 'string') {
      throw new Error('the server’s answer to a token request is not understood');
    }
    // The life in our own time: the board's wall clock may be wrong.
    const lifeMs = asked.expirationSeconds * 1000;
    this.held.set(key, {
      token: status.token,
      freshUntil: this.clock.monotonic() + Math.min(lifeMs * RENEW_AT, LONGEST_USE_MS),
    });
    this.journal.put('token', key, status.token);
    this.bound();
    return status.token;
  }

  private bound(): void {
    if (this.held.size <= MAX_TOKENS) return;
    const oldest = this.held.keys().next();
    if (oldest.done) return;
    this.held.delete(oldest.value);
    this.journal.delete('token', oldest.value);
  }
}

/** The server understood and will not: no old token may stand in. */
export class TokenRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TokenRefused';
  }
}

function keyOf(asked: Asked): string {
  return [
    asked.podUid,
    asked.namespace,
    asked.serviceAccount,
    asked.expirationSeconds,
    [...asked.audiences].sort().join(','),
  ].join('/');
}
