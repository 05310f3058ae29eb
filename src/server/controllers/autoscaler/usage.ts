// How many replicas a metric asks for (replica_calculator.go of kube-controller-manager). Pure. CPU is counted in
// thousandths of a core and memory in bytes, as whole numbers.
import { milliUnits, parseQuantity, wholeUnits } from '../../../api/quantity.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import type { PodUsage } from '../../../client/usage.ts';
import { podCondition } from '../shared/pods.ts';

/** For so long after its start a pod's CPU counts only when it was ready over the whole window of the metric. */
const CPU_INITIALIZATION_MS = 300_000;
/** A pod that was never ready, by this much after its start, is only starting. */
const INITIAL_READINESS_MS = 30_000;

export interface ResourceMetric {
  /** `cpu` or `memory`. */
  resource: string;
  /** Of this container alone. */
  container?: string | undefined;
  /** Percent of the request, or a value for each pod. */
  target: { utilization: number } | { average: number };
}

/** Relative deviations that are not acted upon: 0.1 is ten percent. */
export interface Tolerance {
  up: number;
  down: number;
}

export interface Recommendation {
  replicas: number;
  /** Percent of the request; set when the target is one. */
  utilization?: number;
  /** The mean over the pods. */
  average: number;
}

/** Why a metric cannot be computed, for a condition and an event. */
export class MetricProblem extends Error {}

export function recommend(input: {
  metric: ResourceMetric;
  pods: readonly Pod[];
  usage: (pod: Pod) => PodUsage | undefined;
  currentReplicas: number;
  tolerance: Tolerance;
  now: number;
}): Recommendation {
  const { metric, pods, currentReplicas, tolerance, now } = input;
  if (pods.length === 0)
    throw new MetricProblem('no pods returned by selector while calculating replica count');
  const values = new Map<Pod, number>();
  const unready: Pod[] = [];
  const missing: Pod[] = [];
  let counted = 0;
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp !== undefined || pod.status?.phase === 'Failed') continue;
    const usage = input.usage(pod);
    const value = usage && valueIn(usage, metric);
    if (pod.status?.phase === 'Pending') unready.push(pod);
    else if (usage === undefined || value === undefined) missing.push(pod);
    else if (metric.resource === 'cpu' && isStarting(pod, usage, now)) unready.push(pod);
    else {
      counted += 1;
      values.set(pod, value);
    }
  }
  const requests = 'utilization' in metric.target ? requestsOf(pods, metric) : undefined;
  if (values.size === 0) {
    throw new MetricProblem('did not receive metrics for targeted pods (pods might be unready)');
  }
  const target = 'utilization' in metric.target ? metric.target.utilization : metric.target.average;
  const before = measure(values, requests, target);
  const answer = (replicas: number): Recommendation => ({
    replicas,
    average: before.average,
    ...(requests ? { utilization: before.current } : {}),
  });
  const withUnready = unready.length > 0 && before.ratio > 1;
  if (!withUnready && missing.length === 0) {
    return answer(within(before.ratio, tolerance) ? currentReplicas : Math.ceil(before.ratio * counted));
  }
  if (before.ratio < 1) {
    // Going down, a pod without a metric counts as using all that it may.
    const share = requests ? Math.max(100, target) / 100 : 1;
    for (const pod of missing) values.set(pod, requests ? share * (requests.get(pod) ?? 0) : target);
  } else if (before.ratio > 1) {
    for (const pod of missing) values.set(pod, 0);
  }
  if (withUnready) for (const pod of unready) values.set(pod, 0);
  const after = measure(values, requests, target);
  const turned = (before.ratio < 1 && after.ratio > 1) || (before.ratio > 1 && after.ratio < 1);
  if (within(after.ratio, tolerance) || turned) return answer(currentReplicas);
  const replicas = Math.ceil(after.ratio * values.size);
  const wrongWay =
    (after.ratio < 1 && replicas > currentReplicas) || (after.ratio > 1 && replicas < currentReplicas);
  return answer(wrongWay ? currentReplicas : replicas);
}

function valueIn({ containers }: PodUsage, { resource, container }: ResourceMetric): number | undefined {
  const wanted = container === undefined ? containers : containers.filter(({ name }) => name === container);
  if (wanted.length === 0) return undefined;
  return wanted.reduce(
    (sum, one) => sum + (resource === 'cpu' ? Math.round(one.cpu * 1000) : Math.round(one.memory)),
    0,
  );
}

function isStarting(pod: Pod, usage: PodUsage, now: number): boolean {
  const ready = podCondition(pod, 'Ready');
  const started = pod.status?.startTime && Date.parse(pod.status.startTime);
  if (!ready || !started) return true;
  const changed = ready.lastTransitionTime === undefined ? 0 : Date.parse(ready.lastTransitionTime);
  if (started + CPU_INITIALIZATION_MS > now) {
    return ready.status === 'False' || usage.at < changed + usage.windowMs;
  }
  return ready.status === 'False' && started + INITIAL_READINESS_MS > changed;
}

/** What each pod asks for. A container without a request makes a percentage of it meaningless. */
function requestsOf(pods: readonly Pod[], { resource, container }: ResourceMetric): Map<Pod, number> {
  const read = resource === 'cpu' ? milliUnits : wholeUnits;
  const requests = new Map<Pod, number>();
  for (const pod of pods) {
    const sidecars = (pod.spec?.initContainers ?? []).filter((one) => one.restartPolicy === 'Always');
    let sum = 0;
    for (const { name, resources } of [...(pod.spec?.containers ?? []), ...sidecars]) {
      if (container !== undefined && name !== container) continue;
      const request = resources?.requests?.[resource];
      if (request === undefined) {
        throw new MetricProblem(
          `missing request for ${resource} in container ${name} of Pod ${pod.metadata.name}`,
        );
      }
      sum += read(parseQuantity(String(request)));
    }
    requests.set(pod, sum);
  }
  return requests;
}

function measure(
  values: ReadonlyMap<Pod, number>,
  requests: ReadonlyMap<Pod, number> | undefined,
  target: number,
): { ratio: number; current: number; average: number } {
  let used = 0;
  let requested = 0;
  for (const [pod, value] of values) {
    used += value;
    requested += requests?.get(pod) ?? 0;
  }
  const average = Math.trunc(used / values.size);
  if (!requests) return { ratio: average / target, current: average, average };
  if (requested === 0) throw new MetricProblem('no metrics returned matched known pods');
  const current = Math.trunc((used * 100) / requested);
  return { ratio: current / target, current, average };
}

function within(ratio: number, { up, down }: Tolerance): boolean {
  return 1 - down <= ratio && ratio <= 1 + up;
}
