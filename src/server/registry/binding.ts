// pods/binding: the scheduler's decision, written once.
import { badRequest, conflict, type FieldError, notFound, StatusError } from '../../api/errors.ts';
import { type JsonObject, type KubeObject, objectKey } from '../../api/object.ts';
import type { Status } from '../../api/types/meta-v1.ts';
import { isUnset, listAt, notSupported, objectAt, required, stringAt } from '../../api/validation.ts';
import { timestamp } from '../../lib/clock.ts';
import { listed } from '../admission/refusal.ts';
import { RevisionConflict, type Store } from '../store/port.ts';

export const SUCCESS_CREATED = {
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Success',
  code: 201,
} as Status;

/** `binding` is decoded. Throws 404, 409 when the pod has a node already, 500 for a target that is none. */
export async function bind(
  store: Store,
  options: { namespace: string; name: string; binding: JsonObject; now: number; dryRun: boolean },
): Promise<Status> {
  const { namespace, name, binding } = options;
  const target = objectAt(binding, 'target');
  const errors = [];
  if (!isUnset(target.kind) && target.kind !== 'Node') {
    errors.push(notSupported('target.kind', target.kind, ['Node', '<empty>']));
  }
  if (stringAt(target, 'name') === '') errors.push(required('target.name'));
  if (errors.length > 0) throw targetRefused(errors);
  // Only POST …/bindings leaves the name to the body.
  if (name === '') throw badRequest('Name parameter required.');
  const key = objectKey(namespace, name);
  for (;;) {
    const head = store.head('pods', key);
    if (!head) throw notFound({ group: '', resource: 'pods' }, name);
    const pod = assigned(head.object, binding, stringAt(target, 'name'), options.now);
    if (options.dryRun) return SUCCESS_CREATED;
    try {
      await store.commit([
        { bucket: 'pods', key, object: pod, expected: head.revision, durability: 'durable' },
      ]);
      return SUCCESS_CREATED;
    } catch (error) {
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

/** Kubernetes has no Status for this one: a plain error, which is a 500 without a reason. */
function targetRefused(errors: readonly FieldError[]): StatusError {
  return new StatusError('', 500, listed(errors.map(({ field, message }) => `${field}: ${message}`)));
}

function assigned(pod: KubeObject, binding: JsonObject, nodeName: string, now: number): KubeObject {
  const name = pod.metadata.name ?? '';
  const refuse = (why: string): Error => conflict({ group: '', resource: 'pods/binding' }, name, why);
  const { uid, resourceVersion, annotations } = objectAt(binding, 'metadata');
  const object = pod as unknown as JsonObject;
  const spec = objectAt(object, 'spec');
  if (typeof uid === 'string' && uid !== '' && uid !== pod.metadata.uid) {
    throw refuse(`Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid}`);
  }
  const current = pod.metadata.resourceVersion;
  if (typeof resourceVersion === 'string' && resourceVersion !== '' && resourceVersion !== current) {
    throw refuse(
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${current}`,
    );
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    throw refuse(`pod ${name} is being deleted, cannot be assigned to a host`);
  }
  if (stringAt(spec, 'nodeName') !== '') {
    throw refuse(`pod ${name} is already assigned to node ${JSON.stringify(spec.nodeName)}`);
  }
  if (listAt(spec, 'schedulingGates').length > 0) {
    throw refuse(`pod ${name} has non-empty .spec.schedulingGates`);
  }
  const status = objectAt(object, 'status');
  const condition = {
    type: 'PodScheduled',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: timestamp(now),
  };
  return {
    ...object,
    metadata: {
      ...pod.metadata,
      ...(annotations
        ? { annotations: { ...pod.metadata.annotations, ...(annotations as Record<string, string>) } }
        : {}),
    },
    spec: { ...spec, nodeName },
    status: {
      ...status,
      conditions: [...listAt(status, 'conditions').filter(({ type }) => type !== 'PodScheduled'), condition],
    },
  } as unknown as KubeObject;
}
