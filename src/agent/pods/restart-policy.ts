import type { Pod } from '../../api/types/core-v1.ts';
import type { NamedContainer } from '../names.ts';
import type { ObservedInstance } from './observe.ts';

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never';

/** The policy of one container: its own (container level) before the pod's. */
export function restartPolicyOf(pod: Pod, { role, container }: NamedContainer): RestartPolicy {
  if (role === 'ephemeral') return 'Never';
  if (role === 'sidecar') return 'Always';
  const policy = container.restartPolicy ?? pod.spec?.restartPolicy ?? 'Always';
  if (policy === 'Never' || policy === 'OnFailure') return policy;
  // An init container of a pod that always restarts is run again only until it succeeds.
  return role === 'init' ? 'OnFailure' : 'Always';
}

/** Is an ended instance followed by another? */
export function shouldRestart(
  pod: Pod,
  named: NamedContainer,
  instance: ObservedInstance,
  mustRestart: ReadonlySet<string>,
): boolean {
  return mustRestart.has(instance.id) || restartsAfter(pod, named, instance.exitCode ?? 0);
}

/** Has a container ended for good? `forgotten`: exit codes of those that the engine knows nothing of any more. */
export function isOver(
  pod: Pod,
  named: NamedContainer,
  instance: ObservedInstance | undefined,
  facts: { mustRestart: ReadonlySet<string>; forgotten: ReadonlyMap<string, number> },
): boolean {
  if (instance) return instance.state === 'exited' && !shouldRestart(pod, named, instance, facts.mustRestart);
  const exitCode = facts.forgotten.get(named.container.name);
  return exitCode !== undefined && !restartsAfter(pod, named, exitCode);
}

/** Is a container that ended so run again? restartPolicyRules come first, in order; then the policy. */
export function restartsAfter(pod: Pod, named: NamedContainer, exitCode: number): boolean {
  for (const rule of named.container.restartPolicyRules ?? []) {
    const { operator, values = [] } = rule.exitCodes ?? { operator: '' };
    const listed = values.includes(exitCode);
    const matches = operator === 'In' ? listed : operator === 'NotIn' && !listed;
    if (matches && rule.action === 'Restart') return true;
  }
  switch (restartPolicyOf(pod, named)) {
    case 'Always':
      return true;
    case 'OnFailure':
      return exitCode !== 0;
    case 'Never':
      return false;
  }
}
