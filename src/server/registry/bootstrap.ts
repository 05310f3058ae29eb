// What exists in a cluster before anybody asks: system namespaces, default roles, priority classes and flow control, the
// Service `kubernetes` with its endpoint. Made at first start, mended at every one.
import { hasReason, isAlreadyExists } from '../../api/errors.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import { parseApiVersion } from '../../api/resource.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Store } from '../store/port.ts';
import { firstServiceAddress } from './allocation.ts';
import type { ApiRegistry } from './api-registry.ts';
import type { RequestContext, Target } from './port.ts';

const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export interface BootstrapOptions {
  registry: ApiRegistry;
  store: Store;
  logger: Logger;
  /** data/bootstrap-objects.json (src/api/facts.ts loads it). */
  objects: readonly JsonObject[];
  serviceCidr: string;
  /** The address of the Service `kube-system/kube-dns`; none without. */
  clusterDns?: string;
}

/** Idempotent: what exists stays as it is. The endpoint of the Service `kubernetes` is api-endpoint.ts's. */
export async function bootstrap(options: BootstrapOptions): Promise<void> {
  const { registry, objects, serviceCidr, logger } = options;
  const context: RequestContext = {
    user: { name: 'system:apiserver', groups: ['system:masters'] },
    requestId: 'bootstrap',
    fieldManager: 'copepod',
    warn: (text) => logger.debug({ warning: text }, 'bootstrap'),
  };
  const create = async (object: JsonObject): Promise<void> => {
    const target = targetOf(registry, object);
    if (exists(options.store, registry, target)) return;
    try {
      await registry.create(context, { ...target, name: undefined }, object);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  };
  await Promise.all(
    NAMESPACES.map((name) => create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
  );
  await Promise.all(objects.map((object) => create(withServiceCidr(object, serviceCidr))));
  const firstAddress = firstServiceAddress(serviceCidr);
  await create(kubernetesService(firstAddress));
  if (options.clusterDns !== undefined) {
    try {
      await create(dnsService(options.clusterDns));
    } catch (error) {
      if (!hasReason(error, 'Invalid')) throw error;
      // Outside the range, or another Service's: the boards answer at the address all the same.
      logger.warn({ err: error }, 'the Service kube-dns could not be made');
    }
  }
}

function exists(store: Store, registry: ApiRegistry, target: Target): boolean {
  const { bucket } = registry.served.of(target.info);
  const key = target.namespace ? `${target.namespace}/${target.name}` : (target.name ?? '');
  return store.head(bucket, key) !== undefined;
}

function targetOf(registry: ApiRegistry, object: JsonObject): Target {
  const apiVersion = stringAt(object, 'apiVersion');
  const info = registry.catalogue.findKind(apiVersion, stringAt(object, 'kind'));
  if (!info)
    throw new Error(`bootstrap: ${object.kind} of ${parseApiVersion(apiVersion).group} is not served`);
  const { name, namespace } = (object as unknown as KubeObject).metadata;
  return { info, name, namespace };
}

/** The recorded ServiceCIDR is that of the recorded server. */
function withServiceCidr(object: JsonObject, serviceCidr: string): JsonObject {
  return object.kind === 'ServiceCIDR'
    ? { ...object, spec: { ...objectAt(object, 'spec'), cidrs: [serviceCidr] } }
    : object;
}

const LABELS = { component: 'apiserver', provider: 'kubernetes' };

function kubernetesService(clusterIP: string): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default', labels: LABELS },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 6443 }],
      sessionAffinity: 'None',
    },
  };
}

/** Without a selector: every board answers at its address itself, there are no pods behind it. */
function dnsService(clusterIP: string): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kube-dns',
      namespace: 'kube-system',
      labels: {
        'k8s-app': 'kube-dns',
        'kubernetes.io/cluster-service': 'true',
        'kubernetes.io/name': 'CoreDNS',
      },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
      ],
      sessionAffinity: 'None',
    },
  };
}
