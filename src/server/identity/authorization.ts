import type { UserInfo } from '../registry/port.ts';

/** What somebody wants to do: with a resource, or (when `path` is set) with a path outside of resources. */
export interface Attributes {
  user: UserInfo;
  /** get, list, watch, create, update, patch, delete, deletecollection, impersonate, …; for paths the lower-case method. */
  verb: string;
  group: string;
  version: string;
  resource: string;
  /** Empty for the object itself. */
  subresource: string;
  /** Empty at the cluster scope. */
  namespace: string;
  /** Empty for collections. */
  name: string;
  path?: string;
  /** Of a list or watch. */
  fieldSelector?: string;
}

export interface Decision {
  allowed: boolean;
  /** Why; may be empty for a refusal. */
  reason: string;
}

export interface Authorizer {
  authorize(attributes: Attributes): Decision;
}

export const MASTERS = 'system:masters';
export const AUTHENTICATED = 'system:authenticated';
export const UNAUTHENTICATED = 'system:unauthenticated';
export const ANONYMOUS = 'system:anonymous';
export const SERVICE_ACCOUNT_PREFIX = 'system:serviceaccount:';
export const SERVICE_ACCOUNTS_GROUP = 'system:serviceaccounts';

/** `system:serviceaccount:<namespace>:<name>` taken apart. */
export function splitServiceAccount(user: string): { namespace: string; name: string } | undefined {
  if (!user.startsWith(SERVICE_ACCOUNT_PREFIX)) return undefined;
  const [namespace, name, ...more] = user.slice(SERVICE_ACCOUNT_PREFIX.length).split(':');
  return namespace && name && more.length === 0 ? { namespace, name } : undefined;
}

export function serviceAccountGroups(namespace: string): string[] {
  return [SERVICE_ACCOUNTS_GROUP, `${SERVICE_ACCOUNTS_GROUP}:${namespace}`];
}

/** Asks one after another; the first that allows decides. The refusal carries every reason. */
export class UnionAuthorizer implements Authorizer {
  private readonly members: readonly Authorizer[];

  constructor(members: readonly Authorizer[]) {
    this.members = members;
  }

  authorize(attributes: Attributes): Decision {
    if (attributes.user.groups.includes(MASTERS)) return { allowed: true, reason: '' };
    const reasons: string[] = [];
    for (const member of this.members) {
      const decision = member.authorize(attributes);
      if (decision.allowed) return decision;
      if (decision.reason !== '') reasons.push(decision.reason);
    }
    return { allowed: false, reason: reasons.join('\n') };
  }
}
