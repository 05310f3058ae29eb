import type { ResourceInfo } from '../../../api/catalogue.ts';
import { isConflict, isNotFound } from '../../../api/errors.ts';
import { HORIZONTAL_POD_AUTOSCALERS, PODS } from '../../../api/kinds.ts';
import { type KubeObject, splitKey } from '../../../api/object.ts';
import {
  canonicalQuantity,
  formatQuantity,
  milliUnits,
  parseQuantity,
  wholeUnits,
} from '../../../api/quantity.ts';
import type { ResourceType } from '../../../api/resource.ts';
import { parseLabelSelector } from '../../../api/selectors.ts';
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerCondition,
  HorizontalPodAutoscalerStatus,
  MetricSpec,
  MetricStatus,
  MetricTarget,
} from '../../../api/types/autoscaling-v2.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { UsageSource } from '../../../client/usage.ts';
import { timestamp } from '../../../lib/clock.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { withCondition } from '../shared/conditions.ts';
import { type History, limited, NO_HISTORY, remember, scaled } from './behavior.ts';
import {
  MetricProblem,
  type Recommendation,
  type ResourceMetric,
  recommend,
  type Tolerance,
} from './usage.ts';

const NAME = 'horizontal-pod-autoscaler';
const SYNC_MS = 15_000;
const TOLERANCE = 0.1;

interface Scale extends KubeObject {
  spec?: { replicas?: number };
  status?: { replicas: number; selector?: string };
}

interface Computed {
  name: string;
  replicas: number;
  status: MetricStatus;
}

/** Where conditions and events of a round come together. */
interface Round {
  hpa: HorizontalPodAutoscaler;
  conditions: HorizontalPodAutoscalerCondition[];
}

