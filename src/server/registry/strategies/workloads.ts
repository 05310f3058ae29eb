// What Deployments, ReplicaSets, DaemonSets, StatefulSets and ReplicationControllers share.
import type { FieldError } from '../../../api/errors.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkIntOrPercent,
  checkNonNegative,
  checkNotMoreThanHundred,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';
import { isEmptySelector, safeMatcher, validateLabelSelector } from './label-selector.ts';
import { validateTemplate } from './pod-spec.ts';

/** The selector is there, well-formed and not empty; `what` ends the sentence about an empty one. */
export function validateWorkloadSelector(spec: JsonObject, what: string): FieldError[] {
  const selector = asObject(spec.selector);
  if (!selector) return [required('spec.selector')];
  const errors = validateLabelSelector(selector, 'spec.selector');
  if (isEmptySelector(selector)) {
    errors.push(invalidValue('spec.selector', selector, `empty selector is invalid for ${what}`));
  }
  return errors;
}

/** The template of a workload whose pods run for ever. `kind` is named in the message about deadlines. */
export function validateWorkloadTemplate(
  spec: JsonObject,
  options: { kind: string; labelsPath?: string },
): FieldError[] {
  const selector = asObject(spec.selector);
  const matches = selector ? safeMatcher(selector) : () => false;
  if (!matches) return [invalidValue('spec.selector', selector, 'invalid label selector')];
  const template = objectAt(spec, 'template');
  const labels = objectAt(objectAt(template, 'metadata'), 'labels');
  const errors: FieldError[] = [];
  const everything = selector !== undefined && isEmptySelector(selector);
  if (!everything && !matches(labels as Record<string, string>)) errors.push(mismatch(labels));
  errors.push(...validateTemplate(template, 'spec.template'));
  errors.push(...validateRunsForEver(objectAt(template, 'spec'), options.kind));
  return errors;
}

export function mismatch(labels: JsonObject): FieldError {
  return invalidValue(
    'spec.template.metadata.labels',
    Object.keys(labels).length === 0 ? null : labels,
    '`selector` does not match template `labels`',
  );
}

export function validateRunsForEver(podSpec: JsonObject, kind: string): FieldError[] {
  const errors: FieldError[] = [];
  const policy = stringAt(podSpec, 'restartPolicy');
  if (['OnFailure', 'Never'].includes(policy)) {
    errors.push(notSupported('spec.template.spec.restartPolicy', policy, ['Always']));
  }
  if (podSpec.activeDeadlineSeconds !== undefined) {
    errors.push(
      forbiddenField(
        'spec.template.spec.activeDeadlineSeconds',
        `activeDeadlineSeconds in ${kind} is not Supported`,
      ),
    );
  }
  return errors;
}

/** An update strategy as Go writes it. */
export function shownStrategy({ type, rollingUpdate }: JsonObject): JsonObject {
  return { Type: type ?? '', RollingUpdate: rollingUpdate ?? null };
}

/** maxUnavailable and maxSurge of a rolling update. */
export function validateRollingUpdate(update: JsonObject, path: string): FieldError[] {
  const { maxUnavailable, maxSurge } = update;
  const errors = [
    ...checkIntOrPercent(`${path}.maxUnavailable`, maxUnavailable),
    ...checkIntOrPercent(`${path}.maxSurge`, maxSurge),
  ];
  if (amount(maxUnavailable) === 0 && amount(maxSurge) === 0) {
    errors.push(invalidValue(`${path}.maxUnavailable`, maxUnavailable, 'may not be 0 when `maxSurge` is 0'));
  }
  return [...errors, ...checkNotMoreThanHundred(`${path}.maxUnavailable`, maxUnavailable)];
}

export function amount(value: Json | undefined): number {
  return typeof value === 'number' ? value : Number.parseInt(String(value ?? 0), 10);
}

export function nonNegative(spec: JsonObject, ...fields: string[]): FieldError[] {
  return fields.flatMap((field) => checkNonNegative(`spec.${field}`, spec[field]));
}

/** Status counts are never negative. */
export function validateCounts(object: JsonObject, fields: readonly string[]): FieldError[] {
  const status = objectAt(object, 'status');
  return fields.flatMap((field) => checkNonNegative(`status.${field}`, status[field]));
}

/**
 * Of the pods that there are (`status.replicas`), no more can be ready, available and so on, and what is available is
 * ready. `ready`: how the kind calls the ready ones in that message.
 */
export function validateParts(object: JsonObject, parts: readonly string[], ready: string): FieldError[] {
  const status = objectAt(object, 'status');
  const count = (field: string): number => numberAt(status, field) ?? 0;
  const errors = parts
    .filter((field) => count(field) > count('replicas'))
    .map((field) => invalidValue(`status.${field}`, count(field), 'cannot be greater than status.replicas'));
  if (count('availableReplicas') > count('readyReplicas')) {
    const why = `cannot be greater than ${ready}`;
    errors.push(invalidValue('status.availableReplicas', count('availableReplicas'), why));
  }
  return errors;
}

/** collisionCount tells names apart that were taken once: it only grows. */
export function validateCollisions(object: JsonObject, old: JsonObject): FieldError[] {
  const now = numberAt(objectAt(object, 'status'), 'collisionCount') ?? 0;
  const was = numberAt(objectAt(old, 'status'), 'collisionCount') ?? 0;
  const errors = checkNonNegative('status.collisionCount', now);
  if (now < was) errors.push(invalidValue('status.collisionCount', now, 'cannot be decremented'));
  return errors;
}

/** A status that the controller will fill: what its Go type writes when empty. */
export function emptyStatus(object: JsonObject, status: JsonObject = {}): void {
  object.status = status;
}

/** Names, images and such of a template's containers, as tables show them. */
export function containerCells(template: JsonObject): [names: string, images: string] {
  const containers = listAt(objectAt(template, 'spec'), 'containers');
  return [
    containers.map((container) => stringAt(container, 'name')).join(','),
    containers.map((container) => stringAt(container, 'image')).join(','),
  ];
}

export function copyLabels(from: JsonObject, to: JsonObject): void {
  const labels = objectAt(from, 'labels');
  if (Object.keys(labels).length > 0 && Object.keys(objectAt(to, 'labels')).length === 0) {
    to.labels = { ...labels };
  }
}
