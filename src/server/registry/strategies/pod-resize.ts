// pods/resize: what of a pod's CPU and memory may change while it runs.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { forbiddenField, invalidValue, listAt, objectAt, stringAt } from '../../../api/validation.ts';
import { qosClass } from './pod-qos.ts';
import { validatePodSpec } from './pod-spec.ts';

const MIRROR = 'kubernetes.io/config.mirror';
const RESIZABLE = ['cpu', 'memory'];

export function isMirrorPod(pod: JsonObject): boolean {
  return objectAt(objectAt(pod, 'metadata'), 'annotations')[MIRROR] !== undefined;
}

/**
 * Of what was submitted only resources and resize policies count, the pod's and its containers'. Containers that were
 * added, taken away or put into another order are left in, for the validation to refuse.
 */
export function takeResize(next: JsonObject, submitted: JsonObject): void {
  const given = objectAt(submitted, 'spec');
  const spec: JsonObject = { ...objectAt(next, 'spec') };
  for (const field of ['containers', 'initContainers']) {
    const asked = listAt(given, field);
    const were = listAt(spec, field);
    const same = asked.length === were.length && were.every(({ name }, index) => asked[index]?.name === name);
    if (asked.length > 0 || were.length > 0) {
      spec[field] = same ? were.map((container, index) => resized(container, asked[index] ?? {})) : asked;
    }
  }
  if (given.resources === undefined) delete spec.resources;
  else spec.resources = given.resources;
  next.spec = spec;
}

function resized(container: JsonObject, asked: JsonObject): JsonObject {
  const result: JsonObject = { ...container };
  for (const field of ['resources', 'resizePolicy']) {
    if (asked[field] === undefined) delete result[field];
    else result[field] = asked[field];
  }
  if (result.resources === undefined && container.resources !== undefined) result.resources = {};
  return result;
}

/** The rules of ValidatePodResize. */
export function validateResize(next: JsonObject, old: JsonObject): FieldError[] {
  if (isMirrorPod(old)) return [forbiddenField('', 'static pods cannot be resized')];
  const before = objectAt(old, 'spec');
  const spec = objectAt(next, 'spec');
  if (objectAt(before, 'os').name === 'windows') {
    return [forbiddenField('', 'windows pods cannot be resized')];
  }
  for (const field of ['containers', 'initContainers']) {
    const names = (pod: JsonObject): unknown[] => listAt(pod, field).map(({ name }) => name);
    if (!jsonEqual(names(spec) as JsonObject[], names(before) as JsonObject[])) {
      return [forbiddenField(`spec.${field}`, 'pod updates may not add or remove containers')];
    }
  }
  const errors = validatePodSpec(spec, 'spec');
  const known = stringAt(objectAt(old, 'status'), 'qosClass') || qosClass(before);
  if (qosClass(spec) !== known) {
    errors.push(invalidValue('spec', known, 'Pod QOS Class may not change as a result of resizing'));
  }
  errors.push(...removals(objectAt(spec, 'resources'), objectAt(before, 'resources'), 'spec.resources'));
  for (const field of ['initContainers', 'containers']) {
    const were = listAt(before, field);
    listAt(spec, field).forEach((container, index) => {
      const was = were[index] ?? {};
      if (field === 'initContainers' && was.restartPolicy !== 'Always') {
        if (!jsonEqual(container, was)) {
          errors.push(forbiddenField('spec', 'resources for non-sidecar init containers are immutable'));
        }
        return;
      }
      const path = `spec.${field}[${index}].resources`;
      errors.push(...removals(objectAt(container, 'resources'), objectAt(was, 'resources'), path));
      if (!jsonEqual(otherResources(container), otherResources(was))) {
        const whose = field === 'containers' ? '' : ' for sidecar containers';
        errors.push(forbiddenField('spec', `only cpu and memory resources${whose} are mutable`));
      }
    });
  }
  if (!jsonEqual(otherResources(spec), otherResources(before))) {
    errors.push(forbiddenField('spec', 'only cpu and memory resources are mutable'));
  }
  return errors;
}

function removals(now: JsonObject, was: JsonObject, path: string): FieldError[] {
  return ['requests', 'limits'].flatMap((part) => {
    const left = objectAt(now, part);
    const removed = Object.keys(objectAt(was, part)).some((name) => left[name] === undefined);
    return removed ? [forbiddenField(`${path}.${part}`, `resource ${part} cannot be removed`)] : [];
  });
}

/** What a resize may not touch. */
function otherResources(owner: JsonObject): JsonObject {
  const { requests: _requests, limits: _limits, ...rest } = objectAt(owner, 'resources');
  const others = (part: string): JsonObject =>
    Object.fromEntries(
      Object.entries(objectAt(objectAt(owner, 'resources'), part)).filter(
        ([name]) => !RESIZABLE.includes(name),
      ),
    );
  return { ...rest, requests: others('requests'), limits: others('limits') };
}
