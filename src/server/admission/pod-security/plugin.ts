// PodSecurity: pods keep to the profile that their namespace enforces; who writes a workload whose pods would not is
// warned; who tightens a namespace hears which of its pods violate the new profile.
import { invalid } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { asObject, listAt, objectAt, stringAt } from '../../../api/validation.ts';
import type { Store } from '../../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../port.ts';
import { refuse } from '../refusal.ts';
import {
  brief,
  detailed,
  type LevelVersion,
  policyOf,
  policyText,
  samePolicy,
  strictness,
  violations,
} from './policy.ts';
import type { PodUnderCheck, Violation } from './subjects.ts';

/** Where workloads have their pod template. */
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  replicationcontrollers: ['spec', 'template'],
  podtemplates: ['template'],
  'replicasets.apps': ['spec', 'template'],
  'deployments.apps': ['spec', 'template'],
  'statefulsets.apps': ['spec', 'template'],
  'daemonsets.apps': ['spec', 'template'],
  'jobs.batch': ['spec', 'template'],
  'cronjobs.batch': ['spec', 'jobTemplate', 'spec', 'template'],
};
/** Views of a pod that change what is checked here; all others do not. */
const CHECKED_SUBRESOURCES = [undefined, 'ephemeralcontainers', 'resize'];
const SECCOMP_POD = 'seccomp.security.alpha.kubernetes.io/pod';
const SECCOMP_CONTAINER = 'container.seccomp.security.alpha.kubernetes.io/';
/** Of a namespace that is tightened. */
const MOST_PODS = 3000;
const AUDIT = 'pod-security.kubernetes.io/';

export function podSecurity(store: Pick<Store, 'head' | 'heads'>): AdmissionPlugin {
  return {
    name: 'PodSecurity',
    validate: (request) => {
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      if (!request.object) return;
      if (request.bucket === 'namespaces') checkNamespace(store, request, request.object);
      else if (request.bucket === 'pods') checkPod(store, request, request.object);
      else if (Object.hasOwn(TEMPLATES, request.bucket)) checkWorkload(store, request, request.object);
    },
  };
}

const labelsOf = (object: JsonObject | undefined): JsonObject =>
  objectAt(objectAt(object, 'metadata'), 'labels');

function labelsOfNamespace(store: Pick<Store, 'head'>, request: AdmissionRequest): JsonObject {
  const namespace = store.head('namespaces', request.target.namespace ?? '')?.object;
  return labelsOf(namespace as unknown as JsonObject | undefined);
}

function checkNamespace(store: Pick<Store, 'heads'>, request: AdmissionRequest, object: JsonObject): void {
  const { target, old, context } = request;
  if (target.subresource !== undefined) return;
  const { policy, errors } = policyOf(labelsOf(object));
  const before = old && policyOf(labelsOf(old));
  if (errors.length > 0 && (!before || JSON.stringify(errors) !== JSON.stringify(before.errors))) {
    throw invalid(target.info, stringAt(objectAt(object, 'metadata'), 'name'), errors);
  }
  if (!before) return;
  const { enforce } = policy;
  const was = before.policy.enforce;
  if (samePolicy(enforce, was) || enforce.level === 'privileged') return;
  if (enforce.version === was.version && strictness(enforce.level) <= strictness(was.level)) return;
  const name = stringAt(objectAt(object, 'metadata'), 'name');
  for (const text of surveyed(store, name, enforce)) context.warn(text);
}

/** Pods that violate a profile, those with the same violations counted together. */
function surveyed(store: Pick<Store, 'heads'>, namespace: string, enforce: LevelVersion): string[] {
  const all = store.heads('pods', `${namespace}/`).map(({ object }) => object as unknown as JsonObject);
  const found = new Map<string, string[]>();
  // One pod of each controller first: should there be too many, the most different ones are looked at.
  const seen = new Set<string>();
  const replicas: JsonObject[] = [];
  const first = all.filter((pod) => {
    const owner = listAt(objectAt(pod, 'metadata'), 'ownerReferences').find((one) => one.controller === true);
    if (!owner) return true;
    const uid = stringAt(owner, 'uid');
    if (!seen.has(uid)) {
      seen.add(uid);
      return true;
    }
    replicas.push(pod);
    return false;
  });
  for (const pod of [...first, ...replicas].slice(0, MOST_PODS)) {
    const list = violations(enforce, { metadata: objectAt(pod, 'metadata'), spec: objectAt(pod, 'spec') });
    if (list.length === 0) continue;
    const text = brief(list);
    found.set(text, [...(found.get(text) ?? []), stringAt(objectAt(pod, 'metadata'), 'name')]);
  }
  const warnings: string[] = [];
  if (all.length > MOST_PODS) {
    warnings.push(
      `new PodSecurity enforce level only checked against the first ${MOST_PODS} of ${all.length} existing pods`,
    );
  }
  if (found.size === 0) return warnings;
  warnings.push(
    `existing pods in namespace ${JSON.stringify(namespace)} violate the new PodSecurity enforce level ${JSON.stringify(policyText(enforce))}`,
  );
  const lines = [...found].sort(([left], [right]) => (left < right ? -1 : 1));
  return [...warnings, ...lines.map(([text, pods]) => `${podsText(pods.sort())}: ${text}`)];
}