/** Why a metric gives no number. */
class Failure extends Error {
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Scales targets by what their pods use, as their boards measure it. Looks every 15 s, at nothing between. */
/** Without `usage` the cluster has no metrics, and the autoscaler says so as Kubernetes' does without metrics-server. */
export function autoscalerController(context: ControllerContext & { usage?: UsageSource }): Controller {
  const { client, clock, informers, catalogue } = context;
  const recorder = context.events.of(NAME);
  const autoscalers = informers.of(HORIZONTAL_POD_AUTOSCALERS);
  const pods = informers.of(PODS);
  const histories = new Map<string, History>();

  const note = (round: Round, type: string, status: string, reason: string, message: string): void => {
    const now = timestamp(clock.now());
    round.conditions = withCondition(
      round.conditions,
      { type, status, reason, message, lastTransitionTime: now },
      now,
    );
  };

  const targetOf = ({ metadata, spec }: HorizontalPodAutoscaler): ResourceInfo => {
    const { apiVersion = 'v1', kind, name } = spec.scaleTargetRef;
    const info = catalogue.findKind(apiVersion, kind);
    if (!info) {
      throw new Failure(
        'FailedGetScale',
        `no matches for kind "${kind}" in group "${apiVersion.split('/')[0]}"`,
      );
    }
    if (!info.subresources.some((one) => one.name === 'scale')) {
      throw new Failure(
        'FailedGetScale',
        `${info.resource} "${name}" in ${metadata.namespace} cannot be scaled`,
      );
    }
    return info;
  };

  const patchScale = async (hpa: HorizontalPodAutoscaler, info: ResourceInfo, body: object): Promise<Scale> =>
    (await client.patch(
      info as unknown as ResourceType<KubeObject>,
      hpa.metadata.namespace,
      hpa.spec.scaleTargetRef.name,
      { type: 'merge', body },
      'scale',
    )) as Scale;

  /** The pods that the target selects; an autoscaler must not share them with another. */
  const selected = (namespace: string, selector: string): Pod[] => {
    const matches = parseLabelSelector(selector);
    return pods.list(namespace).filter(({ metadata }) => matches(metadata.labels));
  };

  const compute = (
    hpa: HorizontalPodAutoscaler,
    metric: MetricSpec,
    own: readonly Pod[],
    current: number,
  ): Computed => {
    const { resource, containerResource } = metric;
    const source = metric.type === 'Resource' ? resource : containerResource;
    if (!source || (metric.type !== 'Resource' && metric.type !== 'ContainerResource')) {
      throw unavailable(metric);
    }
    const container = metric.type === 'ContainerResource' ? containerResource?.container : undefined;
    const failed =
      metric.type === 'Resource' ? 'FailedGetResourceMetric' : 'FailedGetContainerResourceMetric';
    try {
      const { usage } = context;
      if (!usage) {
        throw new MetricProblem(
          `unable to get metrics for resource ${source.name}: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)`,
        );
      }
      const wanted: ResourceMetric = {
        resource: source.name,
        container,
        target: targetValue(source.name, source.target),
      };
      const result = recommend({
        metric: wanted,
        pods: own,
        usage: (pod) => usage.of(pod.spec?.nodeName ?? '', pod.metadata.uid ?? ''),
        currentReplicas: current,
        tolerance: toleranceOf(hpa),
        now: clock.now(),
      });
      const kind = container === undefined ? 'resource' : 'container resource';
      return {
        name:
          result.utilization === undefined
            ? `${source.name} ${kind}`
            : `${source.name} ${kind} utilization (percentage of request)`,
        replicas: result.replicas,
        status: statusOf(metric, source.name, container, result),
      };
    } catch (error) {
      if (!(error instanceof MetricProblem)) throw error;
      throw new Failure(
        failed,
        `failed to get ${source.name} ${container === undefined ? '' : 'container '}${'averageUtilization' in source.target ? 'utilization' : 'usage'}: ${error.message}`,
      );
    }
  };

  /** The most that any metric asks for. A metric that fails must not make the target shrink. */
  const computeAll = (
    round: Round,
    own: readonly Pod[],
    current: number,
  ): { best: Computed; statuses: MetricStatus[] } => {
    const { hpa } = round;
    const metrics = hpa.spec.metrics ?? [];
    let best: Computed | undefined;
    let failure: Failure | undefined;
    let failures = 0;
    const statuses: MetricStatus[] = [];
    for (const metric of metrics) {
      try {
        const result = compute(hpa, metric, own, current);
        statuses.push(result.status);
        if (!best || result.replicas > best.replicas) best = result;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failure ??= error;
        failures += 1;
        recorder.record(hpa, 'Warning', error.reason, error.message);
      }
    }
    if (failure && (!best || best.replicas < current)) {
      note(
        round,
        'ScalingActive',
        'False',
        failure.reason,
        `the HPA was unable to compute the replica count: ${failure.message}`,
      );
      throw new Failure(
        'FailedComputeMetricsReplicas',
        `invalid metrics (${failures} invalid out of ${metrics.length}), first error is: ${failure.message}`,
      );
    }
    if (!best) throw new Failure('FailedComputeMetricsReplicas', 'no metrics are configured');
    note(
      round,
      'ScalingActive',
      'True',
      'ValidMetricFound',
      `the HPA was able to successfully calculate a replica count from ${best.name}`,
    );
    return { best, statuses };
  };

  const update = async (
    { hpa, conditions }: Round,
    changes: Partial<HorizontalPodAutoscalerStatus>,
  ): Promise<void> => {
    const { currentMetrics: _metrics, ...before } = hpa.status ?? { desiredReplicas: 0 };
    const status = {
      ...before,
      ...changes,
      ...(hpa.metadata.generation === undefined ? {} : { observedGeneration: hpa.metadata.generation }),
      conditions,
    };
    if (sameJson(status, hpa.status)) return;
    await client.updateStatus(HORIZONTAL_POD_AUTOSCALERS, { ...hpa, status });
  };

  const reconcile = async (key: string): Promise<number | undefined> => {
    const { namespace = '', name } = splitKey(key);
    const hpa = autoscalers.get(namespace, name);
    if (!hpa) {
      histories.delete(key);
      return undefined;
    }
    const round: Round = { hpa, conditions: hpa.status?.conditions ?? [] };
    try {
      await scale(key, round);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      recorder.record(hpa, 'Warning', error.reason, error.message);
      await update(round, {});
    }
    return SYNC_MS;
  };

  const readScale = async (round: Round): Promise<{ info: ResourceInfo; found: Scale }> => {
    try {
      const info = targetOf(round.hpa);
      const found = await patchScale(round.hpa, info, {});
      note(
        round,
        'AbleToScale',
        'True',
        'SucceededGetScale',
        "the HPA controller was able to get the target's current scale",
      );
      return { info, found };
    } catch (error) {
      if (!(error instanceof Failure) && !isNotFound(error)) throw error;
      const message = (error as Error).message;
      note(
        round,
        'AbleToScale',
        'False',
        'FailedGetScale',
        `the HPA controller was unable to get the target's current scale: ${message}`,
      );
      throw new Failure('FailedGetScale', message);
    }
  };

  const podsOf = (round: Round, namespace: string, selector: string): Pod[] => {
    if (selector === '') {
      const message = "the HPA target's scale is missing a selector";
      note(round, 'ScalingActive', 'False', 'InvalidSelector', message);
      throw new Failure('SelectorRequired', 'selector is required');
    }
    const own = selected(namespace, selector);
    const rivals = ambiguous(round.hpa, own);
    if (rivals.length > 0) {
      const message = `pods by selector ${selector} are controlled by multiple HPAs: [${rivals.join(' ')}]`;
      note(round, 'ScalingActive', 'False', 'AmbiguousSelector', message);
      throw new Failure('AmbiguousSelector', message);
    }
    return own;
  };

  /** Autoscalers, this one included, whose targets select one of these pods; empty when it is alone. */
  const selectors = new Map<string, string>();
  const ambiguous = ({ metadata }: HorizontalPodAutoscaler, own: readonly Pod[]): string[] => {
    const rivals = autoscalers.list(metadata.namespace).filter((other) => {
      const selector =
        other.metadata.uid === metadata.uid ? undefined : selectors.get(other.metadata.uid ?? '');
      if (selector === undefined) return false;
      const matches = parseLabelSelector(selector);
      return own.some((pod) => matches(pod.metadata.labels));
    });
    if (rivals.length === 0) return [];
    return [metadata.name, ...rivals.map((other) => other.metadata.name)]
      .map((one) => `${metadata.namespace}/${one}`)
      .sort();
  };

  const scale = async (key: string, round: Round): Promise<void> => {
    const { hpa } = round;
    const { spec, metadata } = hpa;
    const { info, found } = await readScale(round);
    const current = found.spec?.replicas ?? 0;
    const selector = found.status?.selector ?? '';
    selectors.set(metadata.uid ?? '', selector);
    const least = spec.minReplicas ?? 1;
    const history = histories.get(key) ?? {
      ...NO_HISTORY,
      // A restart must not forget what was recommended: it begins with what is there.
      recommendations: [{ replicas: current, at: clock.monotonic() }],
    };
    histories.set(key, history);
    let desired = current;
    let reason = '';
    let statuses: MetricStatus[] | undefined;
    if (current === 0 && least !== 0) {
      note(
        round,
        'ScalingActive',
        'False',
        'ScalingDisabled',
        'scaling is disabled since the replica count of the target is zero',
      );
    } else if (current > spec.maxReplicas) {
      desired = spec.maxReplicas;
      reason = 'Current number of replicas above Spec.MaxReplicas';
    } else if (current < least) {
      desired = least;
      reason = 'Current number of replicas below Spec.MinReplicas';
    } else {
      const own = podsOf(round, metadata.namespace ?? '', selector);
      const computed = computeAll(round, own, current);
      statuses = computed.statuses;
      reason =
        computed.best.replicas > current ? `${computed.best.name} above target` : 'All metrics below target';
      const step = { spec, current, desired: computed.best.replicas, history, now: clock.monotonic() };
      const bounded = limited(step);
      histories.set(key, remember(step));
      note(round, 'AbleToScale', 'True', bounded.ableToScale.reason, bounded.ableToScale.message);
      const { status, reason: limit, message } = bounded.scalingLimited;
      note(round, 'ScalingLimited', status, limit, message);
      desired = bounded.replicas;
    }
    const rescales = desired !== current;
    if (rescales) await rescale(key, round, { info, found, current, desired, reason });
    await update(round, {
      currentReplicas: current,
      desiredReplicas: desired,
      ...(statuses ? { currentMetrics: statuses } : {}),
      ...(rescales ? { lastScaleTime: timestamp(clock.now()) } : {}),
    });
  };

  const rescale = async (
    key: string,
    round: Round,
    change: { info: ResourceInfo; found: Scale; current: number; desired: number; reason: string },
  ): Promise<void> => {
    const { info, found, current, desired, reason } = change;
    const size = `New size: ${desired}; reason: ${reason}`;
    try {
      await patchScale(round.hpa, info, {
        metadata: { resourceVersion: found.metadata.resourceVersion },
        spec: { replicas: desired },
      });
    } catch (error) {
      const message = (error as Error).message;
      note(
        round,
        'AbleToScale',
        'False',
        'FailedUpdateScale',
        `the HPA controller was unable to update the target scale: ${message}`,
      );
      if (isConflict(error)) throw error;
      throw new Failure('FailedRescale', `${size}; error: ${message}`);
    }
    note(
      round,
      'AbleToScale',
      'True',
      'SucceededRescale',
      `the HPA controller was able to update the target scale to ${desired}`,
    );
    recorder.record(round.hpa, 'Normal', 'SuccessfulRescale', size);
    const history = histories.get(key) ?? NO_HISTORY;
    histories.set(key, scaled(history, current, desired, clock.monotonic()));
  };

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(autoscalers, (hpa, { old, deleted }) =>
        // Its own status must not wake it.
        old && !deleted && sameJson(old.spec, hpa.spec)
          ? undefined
          : `${hpa.metadata.namespace}/${hpa.metadata.name}`,
      ),
    ],
    reconcile,
  });
}

