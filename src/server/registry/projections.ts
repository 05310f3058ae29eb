// How objects are read and written as themselves and through status, scale, ephemeralcontainers, resize, approval and
// finalize.

import { invalid, type StatusError } from '../../api/errors.ts';
import type { Json, JsonObject, KubeObject } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import type { Schemas } from '../../api/schema.ts';
import { formatSelector, selectorRequirements } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/meta-v1.ts';
import { checkNonNegative, numberAt, objectAt } from '../../api/validation.ts';
import { valueAt } from './custom/json-path.ts';
import type { DecodeAs } from './decoding.ts';
import type { Projection } from './pipeline.ts';
import { type Served, statusIsApart, toVersion } from './served.ts';
import { stampConditions, validateApproval } from './strategies/groups/certificate-requests.ts';
import { takeResize, validateResize } from './strategies/pod-resize.ts';
import { validateEphemeralUpdate } from './strategies/pod-update.ts';

/** Subresources that are a view of their object; the others (log, exec, …) are not the registry's. */
export function projectionOf(
  served: Served,
  subresource: string | undefined,
  schemas: Schemas,
): Projection | undefined {
  if (subresource === undefined) return whole(served);
  if (!served.info.subresources.some(({ name }) => name === subresource)) return undefined;
  switch (subresource) {
    case 'status':
      return status(served);
    case 'scale':
      return served.custom ? customScale(served, schemas) : scale(schemas);
    case 'ephemeralcontainers':
      return part(
        served,
        (next, submitted) => {
          const given = objectAt(submitted, 'spec').ephemeralContainers;
          const spec = { ...objectAt(next, 'spec') };
          if (given === undefined) delete spec.ephemeralContainers;
          else spec.ephemeralContainers = given;
          next.spec = spec;
        },
        validateEphemeralUpdate,
      );
    case 'resize':
      return part(served, takeResize, validateResize);
    case 'approval':
      return part(
        served,
        (next, submitted, old, now) => {
          const conditions = objectAt(submitted, 'status').conditions;
          const status = { ...objectAt(next, 'status') };
          if (conditions === undefined) delete status.conditions;
          else status.conditions = conditions;
          next.status = status;
          next.metadata = { ...objectAt(submitted, 'metadata') };
          stampConditions(next, old, now);
        },
        validateApproval,
      );
    case 'finalize':
      return part(
        served,
        (next, submitted) => {
          const finalizers = objectAt(submitted, 'spec').finalizers;
          next.spec = Array.isArray(finalizers) && finalizers.length > 0 ? { finalizers } : {};
          next.metadata = { ...objectAt(submitted, 'metadata') };
          served.strategy.applyDefaults?.(next);
        },
        (next, old) => served.strategy.validateUpdate?.(next, old) ?? [],
      );
    default:
      return undefined;
  }
}

export function asItself(served: Served): DecodeAs {
  const { info, apiVersion, custom } = served;
  return {
    kind: info.kind,
    apiVersion,
    get struct() {
      return served.struct;
    },
    decode: custom?.decode.bind(custom),
  };
}

function viewOf(served: Served): (stored: KubeObject) => JsonObject {
  return (stored) => toVersion(served, stored) as unknown as JsonObject;
}

function toStorage(served: Served, submitted: JsonObject): JsonObject {
  return served.conversion ? served.conversion.toStorage(submitted) : submitted;
}

function whole(served: Served): Projection {
  return {
    as: asItself(served),
    view: viewOf(served),
    merge: (old, submitted) => {
      const next = toStorage(served, submitted);
      next.metadata = { ...objectAt(next, 'metadata') };
      // Where there is a status subresource, the main resource cannot change the status.
      if (statusIsApart(served)) {
        if (old.status === undefined) delete next.status;
        else next.status = old.status;
      }
      return next;
    },
  };
}

const METADATA = ['labels', 'annotations', 'finalizers', 'ownerReferences'];

function status(served: Served): Projection {
  const { strategy } = served;
  return {
    as: asItself(served),
    view: viewOf(served),
    merge: (old, submitted, now) => {
      const given = toStorage(served, submitted);
      const next: JsonObject = { ...old, metadata: metadataOfStatus(served, old, given) };
      if (given.status === undefined) delete next.status;
      else next.status = given.status;
      strategy.prepareForStatusUpdate?.(next, old, now);
      return next;
    },
    validateChange: (next, old) => strategy.validateStatusUpdate?.(next, old) ?? [],
    durability: (next, old) => {
      if (strategy.durability === 'volatile') return 'volatile';
      // Labels and annotations may be written along with a status, and are nobody's to report again.
      const written = METADATA.some(
        (field) => !jsonEqual(objectAt(next, 'metadata')[field], objectAt(old, 'metadata')[field]),
      );
      return written || strategy.isDecision?.(next, old) ? 'durable' : 'coalesced';
    },
    keepsGeneration: true,
  };
}

