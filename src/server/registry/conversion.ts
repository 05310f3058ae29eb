// The few resources that are served in two shapes but stored in one.
import type { Json, JsonObject, KubeObject } from '../../api/object.ts';
import { cloneJson } from '../../api/object.ts';
import type { ResourceRef } from '../../api/resource.ts';
import { asObject, listAt, objectAt } from '../../api/validation.ts';

export interface Conversion {
  readonly storage: ResourceRef;
  /** Neither function changes its argument. */
  toStorage(object: JsonObject): JsonObject;
  fromStorage(object: KubeObject): KubeObject;
}

export function conversionOf(ref: ResourceRef): Conversion | undefined {
  return CONVERSIONS[`${ref.group}/${ref.version}/${ref.resource}`];
}

/** Field names of core/v1 Event and what events.k8s.io/v1 calls them. */
const EVENT_FIELDS: readonly (readonly [core: string, events: string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
];

function rename(object: JsonObject, pairs: Iterable<readonly [from: string, to: string]>): JsonObject {
  const names = new Map(pairs);
  const result: JsonObject = {};
  for (const key of Object.keys(object)) result[names.get(key) ?? key] = object[key];
  return result;
}

const SCALE_METRICS = 'autoscaling.alpha.kubernetes.io/metrics';
const SCALE_BEHAVIOR = 'autoscaling.alpha.kubernetes.io/behavior';
const SCALE_CONDITIONS = 'autoscaling.alpha.kubernetes.io/conditions';
const SCALE_CURRENT_METRICS = 'autoscaling.alpha.kubernetes.io/current-metrics';

const CONVERSIONS: Readonly<Record<string, Conversion>> = {
  'events.k8s.io/v1/events': {
    storage: { group: '', version: 'v1', resource: 'events' },
    toStorage: (object) => ({
      ...rename(
        object,
        EVENT_FIELDS.map(([core, events]) => [events, core] as const),
      ),
      apiVersion: 'v1',
    }),
    fromStorage: (object) =>
      ({
        ...rename(object as unknown as JsonObject, EVENT_FIELDS),
        apiVersion: 'events.k8s.io/v1',
      }) as unknown as KubeObject,
  },
  'autoscaling/v1/horizontalpodautoscalers': {
    storage: { group: 'autoscaling', version: 'v2', resource: 'horizontalpodautoscalers' },
    toStorage: autoscalerToV2,
    fromStorage: autoscalerToV1,
  },
};

function isCpuUtilization(metric: JsonObject): boolean {
  const resource = objectAt(metric, 'resource');
  const target = asObject(resource.target) ?? asObject(resource.current);
  return metric.type === 'Resource' && resource.name === 'cpu' && target?.averageUtilization !== undefined;
}

/** v1 knows CPU utilisation only; all else travels in annotations (as in k8s.io/kubernetes/pkg/apis/autoscaling/v1). */
function autoscalerToV2(given: JsonObject): JsonObject {
  const object = cloneJson(given);
  const spec = objectAt(object, 'spec');
  const status = objectAt(object, 'status');
  const annotations = objectAt(objectAt(object, 'metadata'), 'annotations');
  const taken = (name: string): Json | undefined => {
    const text = annotations[name];
    delete annotations[name];
    if (typeof text !== 'string') return undefined;
    try {
      return JSON.parse(text) as Json;
    } catch {
      return undefined;
    }
  };
  const metrics = (taken(SCALE_METRICS) as JsonObject[] | undefined) ?? [];
  const utilization = spec.targetCPUUtilizationPercentage;
  delete spec.targetCPUUtilizationPercentage;
  if (utilization !== undefined) {
    metrics.push({
      type: 'Resource',
      resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: utilization } },
    });
  }
  if (metrics.length > 0) spec.metrics = metrics;
  const behavior = taken(SCALE_BEHAVIOR);
  if (behavior !== undefined) spec.behavior = behavior;
  const current = (taken(SCALE_CURRENT_METRICS) as JsonObject[] | undefined) ?? [];
  const used = status.currentCPUUtilizationPercentage;
  delete status.currentCPUUtilizationPercentage;
  if (used !== undefined) {
    current.push({ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: used } } });
  }
  status.currentMetrics = current.length > 0 ? current : null;
  const conditions = taken(SCALE_CONDITIONS);
  if (conditions !== undefined) status.conditions = conditions;
  if (Object.keys(annotations).length === 0) delete objectAt(object, 'metadata').annotations;
  object.apiVersion = 'autoscaling/v2';
  return object;
}

function autoscalerToV1(stored: KubeObject): KubeObject {
  const object = cloneJson(stored) as unknown as JsonObject;
  const spec = objectAt(object, 'spec');
  const status = objectAt(object, 'status');
  const metadata = objectAt(object, 'metadata');
  const annotate = (name: string, value: Json): void => {
    metadata.annotations = { ...objectAt(metadata, 'annotations'), [name]: JSON.stringify(value) };
  };
  const metrics = listAt(spec, 'metrics');
  const cpu = metrics.find(isCpuUtilization);
  if (cpu) {
    spec.targetCPUUtilizationPercentage = objectAt(objectAt(cpu, 'resource'), 'target').averageUtilization;
  }
  const others = metrics.filter((metric) => metric !== cpu);
  if (others.length > 0) annotate(SCALE_METRICS, others);
  delete spec.metrics;
  if (spec.behavior !== undefined) annotate(SCALE_BEHAVIOR, spec.behavior as Json);
  delete spec.behavior;
  const current = listAt(status, 'currentMetrics');
  const used = current.find(isCpuUtilization);
  if (used) {
    status.currentCPUUtilizationPercentage = objectAt(
      objectAt(used, 'resource'),
      'current',
    ).averageUtilization;
  }
  const otherCurrent = current.filter((metric) => metric !== used);
  if (otherCurrent.length > 0) annotate(SCALE_CURRENT_METRICS, otherCurrent);
  delete status.currentMetrics;
  if (Array.isArray(status.conditions)) annotate(SCALE_CONDITIONS, status.conditions);
  delete status.conditions;
  if (typeof status.currentReplicas !== 'number') status.currentReplicas = 0;
  object.apiVersion = 'autoscaling/v1';
  return object as unknown as KubeObject;
}
