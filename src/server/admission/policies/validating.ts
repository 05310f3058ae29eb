// What a ValidatingAdmissionPolicy says of one request.
import type { StatusReason } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { listAt, objectAt, stringAt } from '../../../api/validation.ts';
import { type Budget, ExpressionError } from '../../cel/expressions.ts';
import { type CompiledPolicy, evaluate } from './compiled.ts';

/** A validation that failed. */
export interface Verdict {
  message: string;
  /** One of STATUS_OF. */
  reason: string;
  /** Of the validation in the policy. */
  index: number;
}

export const STATUS_OF: Readonly<Record<string, { reason: StatusReason; code: number }>> = {
  Unauthorized: { reason: 'Unauthorized', code: 401 },
  Forbidden: { reason: 'Forbidden', code: 403 },
  RequestEntityTooLarge: { reason: 'RequestEntityTooLarge', code: 413 },
  Invalid: { reason: 'Invalid', code: 422 },
};

const LONGEST_MESSAGE = 5 * 1024;
const LONGEST_ANNOTATION = 10 * 1024;

/** What fails to evaluate counts as violated, unless the policy says that failures are ignored. */
export function judge(
  policy: JsonObject,
  compiled: CompiledPolicy,
  scope: object,
  budget: Budget,
): Verdict[] {
  const spec = objectAt(policy, 'spec');
  return listAt(spec, 'validations').flatMap((validation, index): Verdict[] => {
    const expression = stringAt(validation, 'expression');
    try {
      if (evaluate(compiled.of(expression), scope, budget) === true) return [];
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return spec.failurePolicy === 'Ignore' ? [] : [{ message: error.message, reason: 'Invalid', index }];
    }
    const reason = stringAt(validation, 'reason') || 'Invalid';
    const message =
      messageOf(stringAt(validation, 'messageExpression'), compiled, scope, budget) ??
      (stringAt(validation, 'message').trim() || `failed expression: ${expression.trim()}`);
    return [{ message, reason, index }];
  });
}

/** Undefined when there is none, or it is no message: then the fixed one is used. */
function messageOf(
  source: string,
  compiled: CompiledPolicy,
  scope: object,
  budget: Budget,
): string | undefined {
  if (source === '') return undefined;
  try {
    const result = evaluate(compiled.of(source), scope, budget);
    const text = typeof result === 'string' ? result.trim() : '';
    return text === '' || text.length > LONGEST_MESSAGE || text.includes('\n') ? undefined : text;
  } catch (error) {
    if (error instanceof ExpressionError) return undefined;
    throw error;
  }
}

/** Throws ExpressionError when one cannot be evaluated and the policy does not ignore failures. */
export function auditValues(
  policy: JsonObject,
  compiled: CompiledPolicy,
  scope: object,
  budget: Budget,
): { key: string; value: string }[] {
  const spec = objectAt(policy, 'spec');
  return listAt(spec, 'auditAnnotations').flatMap((annotation) => {
    try {
      const value = evaluate(compiled.of(stringAt(annotation, 'valueExpression')), scope, budget);
      const text = typeof value === 'string' ? value.trim().slice(0, LONGEST_ANNOTATION) : '';
      return text === '' ? [] : [{ key: stringAt(annotation, 'key'), value: text }];
    } catch (error) {
      if (error instanceof ExpressionError && spec.failurePolicy === 'Ignore') return [];
      throw error;
    }
  });
}
