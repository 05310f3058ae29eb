// The resource types that code names, as constants typed by their objects:
// `client.get(PODS, 'default', 'web')` is a Promise<Pod>.

import type { KubeObject } from './object.ts';
import type { ResourceType } from './resource.ts';
import type { CustomResourceDefinition } from './types/apiextensions-v1.ts';
import type { APIService } from './types/apiregistration-v1.ts';
import type { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet } from './types/apps-v1.ts';
import type { HorizontalPodAutoscaler } from './types/autoscaling-v2.ts';
import type { CronJob, Job } from './types/batch-v1.ts';
import type { CertificateSigningRequest } from './types/certificates-v1.ts';
import type { Lease } from './types/coordination-v1.ts';
import type {
  ConfigMap,
  Endpoints,
  Event,
  LimitRange,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodTemplate,
  ReplicationController,
  ResourceQuota,
  Secret,
  Service,
  ServiceAccount,
} from './types/core-v1.ts';
import type { EndpointSlice } from './types/discovery-v1.ts';
import type { Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR } from './types/networking-v1.ts';
import type { RuntimeClass } from './types/node-v1.ts';
import type { PodDisruptionBudget } from './types/policy-v1.ts';
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from './types/rbac-v1.ts';
import type { PriorityClass } from './types/scheduling-v1.ts';
import type {
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  StorageClass,
  VolumeAttachment,
  VolumeAttributesClass,
} from './types/storage-v1.ts';

function define<T extends KubeObject>(
  group: string,
  version: string,
  resource: string,
  kind: string,
  namespaced: boolean,
): ResourceType<T> {
  return { group, version, resource, kind, namespaced };
}