/** Of custom resources and some more a status write changes the status alone, of others labels and such as well. */
function metadataOfStatus(served: Served, old: JsonObject, given: JsonObject): JsonObject {
  const kept = served.custom !== undefined || served.strategy.statusKeepsMetadata;
  return { ...objectAt(kept ? old : given, 'metadata') };
}

/** Only one part of the object may be written; the rest of what was submitted is ignored. */
function part(
  served: Served,
  write: (next: JsonObject, submitted: JsonObject, old: JsonObject, now: number) => void,
  validateChange?: Projection['validateChange'],
): Projection {
  return {
    as: asItself(served),
    view: viewOf(served),
    merge: (old, submitted, now) => {
      const next: JsonObject = { ...old, metadata: { ...objectAt(old, 'metadata') } };
      write(next, submitted, old, now);
      return next;
    },
    validateChange: validateChange ?? (() => []),
  };
}

/** The scale of a custom resource, whose definition says where its numbers are. */
function customScale(served: Served, schemas: Schemas): Projection | undefined {
  const paths = served.custom?.scale;
  if (!paths) return undefined;
  const { strategy } = served;
  return {
    ...scale(schemas),
    view: (stored) => {
      const object = toVersion(served, stored) as unknown as JsonObject;
      const replicas = valueAt(object, paths.specReplicas);
      if (replicas === undefined) throw replicasMissing(served, paths.specReplicas, stored);
      const selector = paths.labelSelector && valueAt(object, paths.labelSelector);
      return scaleFrom(
        stored,
        replicas as number,
        (valueAt(object, paths.statusReplicas) as number | undefined) ?? 0,
        typeof selector === 'string' ? selector : '',
      );
    },
    merge: (old, submitted) => {
      const replicas = numberAt(objectAt(submitted, 'spec'), 'replicas') ?? 0;
      const next = withValue(old, paths.specReplicas, replicas);
      return { ...next, metadata: { ...objectAt(old, 'metadata') } };
    },
    validateChange: (next, old) => strategy.validateUpdate?.(next, old, served.apiVersion) ?? [],
  };
}

/** Kubernetes answers 500; the object is what is at fault. */
function replicasMissing({ info }: Served, path: readonly string[], { metadata }: KubeObject): StatusError {
  const field = `.${path.join('.')}`;
  return invalid(info, metadata.name ?? '', [
    {
      reason: 'FieldValueRequired',
      field,
      message: `the spec replicas field ${JSON.stringify(field)} does not exist`,
    },
  ]);
}

/** A copy with the value at a path; what is not on the way is shared. */
function withValue(object: JsonObject, [name = '', ...rest]: readonly string[], value: Json): JsonObject {
  return { ...object, [name]: rest.length === 0 ? value : withValue(objectAt(object, name), rest, value) };
}

function scale(schemas: Schemas): Projection {
  return {
    as: {
      kind: 'Scale',
      apiVersion: 'autoscaling/v1',
      struct: schemas.struct('io.k8s.api.autoscaling.v1.Scale'),
    },
    view: scaleOf,
    validate: (submitted) => checkNonNegative('spec.replicas', objectAt(submitted, 'spec').replicas),
    merge: (old, submitted) => {
      const replicas = numberAt(objectAt(submitted, 'spec'), 'replicas') ?? 0;
      return {
        ...old,
        metadata: { ...objectAt(old, 'metadata') },
        spec: { ...objectAt(old, 'spec'), replicas },
      };
    },
    validateChange: () => [],
  };
}

export function scaleOf(stored: KubeObject): JsonObject {
  const object = stored as unknown as JsonObject;
  const spec = objectAt(object, 'spec');
  return scaleFrom(
    stored,
    numberAt(spec, 'replicas') ?? 0,
    numberAt(objectAt(object, 'status'), 'replicas') ?? 0,
    selectorText(spec.selector as JsonObject | undefined),
  );
}

function scaleFrom(stored: KubeObject, replicas: number, current: number, selector: string): JsonObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = stored.metadata;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as JsonObject,
    spec: replicas === 0 ? {} : { replicas },
    status: {
      replicas: current,
      ...(selector === '' ? {} : { selector }),
    },
  };
}

/** Of a LabelSelector, or of a ReplicationController's plain map. */
function selectorText(selector: JsonObject | undefined): string {
  if (selector === undefined) return '';
  const isMap = Object.values(selector).every((value) => typeof value === 'string');
  return formatSelector(
    selectorRequirements((isMap ? { matchLabels: selector } : selector) as LabelSelector),
  );
}
