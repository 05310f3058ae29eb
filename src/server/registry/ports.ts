// What the registry needs of identity and of the Bus, injected so that it can be served without either.
import type { JsonObject } from '../../api/object.ts';
import type { RequestContext } from './port.ts';

/** Signs service account tokens. `serviceAccount` is the stored object. */
export interface TokenIssuer {
  issue(request: {
    serviceAccount: JsonObject;
    audiences: readonly string[];
    expirationSeconds: number;
    /** The pod, secret or node the token dies with; its existence and uid have been checked. */
    boundObject?: { kind: string; apiVersion: string; name: string; uid: string } | undefined;
  }): Promise<{ token: string; expirationTimestamp: string }>;
  /** The audiences of a request that names none. */
  readonly defaultAudiences: readonly string[];
}

/**
 * Answers the review kinds of authentication.k8s.io and authorization.k8s.io. `review` has been decoded and validated;
 * the answer is its `status` (`{allowed, reason}`, `{authenticated, user, audiences, error}`, `{userInfo}`, …).
 */
export interface Reviews {
  status(
    kind:
      | 'TokenReview'
      | 'SelfSubjectReview'
      | 'SubjectAccessReview'
      | 'LocalSubjectAccessReview'
      | 'SelfSubjectAccessReview'
      | 'SelfSubjectRulesReview',
    review: JsonObject,
    context: RequestContext,
  ): Promise<JsonObject>;
}
