// Every resource that has something peculiar, by its group resource.
import type { Strategy } from '../strategy.ts';
import { autoscalerStrategy } from './autoscaling.ts';
import { certificateRequestStrategy } from './certificates.ts';
import { namespaceStrategy, nodeStrategy } from './cluster.ts';
import { configMapStrategy, secretStrategy, serviceAccountStrategy } from './config.ts';
import { daemonSetStrategy } from './daemon-sets.ts';
import { deploymentStrategy } from './deployments.ts';
import { endpointSliceStrategy, endpointsStrategy } from './discovery.ts';
import { eventStrategy } from './events.ts';
import {
  admissionPolicyBindingStrategy,
  admissionPolicyStrategy,
  apiServiceStrategy,
  customResourceDefinitionStrategy,
  webhookStrategy,
} from './extensions.ts';
import {
  deviceClassStrategy,
  flowSchemaStrategy,
  priorityLevelStrategy,
  resourceClaimStrategy,
  resourceClaimTemplateStrategy,
  resourceSliceStrategy,
} from './flow-control.ts';
import { cronJobStrategy, jobStrategy } from './jobs.ts';
import {
  ingressClassStrategy,
  ingressStrategy,
  ipAddressStrategy,
  networkPolicyStrategy,
  serviceCidrStrategy,
} from './networking.ts';
import { podStrategy } from './pods.ts';
import {
  controllerRevisionStrategy,
  disruptionBudgetStrategy,
  leaseStrategy,
  limitRangeStrategy,
  podTemplateStrategy,
  priorityClassStrategy,
  resourceQuotaStrategy,
  runtimeClassStrategy,
} from './policy.ts';
import {
  clusterRoleBindingStrategy,
  clusterRoleStrategy,
  roleBindingStrategy,
  roleStrategy,
} from './rbac.ts';
import { replicaSetStrategy, replicationControllerStrategy } from './replica-sets.ts';
import { serviceStrategy } from './services.ts';
import { statefulSetStrategy } from './stateful-sets.ts';
import {
  claimStrategy,
  csiDriverStrategy,
  csiNodeStrategy,
  csiStorageCapacityStrategy,
  persistentVolumeStrategy,
  storageClassStrategy,
  volumeAttachmentStrategy,
  volumeAttributesClassStrategy,
} from './storage.ts';

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
    ['horizontalpodautoscalers.autoscaling', autoscalerStrategy],
    ['cronjobs.batch', cronJobStrategy],
    ['jobs.batch', jobStrategy],
    ['certificatesigningrequests.certificates.k8s.io', certificateRequestStrategy],
    ['leases.coordination.k8s.io', leaseStrategy],
    ['endpointslices.discovery.k8s.io', endpointSliceStrategy],
    ['ingressclasses.networking.k8s.io', ingressClassStrategy],
    ['ingresses.networking.k8s.io', ingressStrategy],
    ['ipaddresses.networking.k8s.io', ipAddressStrategy],
    ['networkpolicies.networking.k8s.io', networkPolicyStrategy],
    ['servicecidrs.networking.k8s.io', serviceCidrStrategy],
    ['runtimeclasses.node.k8s.io', runtimeClassStrategy],
    ['poddisruptionbudgets.policy', disruptionBudgetStrategy],
    ['clusterrolebindings.rbac.authorization.k8s.io', clusterRoleBindingStrategy],
    ['clusterroles.rbac.authorization.k8s.io', clusterRoleStrategy],
    ['rolebindings.rbac.authorization.k8s.io', roleBindingStrategy],
    ['roles.rbac.authorization.k8s.io', roleStrategy],
    ['deviceclasses.resource.k8s.io', deviceClassStrategy],
    ['resourceclaims.resource.k8s.io', resourceClaimStrategy],
    ['resourceclaimtemplates.resource.k8s.io', resourceClaimTemplateStrategy],
    ['resourceslices.resource.k8s.io', resourceSliceStrategy],
    ['priorityclasses.scheduling.k8s.io', priorityClassStrategy],
    ['csidrivers.storage.k8s.io', csiDriverStrategy],
    ['csinodes.storage.k8s.io', csiNodeStrategy],
    ['csistoragecapacities.storage.k8s.io', csiStorageCapacityStrategy],
    ['storageclasses.storage.k8s.io', storageClassStrategy],
    ['volumeattachments.storage.k8s.io', volumeAttachmentStrategy],
    ['volumeattributesclasses.storage.k8s.io', volumeAttributesClassStrategy],
    ['mutatingadmissionpolicies.admissionregistration.k8s.io', admissionPolicyStrategy],
    ['mutatingadmissionpolicybindings.admissionregistration.k8s.io', admissionPolicyBindingStrategy],
    ['mutatingwebhookconfigurations.admissionregistration.k8s.io', webhookStrategy],
    ['validatingadmissionpolicies.admissionregistration.k8s.io', admissionPolicyStrategy],
    ['validatingadmissionpolicybindings.admissionregistration.k8s.io', admissionPolicyBindingStrategy],
    ['validatingwebhookconfigurations.admissionregistration.k8s.io', webhookStrategy],
    ['customresourcedefinitions.apiextensions.k8s.io', customResourceDefinitionStrategy],
    ['apiservices.apiregistration.k8s.io', apiServiceStrategy],
    ['flowschemas.flowcontrol.apiserver.k8s.io', flowSchemaStrategy],
    ['prioritylevelconfigurations.flowcontrol.apiserver.k8s.io', priorityLevelStrategy],
  ]);
}
