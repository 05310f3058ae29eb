// DefaultTolerationSeconds, Priority, RuntimeClass and TaintNodesByCondition: what a pod (or node) gets so that the
// scheduler and the node monitor know how to treat it.
import { forbidden, type StatusError } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { ensureObject, listAt, objectAt, stringAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';

const NOT_READY = 'node.kubernetes.io/not-ready';
const UNREACHABLE = 'node.kubernetes.io/unreachable';
/** A pod outlives five minutes of its node's absence. */
const TOLERATED_SECONDS = 300;

const isPod = ({ bucket, target }: AdmissionRequest): boolean =>
  bucket === 'pods' && target.subresource === undefined;

export function defaultTolerationSeconds(): AdmissionPlugin {
  return {
    name: 'DefaultTolerationSeconds',
    admit: (request) => {
      if (!isPod(request) || !request.object) return;
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      const spec = ensureObject(request.object, 'spec');
      const tolerations = listAt(spec, 'tolerations');
      const tolerates = (key: string): boolean =>
        tolerations.some(
          (toleration) =>
            (stringAt(toleration, 'key') === key || stringAt(toleration, 'key') === '') &&
            (stringAt(toleration, 'effect') === 'NoExecute' || stringAt(toleration, 'effect') === ''),
        );
      const added = [NOT_READY, UNREACHABLE]
        .filter((key) => !tolerates(key))
        .map((key) => ({
          key,
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: TOLERATED_SECONDS,
        }));
      if (added.length > 0) spec.tolerations = [...tolerations, ...added];
    },
  };
}

/** Nodes come up tainted until the node monitor has seen them ready. */
export function taintNewNodes(): AdmissionPlugin {
  return {
    name: 'TaintNodesByCondition',
    admit: ({ bucket, operation, target, object }) => {
      if (bucket !== 'nodes' || operation !== 'CREATE' || target.subresource !== undefined || !object) return;
      const spec = ensureObject(object, 'spec');
      const taints = listAt(spec, 'taints');
      if (taints.some(({ key, effect }) => key === NOT_READY && effect === 'NoSchedule')) return;
      spec.taints = [...taints, { key: NOT_READY, effect: 'NoSchedule' }];
    },
  };
}

const PRIORITY_CLASSES = 'priorityclasses.scheduling.k8s.io';
const HIGHEST_USER_PRIORITY = 1_000_000_000;

export function priority(store: Store): AdmissionPlugin {
  return {
    name: 'Priority',
    admit: (request) => {
      if (!isPod(request) || !request.object) return;
      if (request.operation === 'CREATE') admitPriority(store, request, request.object);
      else if (request.operation === 'UPDATE') keepPriority(request.object, request.old);
    },
    validate: ({ bucket, operation, target, object }) => {
      if (bucket !== PRIORITY_CLASSES || operation === 'DELETE' || object?.globalDefault !== true) return;
      const name = stringAt(objectAt(object, 'metadata'), 'name');
      const other = defaultClass(store);
      if (other && other.metadata !== undefined && stringAt(objectAt(other, 'metadata'), 'name') !== name) {
        throw forbidden(
          target.info,
          name,
          `PriorityClass ${stringAt(objectAt(other, 'metadata'), 'name')} is already marked as default. Only one default can exist`,
        );
      }
    },
  };
}

function admitPriority(store: Store, request: AdmissionRequest, pod: JsonObject): void {
  const spec = ensureObject(pod, 'spec');
  const podName = stringAt(objectAt(pod, 'metadata'), 'name');
  let computed = 0;
  let preemption = 'PreemptLowerPriority';
  const className = stringAt(spec, 'priorityClassName');
  const found = className === '' ? defaultClass(store) : classNamed(store, className);
  if (className !== '' && !found) {
    throw forbidden(request.target.info, podName, `no PriorityClass with name ${className} was found`);
  }
  if (found) {
    computed = (found.value as number | undefined) ?? 0;
    preemption = stringAt(found, 'preemptionPolicy') || preemption;
    if (className === '') spec.priorityClassName = stringAt(objectAt(found, 'metadata'), 'name');
  }
  if (spec.priority !== undefined && spec.priority !== computed) {
    throw forbidden(
      request.target.info,
      podName,
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${computed} from the given PriorityClass name`,
    );
  }
  spec.priority = computed;
  if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== preemption) {
    throw forbidden(
      request.target.info,
      podName,
      `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${preemption} from the given PriorityClass name`,
    );
  }
  spec.preemptionPolicy = preemption;
}

/** What was computed at creation is not asked of later writers. */
function keepPriority(pod: JsonObject, old: JsonObject | undefined): void {
  const spec = ensureObject(pod, 'spec');
  const before = objectAt(old, 'spec');
  for (const field of ['priority', 'preemptionPolicy']) {
    if (spec[field] === undefined && before[field] !== undefined) spec[field] = before[field];
  }
}

function classNamed(store: Store, name: string): JsonObject | undefined {
  return store.head(PRIORITY_CLASSES, name)?.object as unknown as JsonObject | undefined;
}

/** The one of lowest value, should several have become default. */
function defaultClass(store: Store): JsonObject | undefined {
  let found: JsonObject | undefined;
  for (const { object } of store.heads(PRIORITY_CLASSES)) {
    const candidate = object as unknown as JsonObject;
    const { value } = candidate;
    if (candidate.globalDefault !== true || typeof value !== 'number' || value > HIGHEST_USER_PRIORITY)
      continue;
    if (!found || value < (found.value as number)) found = candidate;
  }
  return found;
}

export function runtimeClass(store: Store): AdmissionPlugin {
  return {
    name: 'RuntimeClass',
    admit: (request) => {
      if (!isPod(request) || request.operation !== 'CREATE' || !request.object) return;
      const spec = ensureObject(request.object, 'spec');
      const name = stringAt(spec, 'runtimeClassName');
      const refuse = (why: string): StatusError =>
        forbidden(request.target.info, stringAt(objectAt(request.object, 'metadata'), 'name'), why);
      if (name === '') {
        if (spec.overhead !== undefined) {
          throw refuse('pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead');
        }
        return;
      }
      const found = store.head('runtimeclasses.node.k8s.io', name)?.object as unknown as
        | JsonObject
        | undefined;
      if (!found) throw refuse(`pod rejected: RuntimeClass ${JSON.stringify(name)} not found`);
      applyRuntimeClass(spec, found, refuse);
    },
  };
}

function applyRuntimeClass(spec: JsonObject, found: JsonObject, refuse: (why: string) => StatusError): void {
  const overhead = objectAt(found, 'overhead').podFixed;
  if (overhead !== undefined) spec.overhead = overhead;
  const scheduling = objectAt(found, 'scheduling');
  const selector = objectAt(scheduling, 'nodeSelector');
  if (Object.keys(selector).length > 0) {
    const own = objectAt(spec, 'nodeSelector');
    for (const key of Object.keys(selector)) {
      if (own[key] !== undefined && own[key] !== selector[key]) {
        throw refuse(
          'pod rejected: conflict: runtimeClass.scheduling.nodeSelector and pod.spec.nodeSelector',
        );
      }
    }
    spec.nodeSelector = { ...own, ...selector };
  }
  const tolerations = listAt(scheduling, 'tolerations');
  if (tolerations.length > 0) spec.tolerations = [...listAt(spec, 'tolerations'), ...tolerations];
}
