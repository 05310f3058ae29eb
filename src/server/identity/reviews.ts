import type { JsonObject } from '../../api/object.ts';
import type { TokenReviewSpec } from '../../api/types/authentication-v1.ts';
import type { SubjectAccessReview } from '../../api/types/authorization-v1.ts';
import type { PolicyRule } from '../../api/types/rbac-v1.ts';
import type { RequestContext, UserInfo } from '../registry/port.ts';
import type { Reviews } from '../registry/ports.ts';
import type { Authenticator } from './authentication.ts';
import { type Attributes, type Authorizer, MASTERS } from './authorization.ts';
import type { RbacAuthorizer } from './rbac.ts';

type AccessSpec = NonNullable<SubjectAccessReview['spec']>;

/** Answers the review kinds of authentication.k8s.io and authorization.k8s.io. */
export class IdentityReviews implements Reviews {
  private readonly authorizer: Authorizer;
  private readonly rbac: RbacAuthorizer;
  private readonly authenticator: Authenticator;

  constructor(options: {
    authorizer: Authorizer;
    rbac: RbacAuthorizer;
    authenticator: Authenticator;
  }) {
    this.authorizer = options.authorizer;
    this.rbac = options.rbac;
    this.authenticator = options.authenticator;
  }

  async status(
    kind: Parameters<Reviews['status']>[0],
    review: JsonObject,
    context: RequestContext,
  ): Promise<JsonObject> {
    const spec = (review.spec ?? {}) as unknown;
    switch (kind) {
      case 'SubjectAccessReview':
      case 'LocalSubjectAccessReview':
        return this.access(spec as AccessSpec, subjectOf(spec as AccessSpec));
      case 'SelfSubjectAccessReview':
        return this.access(spec as AccessSpec, context.user);
      case 'SelfSubjectRulesReview':
        return this.rules(context.user, (spec as { namespace?: string }).namespace ?? '');
      case 'TokenReview':
        return this.token(spec as TokenReviewSpec);
      case 'SelfSubjectReview':
        return { userInfo: writeUser(context.user) };
    }
  }

  private access(spec: AccessSpec, user: UserInfo): JsonObject {
    const { allowed, reason } = this.authorizer.authorize(attributesOf(spec, user));
    return { allowed, ...(reason === '' ? {} : { reason }) };
  }

  private rules(user: UserInfo, namespace: string): JsonObject {
    const rules = user.groups.includes(MASTERS) ? EVERYTHING : this.rbac.rulesFor(user, namespace);
    return {
      resourceRules: rules
        .filter(({ resources }) => (resources ?? []).length > 0)
        .map(({ verbs, apiGroups, resources, resourceNames }) => ({
          verbs: verbs ?? [],
          ...(apiGroups ? { apiGroups } : {}),
          ...(resources ? { resources } : {}),
          ...(resourceNames ? { resourceNames } : {}),
        })),
      nonResourceRules: rules
        .filter(({ nonResourceURLs }) => (nonResourceURLs ?? []).length > 0)
        .map(({ verbs, nonResourceURLs }) => ({
          verbs: verbs ?? [],
          nonResourceURLs: nonResourceURLs ?? [],
        })),
      incomplete: false,
    };
  }

  private token({ token = '', audiences }: TokenReviewSpec): JsonObject {
    try {
      const wanted = audiences && audiences.length > 0 ? audiences : undefined;
      const found = this.authenticator.userOfToken(token, wanted);
      if (!found) return { user: {}, error: 'invalid bearer token' };
      return { authenticated: true, user: writeUser(found.user), audiences: found.audiences };
    } catch (error) {
      return { user: {}, error: (error as Error).message };
    }
  }
}

function subjectOf(spec: AccessSpec): UserInfo {
  return {
    name: spec.user ?? '',
    groups: spec.groups ?? [],
    ...(spec.uid === undefined ? {} : { uid: spec.uid }),
    ...(spec.extra === undefined ? {} : { extra: spec.extra }),
  };
}

const EVERYTHING: PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

function writeUser(user: UserInfo): JsonObject {
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(user.extra === undefined
      ? {}
      : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }),
  };
}

function attributesOf(spec: AccessSpec, user: UserInfo): Attributes {
  const of = spec.resourceAttributes;
  const path = spec.nonResourceAttributes;
  return {
    user,
    verb: of?.verb ?? path?.verb ?? '',
    group: of?.group ?? '',
    version: of?.version ?? '*',
    resource: of?.resource ?? '',
    subresource: of?.subresource ?? '',
    namespace: of?.namespace ?? '',
    name: of?.name ?? '',
    ...(path ? { path: path.path ?? '' } : {}),
  };
}
