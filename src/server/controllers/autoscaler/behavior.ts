// What becomes of a recommendation: stabilisation over time, and how fast the number may change (horizontal.go of
// kube-controller-manager). Pure: the history goes in, and what is to be remembered comes out.
import type {
  HorizontalPodAutoscaler,
  HPAScalingPolicy,
  HPAScalingRules,
} from '../../../api/types/autoscaling-v2.ts';

/** Without behavior: scaling down waits for the highest recommendation of the last five minutes. */
const DOWNSCALE_STABILIZATION_S = 300;
const UPSCALE_FACTOR = 2;
const UPSCALE_LEAST = 4;

/** Times are monotonic ms. */
export interface History {
  recommendations: readonly { replicas: number; at: number }[];
  /** How much was added (up) or taken away (down) by a change. */
  ups: readonly { change: number; at: number }[];
  downs: readonly { change: number; at: number }[];
}

export const NO_HISTORY: History = { recommendations: [], ups: [], downs: [] };

export interface Limited {
  replicas: number;
  ableToScale: { reason: string; message: string };
  scalingLimited: { status: 'True' | 'False'; reason: string; message: string };
}

interface Step {
  spec: HorizontalPodAutoscaler['spec'];
  current: number;
  desired: number;
  history: History;
  now: number;
}

/** The number to scale to. `history` is to be the one that `remember` returned, with this recommendation in it. */
export function limited(step: Step): Limited {
  const { behavior } = step.spec;
  const up = windowOf(behavior?.scaleUp, 0);
  const down = windowOf(behavior?.scaleDown, DOWNSCALE_STABILIZATION_S);
  const stable = behavior ? stabilized(step, up, down) : highest(step, down);
  const { replicas, limit } = behavior ? byRate({ ...step, desired: stable }) : byFactor(step, stable);
  return { replicas, ableToScale: stability(step, stable), scalingLimited: limit };
}

/** The history with this recommendation, without what no rule can still ask for. */
export function remember({ spec, desired, history, now }: Step): History {
  const { behavior } = spec;
  const longest =
    1000 * Math.max(windowOf(behavior?.scaleUp, 0), windowOf(behavior?.scaleDown, DOWNSCALE_STABILIZATION_S));
  const period =
    1000 *
    Math.max(
      0,
      ...[behavior?.scaleUp, behavior?.scaleDown].flatMap(
        (rules) => rules?.policies?.map(({ periodSeconds }) => periodSeconds) ?? [],
      ),
    );
  return {
    recommendations: [
      ...history.recommendations.filter(({ at }) => now - at < longest),
      { replicas: desired, at: now },
    ],
    ups: history.ups.filter(({ at }) => now - at < period),
    downs: history.downs.filter(({ at }) => now - at < period),
  };
}

/** After the target was scaled. */
export function scaled(history: History, before: number, after: number, now: number): History {
  const event = { change: Math.abs(after - before), at: now };
  return after > before
    ? { ...history, ups: [...history.ups, event] }
    : { ...history, downs: [...history.downs, event] };
}

function windowOf(rules: HPAScalingRules | undefined, otherwise: number): number {
  return rules?.stabilizationWindowSeconds ?? otherwise;
}

function highest({ desired, history, now }: Step, seconds: number): number {
  return Math.max(
    desired,
    ...history.recommendations.filter(({ at }) => now - at < seconds * 1000).map(({ replicas }) => replicas),
  );
}

/** Between the lowest recommendation of the way up and the highest of the way down, as near to the present as that. */
function stabilized(step: Step, upSeconds: number, downSeconds: number): number {
  const { current, desired, history, now } = step;
  let up = desired;
  for (const { replicas, at } of history.recommendations) {
    if (now - at < upSeconds * 1000) up = Math.min(up, replicas);
  }
  const down = highest(step, downSeconds);
  let answer = current;
  if (answer < up) answer = up;
  if (answer > down) answer = down;
  return answer;
}

