import { createSecureContext, type SecureContext } from 'node:tls';
import { olderFirst } from '../../api/ingress.ts';
import type { Secret } from '../../api/types/core-v1.ts';
import type { Logger } from '../../lib/logger.ts';
import { tlsPairProblem } from '../../lib/tls-pair.ts';
import type { SharedIngress } from '../../wire/messages.ts';
import { hostName, parentName } from './host-name.ts';

interface Pair {
  certificate: string;
  key: string;
}

interface Held extends Pair {
  /** Made when somebody first asks for it: it costs 50 to 100 KB. */
  context?: SecureContext;
}

/**
 * The certificates of the Ingresses by the names that clients ask for. A Secret that changes is served from the next
 * handshake on; connections that stand go on.
 */
export class Certificates {
  private readonly logger: Logger;
  private readonly fallback: Held;
  /** By `namespace/name` of the Secret. */
  private held = new Map<string, Held>();
  private readonly complained = new Map<string, string>();
  private exact = new Map<string, Held>();
  private wildcards = new Map<string, Held>();
  private any: Held | undefined;

  constructor(options: { fallback: Pair; logger: Logger }) {
    this.fallback = { ...options.fallback };
    this.logger = options.logger;
  }

  update(
    ingresses: readonly SharedIngress[],
    secret: (namespace: string, name: string) => Secret | undefined,
  ): void {
    const before = this.held;
    this.held = new Map();
    this.exact = new Map();
    this.wildcards = new Map();
    this.any = undefined;
    for (const { namespace, rules, tls } of [...ingresses].sort(olderFirst)) {
      for (const { hosts, secret: name } of tls) {
        if (name === undefined) continue;
        const held = this.hold(`${namespace}/${name}`, secret(namespace, name), before);
        if (!held) continue;
        // An entry without hosts means those of the rules; without these, every name that is left.
        const names = hosts.length > 0 ? hosts : rules.flatMap(({ host }) => host ?? []);
        for (const host of names) this.serve(host, held);
        if (names.length === 0) this.any ??= held;
      }
    }
  }

  /** What is served to a client that asks for this name, or for none. */
  contextFor(serverName: string | undefined): SecureContext {
    const name = serverName === undefined ? undefined : hostName(serverName);
    const parent = name === undefined ? undefined : parentName(name);
    const held =
      (name === undefined ? undefined : this.exact.get(name)) ??
      (parent === undefined ? undefined : this.wildcards.get(parent)) ??
      this.pairForAny;
    held.context ??= createSecureContext({ cert: held.certificate, key: held.key, minVersion: 'TLSv1.2' });
    return held.context;
  }

  /** Of clients that ask for no name. */
  get pairForAny(): Held {
    return this.any ?? this.fallback;
  }

  private serve(host: string, held: Held): void {
    const [map, name] = host.startsWith('*.') ? [this.wildcards, host.slice(2)] : [this.exact, host];
    if (!map.has(name)) map.set(name, held);
  }

  private hold(key: string, secret: Secret | undefined, before: ReadonlyMap<string, Held>): Held | undefined {
    const known = this.held.get(key);
    if (known) return known;
    // Until it comes the name has the fallback; the server tells the user.
    if (!secret) return undefined;
    const certificate = text(secret, 'tls.crt');
    const privateKey = text(secret, 'tls.key');
    const same = before.get(key);
    if (same?.certificate === certificate && same.key === privateKey) {
      this.held.set(key, same);
      return same;
    }
    const problem = tlsPairProblem(certificate, privateKey);
    if (problem !== undefined) {
      if (this.complained.get(key) !== problem)
        this.logger.warn({ secret: key, problem }, 'a certificate is not served');
      this.complained.set(key, problem);
      return undefined;
    }
    this.complained.delete(key);
    const held: Held = { certificate, key: privateKey };
    this.held.set(key, held);
    return held;
  }
}

function text({ data = {} }: Secret, key: string): string {
  return Buffer.from(data[key] ?? '', 'base64').toString();
}
