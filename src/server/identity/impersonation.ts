import type { IncomingHttpHeaders } from 'node:http';
import { badRequest } from '../../api/errors.ts';
import type { UserInfo } from '../registry/port.ts';
import {
  ANONYMOUS,
  type Attributes,
  AUTHENTICATED,
  serviceAccountGroups,
  splitServiceAccount,
  UNAUTHENTICATED,
} from './authorization.ts';

const EXTRA = 'impersonate-extra-';

export interface Impersonation {
  user: UserInfo;
  /** Each must be allowed to the real user. */
  demands: Omit<Attributes, 'user'>[];
}

/**
 * Reads the Impersonate-* headers. `list` returns every value of a header that may be repeated (Node joins them with
 * commas otherwise, and a group's name may hold one).
 */
export function readImpersonation(
  headers: IncomingHttpHeaders,
  list: (name: string) => readonly string[],
): Impersonation | undefined {
  const name = headers['impersonate-user'];
  const groups = list('impersonate-group');
  const uid = headers['impersonate-uid'];
  const extra = readExtra(headers, list);
  if (typeof name !== 'string' || name === '') {
    if (groups.length > 0 || uid !== undefined || Object.keys(extra).length > 0) {
      throw badRequest('impersonation of groups, uid or extra needs the Impersonate-User header as well');
    }
    return undefined;
  }
  const demand = (part: Partial<Attributes>): Omit<Attributes, 'user'> => ({
    verb: 'impersonate',
    group: '',
    version: 'v1',
    resource: 'users',
    subresource: '',
    namespace: '',
    name: '',
    ...part,
  });
  const account = splitServiceAccount(name);
  const demands = [
    account
      ? demand({ resource: 'serviceaccounts', namespace: account.namespace, name: account.name })
      : demand({ name }),
    ...groups.map((group) => demand({ resource: 'groups', name: group })),
  ];
  const authentication = { group: 'authentication.k8s.io' };
  if (typeof uid === 'string') demands.push(demand({ ...authentication, resource: 'uids', name: uid }));
  for (const [key, values] of Object.entries(extra)) {
    for (const value of values) {
      demands.push(demand({ ...authentication, resource: 'userextras', subresource: key, name: value }));
    }
  }
  return {
    demands,
    user: {
      name,
      groups: allGroups(name, groups, account?.namespace),
      ...(typeof uid === 'string' ? { uid } : {}),
      ...(Object.keys(extra).length > 0 ? { extra } : {}),
    },
  };
}

function readExtra(
  headers: IncomingHttpHeaders,
  list: (name: string) => readonly string[],
): Record<string, readonly string[]> {
  const extra: Record<string, readonly string[]> = {};
  for (const name of Object.keys(headers)) {
    if (!name.startsWith(EXTRA) || name.length === EXTRA.length) continue;
    let key = name.slice(EXTRA.length);
    try {
      key = decodeURIComponent(key);
    } catch {
      // Not percent-encoded after all: taken as it is, as Kubernetes does.
    }
    extra[key] = list(name);
  }
  return extra;
}

/** A service account without named groups gets those of its kind; everyone is authenticated, but for the anonymous. */
function allGroups(name: string, given: readonly string[], accountNamespace: string | undefined): string[] {
  const groups =
    given.length === 0 && accountNamespace !== undefined
      ? serviceAccountGroups(accountNamespace)
      : [...given];
  const implied = name === ANONYMOUS ? UNAUTHENTICATED : AUTHENTICATED;
  if (!groups.includes(AUTHENTICATED) && !groups.includes(UNAUTHENTICATED)) groups.push(implied);
  return groups;
}
