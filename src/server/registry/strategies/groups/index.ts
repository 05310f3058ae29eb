// The strategies of all API groups but core, apps and batch.
import type { Strategy } from '../../strategy.ts';
import {
  mutatingPolicyBindingStrategy,
  mutatingPolicyStrategy,
  validatingPolicyBindingStrategy,
  validatingPolicyStrategy,
} from './admission-policies.ts';
import { apiServiceStrategy } from './api-services.ts';
import { autoscalerStrategy } from './autoscalers.ts';
import { certificateRequestStrategy } from './certificate-requests.ts';
import { csiDriverStrategy, csiNodeStrategy, volumeAttachmentStrategy } from './csi.ts';
import { customResourceDefinitionStrategy } from './custom-resources.ts';
import {
  deviceClassStrategy,
  resourceClaimStrategy,
  resourceClaimTemplateStrategy,
  resourceSliceStrategy,
} from './devices.ts';
import { disruptionBudgetStrategy } from './disruption-budgets.ts';
import { endpointSliceStrategy } from './endpoint-slices.ts';
import { flowSchemaStrategy, priorityLevelStrategy } from './flow-control.ts';
import { ingressClassStrategy } from './ingress-classes.ts';
import { ingressStrategy } from './ingresses.ts';
import { leaseStrategy } from './leases.ts';
import { networkPolicyStrategy } from './network-policies.ts';
import { priorityClassStrategy } from './priority-classes.ts';
import {
  clusterRoleBindingStrategy,
  clusterRoleStrategy,
  roleBindingStrategy,
  roleStrategy,
} from './rbac.ts';
import { runtimeClassStrategy } from './runtime-classes.ts';
import { ipAddressStrategy, serviceCidrStrategy } from './service-cidrs.ts';
import {
  csiStorageCapacityStrategy,
  storageClassStrategy,
  volumeAttributesClassStrategy,
} from './storage-classes.ts';
import { mutatingWebhookStrategy, validatingWebhookStrategy } from './webhooks.ts';

/** By group resource. */
export function groupStrategies(): [string, Strategy][] {
  return [
    ['mutatingadmissionpolicies.admissionregistration.k8s.io', mutatingPolicyStrategy],
    ['mutatingadmissionpolicybindings.admissionregistration.k8s.io', mutatingPolicyBindingStrategy],
    ['mutatingwebhookconfigurations.admissionregistration.k8s.io', mutatingWebhookStrategy],
    ['validatingadmissionpolicies.admissionregistration.k8s.io', validatingPolicyStrategy],
    ['validatingadmissionpolicybindings.admissionregistration.k8s.io', validatingPolicyBindingStrategy],
    ['validatingwebhookconfigurations.admissionregistration.k8s.io', validatingWebhookStrategy],
    ['customresourcedefinitions.apiextensions.k8s.io', customResourceDefinitionStrategy],
    ['apiservices.apiregistration.k8s.io', apiServiceStrategy],
    ['horizontalpodautoscalers.autoscaling', autoscalerStrategy],
    ['certificatesigningrequests.certificates.k8s.io', certificateRequestStrategy],
    ['leases.coordination.k8s.io', leaseStrategy],
    ['endpointslices.discovery.k8s.io', endpointSliceStrategy],
    ['flowschemas.flowcontrol.apiserver.k8s.io', flowSchemaStrategy],
    ['prioritylevelconfigurations.flowcontrol.apiserver.k8s.io', priorityLevelStrategy],
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
  ];
}
