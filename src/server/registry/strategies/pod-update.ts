// What may change about a pod after it was made.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  forbiddenField,
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';
import { validateEphemeralContainers } from './containers.ts';
import { isMirrorPod } from './pod-resize.ts';

const UPDATABLE =
  '`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

/** The rules of ValidatePodUpdate that concern the change. */
export function validatePodUpdate(next: JsonObject, old: JsonObject): FieldError[] {
  const spec = objectAt(next, 'spec');
  const before = objectAt(old, 'spec');
  const errors: FieldError[] = [];
  for (const field of ['containers', 'initContainers']) {
    const containers = listAt(spec, field);
    if (containers.length !== listAt(before, field).length) {
      errors.push(forbiddenField(`spec.${field}`, 'pod updates may not add or remove containers'));
      return errors;
    }
    containers.forEach((container, index) => {
      if (stringAt(container, 'image').trim() === '') errors.push(required(`spec.${field}[${index}].image`));
    });
  }
  errors.push(...validateDeadline(spec, before), ...validateTolerations(spec, before));
  errors.push(...validateGates(spec, before), ...validateSteering(spec, before));
  if (jsonEqual(spec, before)) return errors;
  if (!jsonEqual(withoutUpdatable(spec, before), before)) {
    errors.push(
      forbiddenField(
        'spec',
        `pod updates may not change fields other than ${UPDATABLE}\n${changes(spec, before)}`,
      ),
    );
  }
  return errors;
}

function validateDeadline(spec: JsonObject, before: JsonObject): FieldError[] {
  const field = 'spec.activeDeadlineSeconds';
  const now = numberAt(spec, 'activeDeadlineSeconds');
  const was = numberAt(before, 'activeDeadlineSeconds');
  if (now === undefined) {
    return was === undefined
      ? []
      : [invalidValue(field, 'null', 'must not update from a positive integer to nil value')];
  }
  return was !== undefined && was < now
    ? [invalidValue(field, now, 'must be less than or equal to previous value')]
    : [];
}

/** Tolerations may be added; of those that exist only tolerationSeconds may change. */
function validateTolerations(spec: JsonObject, before: JsonObject): FieldError[] {
  const now = listAt(spec, 'tolerations');
  const same = (left: JsonObject, right: JsonObject): boolean =>
    jsonEqual({ ...left, tolerationSeconds: undefined }, { ...right, tolerationSeconds: undefined });
  const kept = listAt(before, 'tolerations').every((was) => now.some((candidate) => same(candidate, was)));
  return kept
    ? []
    : [
        forbiddenField(
          'spec.tolerations',
          'existing toleration can not be modified except its tolerationSeconds',
        ),
      ];
}

function validateGates(spec: JsonObject, before: JsonObject): FieldError[] {
  const was = new Set(listAt(before, 'schedulingGates').map(({ name }) => name));
  return listAt(spec, 'schedulingGates').flatMap(({ name }, index) =>
    was.has(name)
      ? []
      : [
          forbiddenField(
            `spec.schedulingGates[${index}]`,
            `only deletion is allowed, but found new scheduling gate '${name}'`,
          ),
        ],
  );
}

function isGated(spec: JsonObject): boolean {
  return listAt(spec, 'schedulingGates').length > 0;
}

/** What narrows down the nodes of a pod that is held by gates may be added to, and no more. */
function validateSteering(spec: JsonObject, before: JsonObject): FieldError[] {
  if (!isGated(before)) return [];
  const errors: FieldError[] = [];
  const selector = objectAt(spec, 'nodeSelector');
  const were = Object.entries(objectAt(before, 'nodeSelector'));
  if (were.some(([key, value]) => selector[key] !== value)) {
    const why = 'only additions to spec.nodeSelector are allowed (no mutations or deletions)';
    errors.push(invalidValue('spec.nodeSelector', spec.nodeSelector ?? null, why));
  }
  const old = requiredTerms(before);
  const now = requiredTerms(spec);
  const field = 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms';
  if (old.length === 0) return errors;
  if (old.length !== now.length) {
    const why = 'no additions/deletions to non-empty NodeSelectorTerms list are allowed';
    return [...errors, invalidValue(field, now.length === 0 ? null : now.map(printedTerm), why)];
  }
  now.forEach((term, index) => {
    if (hasOnlyAdditions(term, old[index] ?? {})) return;
    const why = 'only additions are allowed (no mutations or deletions)';
    errors.push(invalidValue(`${field}[${index}]`, printedTerm(term), why));
  });
  return errors;
}

