import type { Service } from '../../lib/service.ts';
import type { ControllerContext } from './context.ts';
import { cronJobController } from './cronjob/controller.ts';
import { daemonSetController } from './daemonset/controller.ts';
import { deploymentController } from './deployment/controller.ts';
import { disruptionController } from './disruption.ts';
import { endpointsController } from './endpoints/controller.ts';
import { endpointSliceMirroringController } from './endpoints/mirroring.ts';
import { GarbageCollector } from './garbage/collector.ts';
import { ingressControllers } from './ingress/index.ts';
import { ipAddressController } from './ip-addresses.ts';
import { jobController } from './job/controller.ts';
import { namespaceController } from './namespace.ts';
import { nodeIpamController } from './node-ipam.ts';
import { podGcController } from './pod-gc.ts';
import { replicaSetController, replicationController } from './replicaset/controller.ts';
import { resourceQuotaController } from './resource-quota.ts';
import { serviceAccountController } from './service-account.ts';
import { serviceLbController } from './service-lb.ts';
import { statefulSetController } from './statefulset/controller.ts';
import { STORAGE_CONTROLLERS } from './storage/index.ts';
import { tokenCleaner } from './token-cleaner.ts';
import { ttlController } from './ttl.ts';

export type { ControllerContext } from './context.ts';

/** Every controller of the server. To add one, write it beside these and put it in here (docs/checklists). */
const CONTROLLERS: readonly ((context: ControllerContext) => Service)[] = [
  namespaceController,
  serviceAccountController,
  nodeIpamController,
  deploymentController,
  replicaSetController,
  replicationController,
  daemonSetController,
  statefulSetController,
  jobController,
  cronJobController,
  endpointsController,
  serviceLbController,
  disruptionController,
  podGcController,
  resourceQuotaController,
  tokenCleaner,
  ...STORAGE_CONTROLLERS,
  endpointSliceMirroringController,
  ipAddressController,
  ttlController,
  (context) => new GarbageCollector(context),
];

/** Their informers are those of `context.informers`, which has to be started before them. */
export function createControllers(context: ControllerContext): Service[] {
  return [...CONTROLLERS.map((create) => create(context)), ...ingressControllers(context)];
}
