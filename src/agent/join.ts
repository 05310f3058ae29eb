import { createPrivateKey, createPublicKey, generateKeyPair, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock, Timer } from '../lib/clock.ts';
import { sleep } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { backOff } from '../wire/back-off.ts';
import {
  CA_PATH,
  JOIN_PATH,
  JOIN_REFUSALS,
  type JoinRequest,
  type JoinResponse,
  joinAuthorization,
  parseJoinToken,
  verifyCa,
} from '../wire/join.ts';
import { type HttpsAnswer, httpsRequest } from './https-request.ts';

/** What proves the node: PEM texts, and what the server said when it gave them. */
export interface NodeIdentity {
  nodeName: string;
  certificate: string;
  key: string;
  ca: string;
  renewBeforeDays: number;
  /** The broker when it is not the server's own. */
  mqttUrl?: string;
}

/** Joining is refused for good: the message says why and what to do. Everything else is tried again. */
export class JoinRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JoinRefused';
  }
}

const DAY_MS = 86_400_000;
const RENEWAL_CHECK_MS = 6 * 3_600_000;
const REFUSALS: ReadonlySet<string> = new Set(Object.values(JOIN_REFUSALS));

export interface JoinerOptions {
  /** `https://HOST:6443`. */
  server: string;
  /** Absent when the node has its identity already. */
  token?: string;
  nodeName: string;
  machineId: string;
  /** `<data>/agent`; made with mode 0700. */
  directory: string;
  clock: Clock;
  random: Random;
  logger: Logger;
}

/** Gets, keeps and renews the node's certificate (the agent's half of src/wire/join.ts). */
export class Joiner {
  private readonly options: JoinerOptions;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private current: NodeIdentity | undefined;
  private timer: Timer | undefined;
  private renewing: Promise<void> | undefined;

  constructor(options: JoinerOptions) {
    this.options = options;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  /** The identity as last stored or received; throws before `ensure` resolved. Ask again for each connection. */
  get identity(): NodeIdentity {
    if (!this.current) throw new Error('the node has not joined');
    return this.current;
  }

  /** The identity from an earlier join, without asking anyone; undefined when there is none that fits. */
  async stored(): Promise<NodeIdentity | undefined> {
    const { directory, nodeName } = this.options;
    try {
      const [certificate, key, ca, facts] = await Promise.all(
        ['node.crt', 'node.key', 'ca.crt', 'identity.json'].map((name) =>
          readFile(join(directory, name), 'utf8'),
        ),
      );
      const { nodeName: held, renewBeforeDays, mqttUrl } = JSON.parse(facts as string) as NodeIdentity;
      if (held !== nodeName) {
        this.logger.warn(
          { stored: held, nodeName },
          'the stored identity is of another node name: joining anew',
        );
        return undefined;
      }
      // Parses, and belongs together: half a rename survived a power cut otherwise.
      const parsed = new X509Certificate(certificate as string);
      if (!parsed.checkPrivateKey(createPrivateKey(key as string)))
        throw new Error('certificate and key do not fit');
      this.current = {
        nodeName,
        certificate: certificate as string,
        key: key as string,
        ca: ca as string,
        renewBeforeDays,
        ...(mqttUrl === undefined ? {} : { mqttUrl }),
      };
      return this.current;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.logger.warn({ err: error, directory }, 'the stored identity is unusable: joining anew');
      }
      return undefined;
    }
  }

