import { isNotFound } from '../../../api/errors.ts';
import { ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import type { Pod, Service } from '../../../api/types/core-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { endpointsOf } from './legacy.ts';
import { MANAGED_BY, MANAGER, planSlices, SERVICE_NAME } from './slices.ts';
import { selectsPods } from './targets.ts';

const ZONE = 'topology.kubernetes.io/zone';
const SERVICE_INDEX = 'service';

/** EndpointSlices and Endpoints of Services, from the pods they select. */
export function endpointsController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const services = informers.of(SERVICES);
  const pods = informers.of(PODS);
  const nodes = informers.of(NODES);
  const endpoints = informers.of(ENDPOINTS);
  const slices = informers
    .of(ENDPOINT_SLICES)
    .addIndex(SERVICE_INDEX, ({ metadata }) =>
      metadata.labels?.[MANAGED_BY] === MANAGER
        ? `${metadata.namespace}/${metadata.labels[SERVICE_NAME]}`
        : undefined,
    );

  const selects = (service: Service, pod: Pod): boolean => {
    const labels = pod.metadata.labels ?? {};
    return (
      selectsPods(service) &&
      Object.entries(service.spec?.selector ?? {}).every(([key, value]) => labels[key] === value)
    );
  };
  const servicesOf = (pod: Pod, old: Pod | undefined): string[] =>
    services
      .list(pod.metadata.namespace ?? '')
      .filter((service) => selects(service, pod) || (old !== undefined && selects(service, old)))
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

  const servicesOn = (node: string | undefined): string[] =>
    slices
      .list()
      .filter(
        (slice) =>
          slice.metadata.labels?.[MANAGED_BY] === MANAGER &&
          slice.endpoints?.some(({ nodeName }) => nodeName === node),
      )
      .map(({ metadata }) => `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME]}`);

  const removeEndpoints = async (namespace: string | undefined, name: string): Promise<void> => {
    try {
      if (endpoints.get(namespace, name)) await client.delete(ENDPOINTS, namespace, name);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  };

  const syncSlices = async (service: Service, selected: readonly Pod[], key: string): Promise<void> => {
    const plan = planSlices({
      service,
      pods: selected,
      slices: slices.byIndex(SERVICE_INDEX, key),
      zoneOf: (node) => nodes.get(undefined, node)?.metadata.labels?.[ZONE],
    });
    for (const slice of plan.create) await client.create(ENDPOINT_SLICES, service.metadata.namespace, slice);
    for (const slice of plan.update) await client.update(ENDPOINT_SLICES, slice);
    for (const { metadata } of plan.remove) {
      await client.delete(ENDPOINT_SLICES, metadata.namespace, metadata.name ?? '');
    }
  };

  const syncEndpoints = async (service: Service, selected: readonly Pod[]): Promise<void> => {
    const { namespace, name = '' } = service.metadata;
    const wanted = endpointsOf(service, selected);
    const current = endpoints.get(namespace, name);
    if (!current) {
      await client.create(ENDPOINTS, namespace, wanted);
    } else if (
      !sameJson(current.subsets ?? [], wanted.subsets ?? []) ||
      !sameJson(current.metadata.labels, wanted.metadata.labels)
    ) {
      const { subsets: _old, ...rest } = current;
      await client.update(ENDPOINTS, {
        ...rest,
        metadata: { ...current.metadata, ...wanted.metadata },
        ...(wanted.subsets ? { subsets: wanted.subsets } : {}),
      });
    }
  };

  return new Controller({
    name: 'endpointslice-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(services),
      watch(pods, (pod, { old }) => (old && sameForEndpoints(pod, old) ? undefined : servicesOf(pod, old))),
      // Somebody changed or removed what we manage.
      watch(slices, ({ metadata }) =>
        metadata.labels?.[MANAGED_BY] === MANAGER
          ? `${metadata.namespace}/${metadata.labels[SERVICE_NAME]}`
          : undefined,
      ),
      watch(endpoints, ({ metadata }) => `${metadata.namespace}/${metadata.name}`),
      // A node's zone is told with its endpoints.
      watch(nodes, ({ metadata }, { old }) =>
        old && metadata.labels?.[ZONE] !== old.metadata.labels?.[ZONE]
          ? servicesOn(metadata.name)
          : undefined,
      ),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const service = services.get(namespace, name);
      if (!service) {
        // Slices go with their owner; Endpoints have none. Those without a Service that never had one stay.
        if (endpoints.get(namespace, name)?.metadata.labels?.['endpoints.kubernetes.io/managed-by']) {
          await removeEndpoints(namespace, name);
        }
        return undefined;
      }
      if (!selectsPods(service) || service.metadata.deletionTimestamp !== undefined) return undefined;
      const selected = pods.list(namespace ?? '').filter((pod) => selects(service, pod));
      await syncSlices(service, selected, key);
      await syncEndpoints(service, selected);
      return undefined;
    },
  });
}

/** Status changes come often; few of them move an endpoint. */
function sameForEndpoints(pod: Pod, old: Pod): boolean {
  const ready = ({ status }: Pod): string | undefined =>
    status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  return (
    ready(pod) === ready(old) &&
    pod.status?.phase === old.status?.phase &&
    sameJson(pod.status?.podIPs ?? pod.status?.podIP, old.status?.podIPs ?? old.status?.podIP) &&
    pod.metadata.deletionTimestamp === old.metadata.deletionTimestamp &&
    pod.spec?.nodeName === old.spec?.nodeName &&
    sameJson(pod.metadata.labels, old.metadata.labels)
  );
}
