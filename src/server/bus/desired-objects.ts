import type { Pod, PodCondition } from '../../api/types/core-v1.ts';
import { sameJson } from '../../lib/equal.ts';
import type { DesiredObject } from '../../wire/messages.ts';

const TERMINAL = new Set(['Succeeded', 'Failed']);

/**
 * What of a bound pod its agent needs: identity, the whole spec, labels and annotations (the downward API shows them),
 * the request to terminate. Of the status only what the agent cannot know by itself: that the pod has ended (its
 * containers may be long gone), since when it counts as started, and what others say at its readiness gates.
 */
export function desiredPod(pod: Pod): Pod {
  const { managedFields: _managedFields, ...metadata } = pod.metadata;
  const { status } = pod;
  const gates = gateConditions(pod);
  return {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata,
    ...(pod.spec === undefined ? {} : { spec: pod.spec }),
    ...(status === undefined
      ? {}
      : {
          status: {
            ...(status.phase === undefined ? {} : { phase: status.phase }),
            ...(status.startTime === undefined ? {} : { startTime: status.startTime }),
            ...(status.qosClass === undefined ? {} : { qosClass: status.qosClass }),
            ...(gates.length === 0 ? {} : { conditions: gates }),
            ...(ended(pod) && status.reason !== undefined ? { reason: status.reason } : {}),
            ...(ended(pod) && status.message !== undefined ? { message: status.message } : {}),
          },
        }),
  };
}

/** Is `next` for the agent the same as what was published? A change of status only is its own echo. */
export function sameForAgent(published: Pod, next: Pod): boolean {
  const { resourceVersion: _a, managedFields: _b, ...before } = published.metadata;
  const { resourceVersion: _c, managedFields: _d, ...after } = next.metadata;
  return (
    ended(published) === ended(next) &&
    sameJson(before, after) &&
    sameJson(published.spec, next.spec) &&
    sameJson(gateConditions(published), gateConditions(next))
  );
}

/** What stands at the pod's readiness gates. */
function gateConditions({ spec, status }: Pod): PodCondition[] {
  const gates = new Set(spec?.readinessGates?.map(({ conditionType }) => conditionType));
  return gates.size === 0 ? [] : (status?.conditions ?? []).filter(({ type }) => gates.has(type));
}

function ended(pod: Pod): boolean {
  return TERMINAL.has(pod.status?.phase ?? '');
}

/** The data without the history of who set what. */
export function desiredConfig<T extends DesiredObject>(config: T): T {
  const { managedFields: _managedFields, ...metadata } = config.metadata;
  return { ...config, metadata };
}
