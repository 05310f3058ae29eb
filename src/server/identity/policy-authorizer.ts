import type { Ask } from '../admission/policies/compiled.ts';
import {
  AUTHENTICATED,
  type Authorizer,
  serviceAccountGroups,
  splitServiceAccount,
} from './authorization.ts';

/** Answers `authorizer` in the expressions of admission policies: about who asks, or about a service account. */
export function policyAuthorizer(authorizer: Authorizer): Ask {
  return ({ context }, attributes) => {
    const account = attributes.user === undefined ? undefined : splitServiceAccount(attributes.user);
    const user =
      account === undefined || attributes.user === undefined
        ? context.user
        : { name: attributes.user, groups: [...serviceAccountGroups(account.namespace), AUTHENTICATED] };
    return authorizer.authorize({
      user,
      verb: attributes.verb ?? '',
      group: attributes.group ?? '',
      version: '*',
      resource: attributes.resource ?? '',
      subresource: attributes.subresource ?? '',
      namespace: attributes.namespace ?? '',
      name: attributes.name ?? '',
      ...(attributes.path === undefined ? {} : { path: attributes.path }),
    });
  };
}
