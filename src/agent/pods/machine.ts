import type { Pod } from '../../api/types/core-v1.ts';
import type { Logger } from '../../lib/logger.ts';
import { CgroupFiles, type CgroupSetup } from './cgroup-files.ts';
import { memoryUse } from './memory-use.ts';
import { processUser } from './process-user.ts';
import type { PodServices } from './services.ts';
import { systemctl } from './systemctl.ts';

/** What pods need of the machine's control groups. */
export function machineGroups(options: {
  engine: () => Promise<CgroupSetup | undefined>;
  cores: number;
  logger: Logger;
  event: (pod: Pod, type: 'Warning', reason: string, message: string) => void;
}): Pick<PodServices, 'cgroups' | 'memoryUse' | 'processUser'> {
  const { event, ...rest } = options;
  const cgroups = new CgroupFiles({
    ...rest,
    root: '/sys/fs/cgroup',
    systemctl,
    onUnlimited: (pod, reason) =>
      event(pod, 'Warning', 'LimitNotHonoured', `the limits of the pod as a whole: ${reason}`),
  });
  return { cgroups, memoryUse, processUser };
}
