import { milliUnits, parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Container } from '../../api/types/core-v1.ts';
import type { ResourceLimits } from '../runtime.ts';
import { ContainerConfigError } from './config-error.ts';

const LEAST_SHARES = 2;
const MOST_SHARES = 262_144;
/** The kernel takes no quota below a millisecond. */
const LEAST_QUOTA_US = 1_000;
/** Counted by the scheduler, not by the engine. */
const NOT_LIMITED = new Set(['cpu', 'memory', 'ephemeral-storage']);

/** Requests and limits as the kernel's numbers: shares per core, quota of a 100 ms period, bytes. */
export function resourceLimits(container: Container): ResourceLimits {
  const { requests = {}, limits = {}, claims = [] } = container.resources ?? {};
  if (claims.length > 0) throw new ContainerConfigError('resource claims are not supported on this node');
  for (const name of Object.keys(limits)) {
    if (!NOT_LIMITED.has(name))
      throw new ContainerConfigError(`resource ${name} is not supported on this node`);
  }
  const cpuRequest = milli(requests.cpu ?? limits.cpu);
  const cpuLimit = milli(limits.cpu);
  const memory = limits.memory === undefined ? 0 : wholeUnits(parseQuantity(limits.memory));
  return {
    cpuShares: Math.min(Math.max(Math.floor((cpuRequest * 1024) / 1000), LEAST_SHARES), MOST_SHARES),
    ...(cpuLimit > 0 ? { cpuQuota: Math.max(cpuLimit * 100, LEAST_QUOTA_US) } : {}),
    ...(memory > 0 ? { memoryBytes: memory } : {}),
  };
}

function milli(text: string | undefined): number {
  return text === undefined ? 0 : milliUnits(parseQuantity(text));
}