function requiredTerms(spec: JsonObject): JsonObject[] {
  const affinity = objectAt(objectAt(spec, 'affinity'), 'nodeAffinity');
  return listAt(objectAt(affinity, 'requiredDuringSchedulingIgnoredDuringExecution'), 'nodeSelectorTerms');
}

const REQUIREMENTS = ['matchExpressions', 'matchFields'];

function hasOnlyAdditions(term: JsonObject, was: JsonObject): boolean {
  // An empty term matches no node: whatever is added to it lets more in.
  const count = (of: JsonObject): number =>
    REQUIREMENTS.reduce((sum, list) => sum + listAt(of, list).length, 0);
  if (count(was) === 0) return count(term) === 0;
  return REQUIREMENTS.every((list) =>
    listAt(was, list).every((requirement, index) => jsonEqual(requirement, listAt(term, list)[index])),
  );
}

/** As Kubernetes prints its internal type. */
function printedTerm(term: JsonObject): JsonObject {
  const requirements = (list: string): JsonObject[] | null =>
    term[list] === undefined
      ? null
      : listAt(term, list).map(({ key, operator, values }) => ({
          Key: key ?? '',
          Operator: operator ?? '',
          Values: values ?? null,
        }));
  return { MatchExpressions: requirements('matchExpressions'), MatchFields: requirements('matchFields') };
}

/** The new spec with everything that may change put back; equal to the old one when nothing else changed. */
function withoutUpdatable(spec: JsonObject, before: JsonObject): JsonObject {
  const result: JsonObject = { ...spec };
  for (const field of ['containers', 'initContainers']) {
    if (spec[field] === undefined) continue;
    const were = listAt(before, field);
    result[field] = listAt(spec, field).map((container, index) => ({
      ...container,
      image: were[index]?.image,
    }));
  }
  for (const field of ['activeDeadlineSeconds', 'tolerations', 'schedulingGates']) {
    if (before[field] === undefined) delete result[field];
    else result[field] = before[field];
  }
  const grace = numberAt(before, 'terminationGracePeriodSeconds');
  if (grace !== undefined && grace < 0 && spec.terminationGracePeriodSeconds === 1) {
    result.terminationGracePeriodSeconds = grace;
  }
  // A pod that is held by gates may still be steered more narrowly.
  if (isGated(before)) {
    restore(result, before, 'nodeSelector');
    const affinity: JsonObject = { ...objectAt(spec, 'affinity') };
    restore(affinity, objectAt(before, 'affinity'), 'nodeAffinity');
    if (Object.keys(affinity).length > 0 || before.affinity !== undefined) result.affinity = affinity;
    else delete result.affinity;
  }
  return result;
}

function restore(target: JsonObject, source: JsonObject, field: string): void {
  if (source[field] === undefined) delete target[field];
  else target[field] = source[field];
}

/** Which top-level fields of the spec differ, for the reader of the message. */
export function changes(spec: JsonObject, before: JsonObject): string {
  const fields = new Set([...Object.keys(spec), ...Object.keys(before)]);
  return [...fields]
    .filter((field) => !jsonEqual(spec[field], before[field]))
    .map((field) => `spec.${field}: ${JSON.stringify(before[field])} -> ${JSON.stringify(spec[field])}`)
    .join('\n');
}

/** pods/ephemeralcontainers: containers may be added, never changed or taken away. */
export function validateEphemeralUpdate(next: JsonObject, old: JsonObject): FieldError[] {
  if (isMirrorPod(old)) return [forbiddenField('', 'static pods do not support ephemeral containers')];
  const spec = objectAt(next, 'spec');
  const errors = validateEphemeralContainers(spec, 'spec.ephemeralContainers');
  const now = new Map(listAt(spec, 'ephemeralContainers').map((container) => [container.name, container]));
  for (const was of listAt(objectAt(old, 'spec'), 'ephemeralContainers')) {
    const is = now.get(was.name);
    if (!is) {
      errors.push(
        forbiddenField(
          'spec.ephemeralContainers',
          `existing ephemeral containers ${JSON.stringify(was.name)} may not be removed\n`,
        ),
      );
    } else if (!jsonEqual(is, was)) {
      errors.push(
        forbiddenField(
          'spec.ephemeralContainers',
          `existing ephemeral containers ${JSON.stringify(was.name)} may not be changed\n${changes(is, was)}`,
        ),
      );
    }
  }
  return errors;
}
