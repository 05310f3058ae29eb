import type { KubeObject } from '../../api/object.ts';
import type { Secret } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import type { UserInfo } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { AUTHENTICATED } from './authorization.ts';
import { sameText } from './text.ts';

export const BOOTSTRAP_TYPE = 'bootstrap.kubernetes.io/token';
export const BOOTSTRAPPERS = 'system:bootstrappers';
/** Whose tokens boards join with, as by k3s. */
export const JOIN_GROUP = 'system:bootstrappers:copepod:default-node-token';
const NAMESPACE = 'kube-system';
const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const EXTRA_GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

/** Tokens that are Secrets of type bootstrap.kubernetes.io/token in kube-system: `<id>.<secret>`, mostly short-lived. */
export class BootstrapTokens {
  private readonly store: Pick<Store, 'get'>;
  private readonly clock: Clock;

  constructor(options: { store: Pick<Store, 'get'>; clock: Clock }) {
    this.store = options.store;
    this.clock = options.clock;
  }

  /** Who a token stands for; undefined when it is none of these, or not (or no longer) good for authentication. */
  userOf(token: string): UserInfo | undefined {
    const [, id = '', secret = ''] = TOKEN.exec(token) ?? [];
    if (id === '') return undefined;
    const stored = this.store.get('secrets', `${NAMESPACE}/bootstrap-token-${id}`)?.object;
    if (!stored || stored.metadata.deletionTimestamp !== undefined) return undefined;
    const value = valuesOf(stored);
    if ((stored as Secret).type !== BOOTSTRAP_TYPE || value('token-id') !== id) return undefined;
    if (!sameText(value('token-secret'), secret)) return undefined;
    if (value('usage-bootstrap-authentication') !== 'true' || isExpired(stored, this.clock.now())) {
      return undefined;
    }
    const extra = value('auth-extra-groups')
      .split(',')
      .map((group) => group.trim())
      .filter((group) => group !== '');
    // One group that is none of theirs, and the token is good for nothing: as in Kubernetes.
    if (!extra.every((group) => EXTRA_GROUP.test(group))) return undefined;
    const groups = [...new Set([BOOTSTRAPPERS, ...extra])].sort();
    return { name: `system:bootstrap:${id}`, groups: [...groups, AUTHENTICATED] };
  }
}

/** A key of the Secret as text; '' when there is none. */
function valuesOf(secret: KubeObject): (key: string) => string {
  const data = (secret as Secret).data ?? {};
  return (key) => (Object.hasOwn(data, key) ? Buffer.from(String(data[key]), 'base64').toString('utf8') : '');
}

/** When a token's Secret says that it ends; undefined for one that does not, 0 for what is no time. */
export function expirationOf(secret: KubeObject): number | undefined {
  const text = valuesOf(secret)('expiration');
  if (text === '') return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) ? 0 : time;
}

function isExpired(secret: KubeObject, now: number): boolean {
  const end = expirationOf(secret);
  return end !== undefined && end <= now;
}