export const CONFIG_MAPS = define<ConfigMap>('', 'v1', 'configmaps', 'ConfigMap', true);
export const ENDPOINTS = define<Endpoints>('', 'v1', 'endpoints', 'Endpoints', true);
export const EVENTS = define<Event>('', 'v1', 'events', 'Event', true);
export const LIMIT_RANGES = define<LimitRange>('', 'v1', 'limitranges', 'LimitRange', true);
export const NAMESPACES = define<Namespace>('', 'v1', 'namespaces', 'Namespace', false);
export const NODES = define<Node>('', 'v1', 'nodes', 'Node', false);
export const PERSISTENT_VOLUME_CLAIMS = define<PersistentVolumeClaim>(
  '',
  'v1',
  'persistentvolumeclaims',
  'PersistentVolumeClaim',
  true,
);
export const PERSISTENT_VOLUMES = define<PersistentVolume>(
  '',
  'v1',
  'persistentvolumes',
  'PersistentVolume',
  false,
);
export const PODS = define<Pod>('', 'v1', 'pods', 'Pod', true);
export const POD_TEMPLATES = define<PodTemplate>('', 'v1', 'podtemplates', 'PodTemplate', true);
export const REPLICATION_CONTROLLERS = define<ReplicationController>(
  '',
  'v1',
  'replicationcontrollers',
  'ReplicationController',
  true,
);
export const RESOURCE_QUOTAS = define<ResourceQuota>('', 'v1', 'resourcequotas', 'ResourceQuota', true);
export const SECRETS = define<Secret>('', 'v1', 'secrets', 'Secret', true);
export const SERVICE_ACCOUNTS = define<ServiceAccount>('', 'v1', 'serviceaccounts', 'ServiceAccount', true);
export const SERVICES = define<Service>('', 'v1', 'services', 'Service', true);
export const API_SERVICES = define<APIService>(
  'apiregistration.k8s.io',
  'v1',
  'apiservices',
  'APIService',
  false,
);
export const CONTROLLER_REVISIONS = define<ControllerRevision>(
  'apps',
  'v1',
  'controllerrevisions',
  'ControllerRevision',
  true,
);
export const DAEMON_SETS = define<DaemonSet>('apps', 'v1', 'daemonsets', 'DaemonSet', true);
export const DEPLOYMENTS = define<Deployment>('apps', 'v1', 'deployments', 'Deployment', true);
export const REPLICA_SETS = define<ReplicaSet>('apps', 'v1', 'replicasets', 'ReplicaSet', true);
export const STATEFUL_SETS = define<StatefulSet>('apps', 'v1', 'statefulsets', 'StatefulSet', true);
export const HORIZONTAL_POD_AUTOSCALERS = define<HorizontalPodAutoscaler>(
  'autoscaling',
  'v2',
  'horizontalpodautoscalers',
  'HorizontalPodAutoscaler',
  true,
);
export const CRON_JOBS = define<CronJob>('batch', 'v1', 'cronjobs', 'CronJob', true);
export const JOBS = define<Job>('batch', 'v1', 'jobs', 'Job', true);
export const CERTIFICATE_SIGNING_REQUESTS = define<CertificateSigningRequest>(
  'certificates.k8s.io',
  'v1',
  'certificatesigningrequests',
  'CertificateSigningRequest',
  false,
);
export const INGRESS_CLASSES = define<IngressClass>(
  'networking.k8s.io',
  'v1',
  'ingressclasses',
  'IngressClass',
  false,
);
export const INGRESSES = define<Ingress>('networking.k8s.io', 'v1', 'ingresses', 'Ingress', true);
export const IP_ADDRESSES = define<IPAddress>('networking.k8s.io', 'v1', 'ipaddresses', 'IPAddress', false);
export const NETWORK_POLICIES = define<NetworkPolicy>(
  'networking.k8s.io',
  'v1',
  'networkpolicies',
  'NetworkPolicy',
  true,
);
export const SERVICE_CIDRS = define<ServiceCIDR>(
  'networking.k8s.io',
  'v1',
  'servicecidrs',
  'ServiceCIDR',
  false,
);
export const POD_DISRUPTION_BUDGETS = define<PodDisruptionBudget>(
  'policy',
  'v1',
  'poddisruptionbudgets',
  'PodDisruptionBudget',
  true,
);
export const CLUSTER_ROLE_BINDINGS = define<ClusterRoleBinding>(
  'rbac.authorization.k8s.io',
  'v1',
  'clusterrolebindings',
  'ClusterRoleBinding',
  false,
);
export const CLUSTER_ROLES = define<ClusterRole>(
  'rbac.authorization.k8s.io',
  'v1',
  'clusterroles',
  'ClusterRole',
  false,
);
export const ROLE_BINDINGS = define<RoleBinding>(
  'rbac.authorization.k8s.io',
  'v1',
  'rolebindings',
  'RoleBinding',
  true,
);
export const ROLES = define<Role>('rbac.authorization.k8s.io', 'v1', 'roles', 'Role', true);
export const CSI_DRIVERS = define<CSIDriver>('storage.k8s.io', 'v1', 'csidrivers', 'CSIDriver', false);
export const CSI_NODES = define<CSINode>('storage.k8s.io', 'v1', 'csinodes', 'CSINode', false);
export const CSI_STORAGE_CAPACITYS = define<CSIStorageCapacity>(
  'storage.k8s.io',
  'v1',
  'csistoragecapacities',
  'CSIStorageCapacity',
  true,
);
export const STORAGE_CLASSES = define<StorageClass>(
  'storage.k8s.io',
  'v1',
  'storageclasses',
  'StorageClass',
  false,
);
export const VOLUME_ATTACHMENTS = define<VolumeAttachment>(
  'storage.k8s.io',
  'v1',
  'volumeattachments',
  'VolumeAttachment',
  false,
);
export const VOLUME_ATTRIBUTES_CLASSES = define<VolumeAttributesClass>(
  'storage.k8s.io',
  'v1',
  'volumeattributesclasses',
  'VolumeAttributesClass',
  false,
);
export const CUSTOM_RESOURCE_DEFINITIONS = define<CustomResourceDefinition>(
  'apiextensions.k8s.io',
  'v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  false,
);
export const PRIORITY_CLASSES = define<PriorityClass>(
  'scheduling.k8s.io',
  'v1',
  'priorityclasses',
  'PriorityClass',
  false,
);
export const LEASES = define<Lease>('coordination.k8s.io', 'v1', 'leases', 'Lease', true);
export const RUNTIME_CLASSES = define<RuntimeClass>(
  'node.k8s.io',
  'v1',
  'runtimeclasses',
  'RuntimeClass',
  false,
);
export const ENDPOINT_SLICES = define<EndpointSlice>(
  'discovery.k8s.io',
  'v1',
  'endpointslices',
  'EndpointSlice',
  true,
);
