import { readFile } from 'node:fs/promises';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import { parseResolvConf } from '../containers/dns.ts';
import { AnswerCache, cacheKey } from './cache.ts';
import type { Query } from './message.ts';
import { type Upstream, UpstreamClient } from './upstream.ts';

const DNS_PORT = 53;
const MOST_IN_FLIGHT = 200;
const READ_AGAIN_MS = 5_000;

/** As the ConfigMap kube-system/kube-dns says. */
export interface ForwarderRules {
  /** Domain -> `address` or `address:port`. */
  stubDomains?: Readonly<Record<string, readonly string[]>>;
  /** In place of the board's own. */
  upstreamNameservers?: readonly string[];
}

/**
 * Names of the world: from the cache or the upstream servers. One question is under way once, whoever asks; so a server
 * that forwards back to us does not make a loop: its question waits for itself until the deadline, and that is all.
 */
export class Forwarder {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly resolvConf: string;
  private readonly client: UpstreamClient;
  private readonly cache: AnswerCache;
  private readonly inFlight = new Map<string, Promise<Buffer | undefined>>();
  private rules: ForwarderRules = {};
  /** Never forwarded to. */
  private own = '';
  private known: { at: number; servers: Upstream[] } | undefined;
  private reported = '';

  constructor(options: { clock: Clock; random: Random; logger: Logger; resolvConf: string }) {
    this.clock = options.clock;
    this.logger = options.logger;
    this.resolvConf = options.resolvConf;
    this.client = new UpstreamClient(options);
    this.cache = new AnswerCache({ monotonic: () => options.clock.monotonic() });
  }

  configure(own: string, rules: ForwarderRules): void {
    this.own = own;
    this.rules = rules;
    this.known = undefined;
  }

  /** An answer as it came, and how old it is; undefined when there is none to be had. */
  async resolve(
    query: Pick<Query, 'question' | 'edns'>,
  ): Promise<{ answer: Buffer; ageSeconds: number } | undefined> {
    const key = cacheKey(query);
    const cached = this.cache.get(key);
    if (cached) return cached;
    if (this.cache.hasFailed(key)) return this.cache.get(key, { stale: true });
    let asking = this.inFlight.get(key);
    if (!asking) {
      if (this.inFlight.size >= MOST_IN_FLIGHT) return this.cache.get(key, { stale: true });
      asking = this.ask(query, key).finally(() => this.inFlight.delete(key));
      this.inFlight.set(key, asking);
    }
    const answer = await asking;
    return answer ? { answer, ageSeconds: 0 } : this.cache.get(key, { stale: true });
  }

  private async ask(query: Pick<Query, 'question' | 'edns'>, key: string): Promise<Buffer | undefined> {
    try {
      const answer = await this.client.ask(query, await this.serversFor(query.question.name));
      this.cache.put(key, answer);
      this.reported = '';
      return answer;
    } catch (error) {
      this.cache.failed(key);
      const { message } = error as Error;
      // The first of many: a board without network asks again and again.
      if (this.reported === '') this.logger.info({ error: message }, 'names of the world cannot be resolved');
      this.reported = message;
      return undefined;
    }
  }

  private async serversFor(name: string): Promise<readonly Upstream[]> {
    let best = '';
    for (const domain of Object.keys(this.rules.stubDomains ?? {})) {
      const suffix = domain.toLowerCase().replace(/\.$/, '');
      if ((name === suffix || name.endsWith(`.${suffix}`)) && domain.length > best.length) best = domain;
    }
    const stub = this.rules.stubDomains?.[best];
    if (best !== '' && stub) return this.parse(stub);
    if (this.rules.upstreamNameservers?.length) return this.parse(this.rules.upstreamNameservers);
    const now = this.clock.monotonic();
    if (!this.known || now - this.known.at > READ_AGAIN_MS) {
      const text = await readFile(this.resolvConf, 'utf8').catch(() => '');
      this.known = { at: now, servers: this.parse(parseResolvConf(text).nameservers) };
    }
    return this.known.servers;
  }

  private parse(servers: readonly string[]): Upstream[] {
    return servers.map(parseServer).filter(({ address }) => address !== '' && address !== this.own);
  }
}

/** `1.1.1.1`, `1.1.1.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`. */
export function parseServer(text: string): Upstream {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(text);
  if (bracketed) return { address: bracketed[1] ?? '', port: Number(bracketed[2] ?? DNS_PORT) };
  const [address = '', port] = text.split(':');
  if (text.split(':').length > 2) return { address: text, port: DNS_PORT };
  return { address, port: Number(port ?? DNS_PORT) };
}