function podsText(pods: readonly string[]): string {
  if (pods.length === 1) return pods[0] ?? '';
  return pods.length === 2
    ? `${pods[0]} (and 1 other pod)`
    : `${pods[0]} (and ${pods.length - 1} other pods)`;
}

function checkPod(store: Pick<Store, 'head'>, request: AdmissionRequest, pod: JsonObject): void {
  if (!CHECKED_SUBRESOURCES.includes(request.target.subresource)) return;
  if (request.old && !matters(pod, request.old)) return;
  evaluate(request, labelsOfNamespace(store, request), pod, true);
}

function checkWorkload(store: Pick<Store, 'head'>, request: AdmissionRequest, object: JsonObject): void {
  if (request.target.subresource !== undefined) return;
  let template: JsonObject | undefined = object;
  for (const field of TEMPLATES[request.bucket] ?? []) template = asObject(template?.[field]);
  if (template) evaluate(request, labelsOfNamespace(store, request), template, false);
}

function evaluate(
  request: AdmissionRequest,
  labels: JsonObject,
  holder: JsonObject,
  enforces: boolean,
): void {
  const { policy, errors } = policyOf(labels);
  const { context } = request;
  const modes = [policy.audit, policy.warn, ...(enforces ? [policy.enforce] : [])];
  if (errors.length === 0 && modes.every(({ level }) => level === 'privileged')) return;
  const pod: PodUnderCheck = { metadata: objectAt(holder, 'metadata'), spec: objectAt(holder, 'spec') };
  const known = new Map<string, Violation[]>();
  const found = (level: LevelVersion): Violation[] => {
    const key = policyText(level);
    const list = known.get(key) ?? violations(level, pod);
    known.set(key, list);
    return list;
  };
  const told = (level: LevelVersion): string =>
    `violate PodSecurity ${JSON.stringify(policyText(level))}: ${detailed(found(level))}`;
  if (errors.length > 0) {
    const why = errors.map(({ field, message }) => `${field}: ${message}`).join(', ');
    context.annotate?.(`${AUDIT}error`, `Failed to parse policy: ${why}`);
  }
  if (found(policy.audit).length > 0) {
    context.annotate?.(`${AUDIT}audit-violations`, `would ${told(policy.audit)}`);
  }
  if (enforces) {
    context.annotate?.(`${AUDIT}enforce-policy`, policyText(policy.enforce));
    if (found(policy.enforce).length > 0) {
      throw refuse(request, told(policy.enforce).replace('violate', 'violates'));
    }
  }
  if (found(policy.warn).length > 0) context.warn(`would ${told(policy.warn)}`);
}

/** Of what may change in a pod, only images, seccomp annotations and new containers bear on the profiles. */
function matters(pod: JsonObject, old: JsonObject): boolean {
  const annotations = objectAt(objectAt(pod, 'metadata'), 'annotations');
  const before = objectAt(objectAt(old, 'metadata'), 'annotations');
  if (annotations[SECCOMP_POD] !== before[SECCOMP_POD]) return true;
  const spec = objectAt(pod, 'spec');
  const oldSpec = objectAt(old, 'spec');
  return ['containers', 'initContainers', 'ephemeralContainers'].some((field) => {
    const were = new Map(listAt(oldSpec, field).map((container) => [container.name, container]));
    return listAt(spec, field).some((container) => {
      const was = were.get(container.name);
      const key = `${SECCOMP_CONTAINER}${stringAt(container, 'name')}`;
      return !was || was.image !== container.image || annotations[key] !== before[key];
    });
  });
}
