import type { Job, PodFailurePolicyRule } from '../../../api/types/batch-v1.ts';
import type { ContainerStatus, Pod } from '../../../api/types/core-v1.ts';

export interface PolicyVerdict {
  action: PodFailurePolicyRule['action'];
  /** Why, for the Job's condition. */
  message: string;
}

/** The first rule of spec.podFailurePolicy that a failed pod matches; undefined counts it as an ordinary failure. */
export function judgeFailure(job: Job, pod: Pod): PolicyVerdict | undefined {
  const rules = job.spec?.podFailurePolicy?.rules ?? [];
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  for (const [index, rule] of rules.entries()) {
    // A rule for an index says nothing when indexes are not told apart.
    if (rule.action === 'FailIndex' && job.spec?.backoffLimitPerIndex === undefined) continue;
    if (rule.onExitCodes) {
      const container = matchingContainer(rule.onExitCodes, pod);
      if (container) {
        const code = container.state?.terminated?.exitCode;
        return {
          action: rule.action,
          message: `Container ${container.name} for pod ${name} failed with exit code ${code} matching ${rule.action} rule at index ${index}`,
        };
      }
    } else if (rule.onPodConditions) {
      const matched = rule.onPodConditions.find(({ type, status }) =>
        pod.status?.conditions?.some((one) => one.type === type && one.status === (status ?? 'True')),
      );
      if (matched) {
        return {
          action: rule.action,
          message: `Pod ${name} has condition ${matched.type} matching ${rule.action} rule at index ${index}`,
        };
      }
    }
  }
  return undefined;
}

function matchingContainer(
  { containerName, operator, values }: NonNullable<PodFailurePolicyRule['onExitCodes']>,
  pod: Pod,
): ContainerStatus | undefined {
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return statuses.find((status) => {
    if (containerName !== undefined && status.name !== containerName) return false;
    const code = status.state?.terminated?.exitCode;
    if (code === undefined || code === 0) return false;
    return values.includes(code) === (operator === 'In');
  });
}
