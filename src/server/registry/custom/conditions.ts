// Which names a CustomResourceDefinition gets, and what its conditions say of it. Pure.

import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { listAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';

export const CLEANUP_FINALIZER = 'customresourcecleanup.apiextensions.k8s.io';
const APPROVAL = 'api-approved.kubernetes.io';

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
}

export function conditionOf(definition: JsonObject, type: string): JsonObject | undefined {
  return listAt(objectAt(definition, 'status'), 'conditions').find((condition) => condition.type === type);
}

export function isTrue(definition: JsonObject, type: string): boolean {
  return conditionOf(definition, type)?.status === 'True';
}

/** The status with a condition set; its time changes only with its status. Undefined when nothing changes. */
export function withCondition(status: JsonObject, wanted: Condition, now: string): JsonObject | undefined {
  const conditions = listAt(status, 'conditions');
  const known = conditions.find(({ type }) => type === wanted.type);
  const { type, reason, message } = wanted;
  const next: JsonObject = {
    type,
    status: wanted.status,
    lastTransitionTime: known?.status === wanted.status ? known.lastTransitionTime : now,
    reason,
    message,
  };
  if (known && known.status === next.status && known.reason === reason && known.message === message) {
    return undefined;
  }
  const list = known
    ? conditions.map((condition) => (condition === known ? next : condition))
    : [...conditions, next];
  return { ...status, conditions: list };
}

interface Names {
  readonly resources: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
}

/** What the definitions of a group have been given. */
export function namesInUse(definitions: Iterable<JsonObject>): Names {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const definition of definitions) {
    const names = objectAt(objectAt(definition, 'status'), 'acceptedNames');
    for (const name of [
      stringAt(names, 'plural'),
      stringAt(names, 'singular'),
      ...stringsAt(names, 'shortNames'),
    ]) {
      if (name !== '') resources.add(name);
    }
    for (const name of [stringAt(names, 'kind'), stringAt(names, 'listKind')])
      if (name !== '') kinds.add(name);
  }
  return { resources, kinds };
}

/** The names that the definition gets and the condition that tells; `used` are those of its whole group. */
export function acceptNames(
  definition: JsonObject,
  used: Names,
): { accepted: JsonObject; condition: Condition } {
  const wanted = objectAt(objectAt(definition, 'spec'), 'names');
  const had = objectAt(objectAt(definition, 'status'), 'acceptedNames');
  const accepted: JsonObject = { ...had };
  let conflict: { reason: string; message: string } | undefined;
  const take = (field: string, reason: string, taken: ReadonlySet<string>): void => {
    const name = stringAt(wanted, field);
    if (name === stringAt(had, field) || !taken.has(name)) accepted[field] = name;
    else conflict = { reason, message: `${JSON.stringify(name)} is already in use` };
  };
  take('plural', 'PluralConflict', used.resources);
  take('singular', 'SingularConflict', used.resources);
  const shortNames = stringsAt(wanted, 'shortNames');
  const own = stringsAt(had, 'shortNames');
  const taken = shortNames.filter((name) => !own.includes(name) && used.resources.has(name));
  if (taken.length === 0) accepted.shortNames = shortNames;
  else {
    const texts = taken.map((name) => `${JSON.stringify(name)} is already in use`);
    conflict = {
      reason: 'ShortNamesConflict',
      message: texts.length === 1 ? (texts[0] as string) : `[${texts.join(', ')}]`,
    };
  }
  take('kind', 'KindConflict', used.kinds);
  take('listKind', 'ListKindConflict', used.kinds);
  accepted.categories = stringsAt(wanted, 'categories');
  const condition: Condition = conflict
    ? { type: 'NamesAccepted', status: 'False', ...conflict }
    : { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' };
  return { accepted: ordered(accepted), condition };
}

function ordered(names: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const field of ['plural', 'singular', 'shortNames', 'kind', 'listKind', 'categories']) {
    const value = names[field];
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    if (value === '' && field !== 'plural' && field !== 'kind') continue;
    result[field] = value;
  }
  return result;
}

/** The status that follows for a definition that lives; undefined when it says so already. */
export function nextStatus(definition: JsonObject, used: Names, now: string): JsonObject | undefined {
  const current = objectAt(definition, 'status');
  const { accepted, condition } = acceptNames(definition, used);
  let status: JsonObject = jsonEqual(current.acceptedNames, accepted)
    ? current
    : { ...current, acceptedNames: accepted };
  status = withCondition(status, condition, now) ?? status;
  const approval = approvalOf(definition);
  if (approval) status = withCondition(status, approval, now) ?? status;
  const established = listAt(status, 'conditions').find(({ type }) => type === 'Established');
  // Once established it stays so, whatever becomes of later names.
  if (established?.status !== 'True') {
    const next: Condition =
      condition.status === 'True'
        ? {
            type: 'Established',
            status: 'False',
            reason: 'Installing',
            message: 'the initial names have been accepted',
          }
        : {
            type: 'Established',
            status: 'False',
            reason: 'NotAccepted',
            message: 'not all names are accepted',
          };
    if (!established || condition.status === 'True') status = withCondition(status, next, now) ?? status;
  }
  return status === current ? undefined : status;
}

export const ESTABLISHED: Condition = {
  type: 'Established',
  status: 'True',
  reason: 'InitialNamesAccepted',
  message: 'the initial names have been accepted',
};

export const terminating = (status: 'True' | 'False', reason: string, message: string): Condition => ({
  type: 'Terminating',
  status,
  reason,
  message,
});

/** Groups of Kubernetes' own need its approval, which an annotation states. */
function approvalOf(definition: JsonObject): Condition | undefined {
  const group = stringAt(objectAt(definition, 'spec'), 'group');
  if (!/(?:^|\.)(?:k8s|kubernetes)\.io$/.test(group)) return undefined;
  const annotation = stringAt(objectAt(objectAt(definition, 'metadata'), 'annotations'), APPROVAL);
  const type = 'KubernetesAPIApproved';
  if (/^https?:\/\//.test(annotation)) {
    return { type, status: 'True', reason: 'ApprovedAnnotation', message: `approved in ${annotation}` };
  }
  if (annotation.startsWith('unapproved')) {
    return {
      type,
      status: 'False',
      reason: 'UnapprovedAnnotation',
      message: `not approved: ${JSON.stringify(annotation)}`,
    };
  }
  return {
    type,
    status: 'False',
    reason: annotation === '' ? 'MissingAnnotation' : 'InvalidAnnotation',
    message:
      annotation === ''
        ? `protected groups must have approval annotation ${JSON.stringify(APPROVAL)}, see https://github.com/kubernetes/enhancements/pull/1111`
        : `protected groups must have approval annotation ${JSON.stringify(APPROVAL)} with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111`,
  };
}