  /**
   * The stored identity, or one from the server: asked until it answers, with back-off. Rejects with JoinRefused when
   * asking again cannot help, and with the signal's reason when aborted.
   */
  async ensure(signal?: AbortSignal): Promise<NodeIdentity> {
    const stored = await this.stored();
    if (stored) return stored;
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.join();
      } catch (error) {
        if (error instanceof JoinRefused) throw error;
        const retryInMs = backOff(failures, this.options.random, { baseMs: 1_000, maxMs: 60_000 });
        this.logger.warn(
          { server: this.options.server, err: error, retryInMs: Math.round(retryInMs) },
          'the server cannot be reached to join the cluster; trying again',
        );
        await sleep(this.clock, retryInMs, signal);
      }
    }
  }

  /** Renews in time from now on. */
  start(): void {
    this.timer ??= this.clock.every(RENEWAL_CHECK_MS, () => void this.renewIfDue());
    void this.renewIfDue();
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    this.timer = undefined;
    await this.renewing;
  }

  /** Asks for a new certificate when few days are left; a failure is logged and tried again at the next check. */
  renewIfDue(): Promise<void> {
    if (!this.current || !isRenewalDue(this.current, this.clock.now())) return Promise.resolve();
    this.renewing ??= this.renew()
      .catch((error: unknown) =>
        this.logger.warn({ err: error }, 'the node’s certificate could not be renewed yet'),
      )
      .finally(() => {
        this.renewing = undefined;
      });
    return this.renewing;
  }

  get hasToken(): boolean {
    return this.options.token !== undefined;
  }

  /** Joins with the token although there is an identity: the server does not take it any more. */
  async rejoin(): Promise<void> {
    await this.join();
  }

  private async join(): Promise<NodeIdentity> {
    const { server, token: text } = this.options;
    if (text === undefined) {
      throw new JoinRefused(
        'this node has not joined a cluster yet: give --token as `copepod token` prints it on the server',
      );
    }
    const token = parseToken(text);
    const fetched = await httpsRequest(new URL(CA_PATH, server), {
      clock: this.clock,
      method: 'GET',
      insecure: true,
    });
    if (fetched.status !== 200) throw new Error(`${server}${CA_PATH} answered ${fetched.status}`);
    const ca = fetched.body;
    if (!verifyCa(token, ca)) {
      throw new JoinRefused(
        `the certificate authority of ${server} is not the one that the token names: wrong server, wrong token, or someone in between`,
      );
    }
    if (token.caHash === undefined) {
      this.logger.warn(
        { server },
        'the token does not pin the server’s CA: whoever answers there is trusted',
      );
    }
    const keys = await makeKey();
    const answer = await httpsRequest(new URL(JOIN_PATH, server), {
      clock: this.clock,
      method: 'POST',
      ca,
      headers: { authorization: joinAuthorization(token) },
      body: JSON.stringify(this.request(keys.publicKey)),
    });
    return await this.accept(answer, keys.privateKey);
  }

  private async renew(): Promise<void> {
    const { ca, certificate, key } = this.identity;
    const keys = await makeKey();
    const answer = await httpsRequest(new URL(JOIN_PATH, this.options.server), {
      clock: this.clock,
      method: 'POST',
      ca,
      certificate,
      key,
      body: JSON.stringify(this.request(keys.publicKey)),
    });
    await this.accept(answer, keys.privateKey);
    this.logger.info({ node: this.options.nodeName }, 'the node’s certificate was renewed');
  }

  private request(publicKey: string): JoinRequest {
    const { nodeName, machineId } = this.options;
    return { v: 1, nodeName, machineId, publicKey };
  }

  private async accept(answer: HttpsAnswer, key: string): Promise<NodeIdentity> {
    const body = parseJson(answer.body);
    if (answer.status !== 200) {
      const { reason, message } = body as { reason?: string; message?: string };
      const text = message ?? `the server answered ${answer.status}`;
      throw REFUSALS.has(reason ?? '') ? new JoinRefused(text) : new Error(text);
    }
    const { certificate, ca, nodeName, renewBeforeDays, mqttUrl } = body as Partial<JoinResponse>;
    if (typeof certificate !== 'string' || typeof ca !== 'string' || nodeName !== this.options.nodeName) {
      throw new Error('the server’s answer to the join request is not understood');
    }
    const identity: NodeIdentity = {
      nodeName,
      certificate,
      key,
      ca,
      renewBeforeDays: renewBeforeDays ?? 30,
      ...(mqttUrl === undefined ? {} : { mqttUrl }),
    };
    await this.store(identity);
    this.current = identity;
    return identity;
  }

  /** Each file is replaced whole. A power cut between two leaves a pair that `stored` finds out, and a new join. */
  private async store({ certificate, key, ca, ...facts }: NodeIdentity): Promise<void> {
    const { directory } = this.options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const files: [string, string][] = [
      ['ca.crt', ca],
      ['identity.json', JSON.stringify(facts)],
      ['node.key', key],
      ['node.crt', certificate],
    ];
    for (const [name, text] of files) {
      await writeFile(join(directory, `${name}.new`), text, { mode: 0o600, flush: true });
    }
    for (const [name] of files) await rename(join(directory, `${name}.new`), join(directory, name));
  }
}

/** Less than the server's wish is left; a board whose clock is far off renews when it is right again. */
export function isRenewalDue(
  identity: Pick<NodeIdentity, 'certificate' | 'renewBeforeDays'>,
  now: number,
): boolean {
  const end = Date.parse(new X509Certificate(identity.certificate).validTo);
  return now > end - identity.renewBeforeDays * DAY_MS;
}

function parseToken(text: string): ReturnType<typeof parseJoinToken> {
  try {
    return parseJoinToken(text);
  } catch (error) {
    throw new JoinRefused((error as Error).message);
  }
}

function parseJson(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

async function makeKey(): Promise<{ publicKey: string; privateKey: string }> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string,
  };
}