function stability({ spec, desired }: Step, stable: number): Limited['ableToScale'] {
  if (stable === desired) {
    return { reason: 'ReadyForNewScale', message: 'recommended size matches current size' };
  }
  if (spec.behavior && stable < desired) {
    return {
      reason: 'ScaleUpStabilized',
      message:
        'recent recommendations were lower than current one, applying the lowest recent recommendation',
    };
  }
  return {
    reason: 'ScaleDownStabilized',
    message:
      'recent recommendations were higher than current one, applying the highest recent recommendation',
  };
}

interface Bounded {
  replicas: number;
  limit: Limited['scalingLimited'];
}

const WITHIN: Limited['scalingLimited'] = {
  status: 'False',
  reason: 'DesiredWithinRange',
  message: 'the desired count is within the acceptable range',
};
const LIMITS = {
  TooFewReplicas: 'the desired replica count is less than the minimum replica count',
  TooManyReplicas: 'the desired replica count is more than the maximum replica count',
  ScaleUpLimit: 'the desired replica count is increasing faster than the maximum scale rate',
  ScaleDownLimit: 'the desired replica count is decreasing faster than the maximum scale rate',
} as const;

const at = (replicas: number, reason: keyof typeof LIMITS): Bounded => ({
  replicas,
  limit: { status: 'True', reason, message: LIMITS[reason] },
});

function byFactor({ spec, current }: Step, desired: number): Bounded {
  const least = spec.minReplicas ?? 1;
  const fastest = Math.max(UPSCALE_FACTOR * current, UPSCALE_LEAST);
  if (desired < least) return at(least, 'TooFewReplicas');
  if (spec.maxReplicas <= fastest) {
    return desired > spec.maxReplicas
      ? at(spec.maxReplicas, 'TooManyReplicas')
      : { replicas: desired, limit: WITHIN };
  }
  return desired > fastest ? at(fastest, 'ScaleUpLimit') : { replicas: desired, limit: WITHIN };
}

function byRate(step: Step): Bounded {
  const { spec, current, desired } = step;
  if (desired > current) {
    const fastest = Math.max(current, upLimit(step));
    const most = Math.min(spec.maxReplicas, fastest);
    if (desired > most) return at(most, spec.maxReplicas > fastest ? 'ScaleUpLimit' : 'TooManyReplicas');
  } else if (desired < current) {
    const least = spec.minReplicas ?? 1;
    const fastest = Math.min(current, downLimit(step));
    const bound = Math.max(least, fastest);
    if (desired < bound) return at(bound, least < fastest ? 'ScaleDownLimit' : 'TooFewReplicas');
  }
  return { replicas: desired, limit: WITHIN };
}

function upLimit(step: Step): number {
  const rules = step.spec.behavior?.scaleUp;
  if (rules?.selectPolicy === 'Disabled') return step.current;
  const proposals = (rules?.policies ?? []).map((policy) => {
    const start = startOf(step, policy);
    return policy.type === 'Pods' ? start + policy.value : Math.ceil(start * (1 + policy.value / 100));
  });
  if (proposals.length === 0) return Number.POSITIVE_INFINITY;
  return rules?.selectPolicy === 'Min' ? Math.min(...proposals) : Math.max(...proposals);
}

function downLimit(step: Step): number {
  const rules = step.spec.behavior?.scaleDown;
  if (rules?.selectPolicy === 'Disabled') return step.current;
  const proposals = (rules?.policies ?? []).map((policy) => {
    const start = startOf(step, policy);
    return policy.type === 'Pods' ? start - policy.value : Math.trunc(start * (1 - policy.value / 100));
  });
  if (proposals.length === 0) return Number.NEGATIVE_INFINITY;
  // The smallest change leaves the most.
  return rules?.selectPolicy === 'Min' ? Math.max(...proposals) : Math.min(...proposals);
}

/** How many there were when the policy's period began. */
function startOf({ current, history, now }: Step, { periodSeconds }: HPAScalingPolicy): number {
  const sum = (changes: History['ups']): number =>
    changes
      .filter((event) => now - event.at < periodSeconds * 1000)
      .reduce((total, { change }) => total + change, 0);
  return current - sum(history.ups) + sum(history.downs);
}
