import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { ensureObject, listAt, numberAt, objectAt, setDefault, stringAt } from '../../../api/validation.ts';
import { timestamp } from '../../../lib/clock.ts';
import { fieldsAt, flagAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { mergeLabelKeys } from './label-keys.ts';
import { podCells } from './pod-cells.ts';
import { validateNewPod } from './pod-consistency.ts';
import { qosClass } from './pod-qos.ts';
import { defaultPodSpec, defaultRequests, validatePodSpec } from './pod-spec.ts';
import { joinPodIps, validatePodStatus } from './pod-status.ts';
import { validatePodUpdate } from './pod-update.ts';
import { nameWarnings, podWarnings } from './pod-warnings.ts';

export const podStrategy: Strategy = {
  hasGeneration: true,
  returnsDeleted: true,
  applyDefaults: (pod) => {
    const spec = ensureObject(pod, 'spec');
    setDefault(spec, 'enableServiceLinks', true);
    defaultPodSpec(spec);
    defaultRequests(spec);
    joinPodIps(pod);
  },
  prepareForCreate: (pod, now) => {
    const spec = objectAt(pod, 'spec');
    // A negative grace period means: as short as can be.
    if ((numberAt(spec, 'terminationGracePeriodSeconds') ?? 0) < 0) spec.terminationGracePeriodSeconds = 1;
    mergeLabelKeys(spec, objectAt(objectAt(pod, 'metadata'), 'labels'));
    const status: JsonObject = { phase: 'Pending', qosClass: qosClass(spec) };
    if (listAt(spec, 'schedulingGates').length > 0) {
      status.conditions = [
        {
          type: 'PodScheduled',
          status: 'False',
          lastProbeTime: null,
          lastTransitionTime: timestamp(now),
          reason: 'SchedulingGated',
          message: 'Scheduling is blocked due to non-empty scheduling gates',
        },
      ];
    }
    pod.status = status;
  },
  prepareForUpdate: (pod, old) => {
    // Ephemeral containers have their own subresource; here they stay as they are.
    const before = objectAt(old, 'spec').ephemeralContainers;
    const spec = objectAt(pod, 'spec');
    if (before === undefined) delete spec.ephemeralContainers;
    else spec.ephemeralContainers = before;
  },
  prepareForStatusUpdate: (pod, old) => {
    const metadata = objectAt(pod, 'metadata');
    // Nobody deletes by reporting a status.
    delete metadata.deletionTimestamp;
    const owners = objectAt(old, 'metadata').ownerReferences;
    if (owners === undefined) delete metadata.ownerReferences;
    else metadata.ownerReferences = owners;
    const status = ensureObject(pod, 'status');
    // The class follows from the spec; who reports a status need not repeat it.
    if (status.qosClass === undefined) status.qosClass = objectAt(old, 'status').qosClass;
  },
  // That it has ended is counted (Job, eviction, the scheduler): a crash must not bring it back to life for a while.
  isDecision: (pod, old) =>
    hasEnded(pod) && !hasEnded(old) && objectAt(old, 'metadata').deletionTimestamp === undefined,
  validate: (pod) => validatePodSpec(objectAt(pod, 'spec'), 'spec'),
  validateCreate: (pod) => validateNewPod(objectAt(pod, 'spec')),
  validateUpdate: (pod, old): FieldError[] => validatePodUpdate(pod, old),
  validateStatusUpdate: validatePodStatus,
  // Nobody edits pods by hand: Kubernetes says nothing of updates.
  warnings: (pod, old) => (old ? [] : [...nameWarnings(pod, 'pod'), ...podWarnings(pod, '')]),
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: {
    ...fieldsAt(
      'spec.nodeName',
      'spec.restartPolicy',
      'spec.schedulerName',
      'spec.serviceAccountName',
      'status.phase',
      'status.podIP',
      'status.nominatedNodeName',
    ),
    'spec.hostNetwork': flagAt('spec.hostNetwork'),
  },
  gracePeriod: (pod, requested) => {
    const spec = objectAt(pod, 'spec');
    if (stringAt(spec, 'nodeName') === '' || hasEnded(pod)) return 0;
    const period = requested ?? numberAt(spec, 'terminationGracePeriodSeconds') ?? 0;
    return period < 0 ? 1 : period;
  },
  cells: podCells,
};

function hasEnded(pod: JsonObject): boolean {
  const phase = stringAt(objectAt(pod, 'status'), 'phase');
  return phase === 'Succeeded' || phase === 'Failed';
}
