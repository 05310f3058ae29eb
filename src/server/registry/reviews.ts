// The review kinds: created, answered, never stored.
import { type FieldError, internalError, invalid } from '../../api/errors.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import { asObject, invalidValue, objectAt, stringAt, stringsAt } from '../../api/validation.ts';
import { timestamp } from '../../lib/clock.ts';
import type { RequestContext, Target } from './port.ts';
import type { Reviews } from './ports.ts';

type ReviewKind = Parameters<Reviews['status']>[0];

const REVIEW_KINDS: ReadonlySet<string> = new Set<ReviewKind>([
  'TokenReview',
  'SelfSubjectReview',
  'SubjectAccessReview',
  'LocalSubjectAccessReview',
  'SelfSubjectAccessReview',
  'SelfSubjectRulesReview',
]);

export function isReview(target: Target): boolean {
  return REVIEW_KINDS.has(target.info.kind) && target.info.group.endsWith('.k8s.io');
}

/** `review` is decoded and is answered with; its status is replaced. */
export async function answerReview(
  reviews: Reviews | undefined,
  target: Target,
  review: JsonObject,
  context: RequestContext,
  now: number,
): Promise<KubeObject> {
  const { kind, group } = target.info;
  const errors = validateReview(kind, review, target.namespace);
  // Kubernetes leaves the kind out of this message; so do we.
  if (errors.length > 0) throw invalid({ group, kind: '' }, '', errors);
  if (!reviews) throw internalError('this server answers no reviews');
  const metadata = objectAt(review, 'metadata');
  review.metadata = metadata;
  if (kind === 'SelfSubjectReview') metadata.creationTimestamp = timestamp(now);
  if (target.namespace !== undefined) metadata.namespace = target.namespace;
  review.status = await reviews.status(kind as ReviewKind, review, context);
  return review as unknown as KubeObject;
}

function validateReview(kind: string, review: JsonObject, namespace: string | undefined): FieldError[] {
  const spec = objectAt(review, 'spec');
  const errors: FieldError[] = [];
  if (kind === 'TokenReview' && stringAt(spec, 'token') === '') {
    errors.push({
      reason: 'FieldValueRequired',
      field: 'spec.token',
      message: 'Required value',
    });
  }
  if (!kind.endsWith('AccessReview')) return errors;
  const resource = asObject(spec.resourceAttributes);
  const path = asObject(spec.nonResourceAttributes);
  if (resource && path) {
    errors.push(
      invalidValue(
        'spec.nonResourceAttributes',
        path,
        'cannot be specified in combination with resourceAttributes',
      ),
    );
  }
  if (!resource && !path) {
    errors.push(
      invalidValue(
        'spec.resourceAttributes',
        null,
        'exactly one of nonResourceAttributes or resourceAttributes must be specified',
      ),
    );
  }
  if (kind === 'SelfSubjectAccessReview') return errors;
  if (stringAt(spec, 'user') === '' && stringsAt(spec, 'groups').length === 0) {
    errors.push(invalidValue('spec.user', '', 'at least one of user or group must be specified'));
  }
  if (kind === 'LocalSubjectAccessReview') {
    if (path) {
      errors.push(invalidValue('spec.nonResourceAttributes', path, 'disallowed on this kind of request'));
    }
    if (resource && stringAt(resource, 'namespace') !== namespace) {
      errors.push(
        invalidValue(
          'spec.resourceAttributes.namespace',
          resource.namespace ?? '',
          'must match metadata.namespace',
        ),
      );
    }
  }
  return errors;
}