function toleranceOf({ spec }: HorizontalPodAutoscaler): Tolerance {
  const read = (text: string | undefined): number =>
    text === undefined ? TOLERANCE : milliUnits(parseQuantity(text)) / 1000;
  return { up: read(spec.behavior?.scaleUp?.tolerance), down: read(spec.behavior?.scaleDown?.tolerance) };
}

function targetValue(resource: string, target: MetricTarget): ResourceMetric['target'] {
  if (target.averageUtilization !== undefined) return { utilization: target.averageUtilization };
  if (target.averageValue === undefined) {
    throw new MetricProblem(
      'invalid resource metric source: neither an average utilization target nor an average value (usage) target was set',
    );
  }
  const parsed = parseQuantity(target.averageValue);
  return { average: resource === 'cpu' ? milliUnits(parsed) : wholeUnits(parsed) };
}

function statusOf(
  { type }: MetricSpec,
  name: string,
  container: string | undefined,
  { utilization, average }: Recommendation,
): MetricStatus {
  const averageValue =
    name === 'cpu'
      ? canonicalQuantity(`${average}m`)
      : formatQuantity({ ...parseQuantity(String(average)), format: 'BinarySI' });
  const current = {
    ...(utilization === undefined ? {} : { averageUtilization: utilization }),
    averageValue,
  };
  return container === undefined
    ? { type, resource: { name, current } }
    : { type, containerResource: { name, container, current } };
}

/** Metrics of other systems: nobody serves their API here. */
function unavailable({ type, pods, object, external }: MetricSpec): Failure {
  switch (type) {
    case 'Pods':
      return new Failure(
        'FailedGetPodsMetric',
        `unable to get metric ${pods?.metric.name}: unable to fetch metrics from custom metrics API: the server could not find the requested resource`,
      );
    case 'Object':
      return new Failure(
        'FailedGetObjectMetric',
        `unable to get metric ${object?.metric.name}: unable to fetch metrics from custom metrics API: the server could not find the requested resource`,
      );
    case 'External':
      return new Failure(
        'FailedGetExternalMetric',
        `unable to get external metric ${external?.metric.name}: unable to fetch metrics from external metrics API: the server could not find the requested resource`,
      );
    default:
      return new Failure('InvalidMetricSourceType', `invalid metric source type: ${type}`);
  }
}
