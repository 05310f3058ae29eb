// Every resource that has something peculiar, by its group resource.
import type { Strategy } from '../strategy.ts';
import { namespaceStrategy, nodeStrategy } from './cluster.ts';
import { configMapStrategy, secretStrategy, serviceAccountStrategy } from './config.ts';
import { daemonSetStrategy } from './daemon-sets.ts';
import { deploymentStrategy } from './deployments.ts';
import { endpointsStrategy } from './discovery.ts';
import { eventStrategy } from './events.ts';
import { groupStrategies } from './groups/index.ts';
import { cronJobStrategy, jobStrategy } from './jobs.ts';
import { podStrategy } from './pods.ts';
import {
  controllerRevisionStrategy,
  limitRangeStrategy,
  podTemplateStrategy,
  resourceQuotaStrategy,
} from './policy.ts';
import { replicaSetStrategy, replicationControllerStrategy } from './replica-sets.ts';
import { serviceStrategy } from './services.ts';
import { statefulSetStrategy } from './stateful-sets.ts';
import { claimStrategy, persistentVolumeStrategy } from './storage.ts';

export function createStrategies(): Map<string, Strategy> {
  return new Map<string, Strategy>([
    ['configmaps', configMapStrategy],
    ['endpoints', endpointsStrategy],
    ['events', eventStrategy],
    ['limitranges', limitRangeStrategy],
    ['namespaces', namespaceStrategy],
    ['nodes', nodeStrategy],
    ['persistentvolumeclaims', claimStrategy],
    ['persistentvolumes', persistentVolumeStrategy],
    ['pods', podStrategy],
    ['podtemplates', podTemplateStrategy],
    ['replicationcontrollers', replicationControllerStrategy],
    ['resourcequotas', resourceQuotaStrategy],
    ['secrets', secretStrategy],
    ['serviceaccounts', serviceAccountStrategy],
    ['services', serviceStrategy],
    ['controllerrevisions.apps', controllerRevisionStrategy],
    ['daemonsets.apps', daemonSetStrategy],
    ['deployments.apps', deploymentStrategy],
    ['replicasets.apps', replicaSetStrategy],
    ['statefulsets.apps', statefulSetStrategy],
    ['cronjobs.batch', cronJobStrategy],
    ['jobs.batch', jobStrategy],
    ...groupStrategies(),
  ]);
}
