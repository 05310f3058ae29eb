import { ENDPOINT_SLICES, NODES, SERVICES } from '../../api/kinds.ts';
import { keyOf } from '../../api/object.ts';
import type { Node, Service } from '../../api/types/core-v1.ts';
import type { EndpointSlice } from '../../api/types/discovery-v1.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import { sameJson } from '../../lib/equal.ts';
import type { ControllerContext } from './context.ts';
import { isTrue, outsideAddress } from './shared/nodes.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';
const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';
/** k3s' label: when any node has it, only those that have it are balancers. */
const ENABLED = 'svccontroller.k3s.cattle.io/enablelb';
/** What the controllers' client is known by in managedFields. */
const OUR_MANAGER = 'kube-controller-manager';
/** Services depend on each other (one port, one Service), so all are looked at together. */
const ALL = 'all';
/** Nodes become ready one by one after a start. */
const DELAY_MS = 200;

export interface BalancerPlan {
  /** The addresses that each balanced Service shall have, by `namespace/name`. */
  addresses: Map<string, string[]>;
  /** Services that wait, and for which port of which other Service. */
  waiting: Map<string, { port: string; holder: string }>;
}

/**
 * Every ready node is a load balancer: it answers at its own address for every Service of that type. A port has one
 * Service; the oldest has it and the others wait, as their pods would under k3s' ServiceLB.
 */
export function planBalancers(
  services: readonly Service[],
  nodes: readonly Node[],
  nodesWithEndpoints: (service: Service) => ReadonlySet<string>,
): BalancerPlan {
  const plan: BalancerPlan = { addresses: new Map(), waiting: new Map() };
  const usable = nodes.filter(isBalancer);
  const enabled = usable.filter(({ metadata }) => metadata.labels?.[ENABLED] !== undefined);
  const balancers = enabled.length > 0 ? enabled : usable;
  const holders = new Map<string, string>();
  for (const service of services.filter(isOurs).sort(byAge)) {
    const key = keyOf(service);
    const ports = (service.spec?.ports ?? []).map(({ port, protocol = 'TCP' }) => `${port}/${protocol}`);
    const taken = ports.find((port) => holders.has(port));
    if (taken !== undefined) {
      plan.waiting.set(key, { port: taken, holder: holders.get(taken) as string });
      plan.addresses.set(key, []);
      continue;
    }
    for (const port of ports) holders.set(port, key);
    const local = service.spec?.externalTrafficPolicy === 'Local' ? nodesWithEndpoints(service) : undefined;
    const chosen = balancers.filter(({ metadata }) => local?.has(metadata.name ?? '') ?? true);
    plan.addresses.set(key, [...new Set(chosen.flatMap((node) => outsideAddress(node) ?? []))].sort());
  }
  return plan;
}

/** Services of another class are another controller's. */
function isOurs({ spec, metadata }: Service): boolean {
  return (
    spec?.type === 'LoadBalancer' &&
    spec.loadBalancerClass === undefined &&
    metadata.deletionTimestamp === undefined
  );
}

function isBalancer(node: Node): boolean {
  const { metadata } = node;
  if (metadata.labels?.[EXCLUDED] !== undefined || metadata.deletionTimestamp !== undefined) return false;
  return isTrue(node, 'Ready');
}

function byAge(a: Service, b: Service): number {
  const [first, second] = [a, b].map(({ metadata }) => metadata.creationTimestamp ?? '');
  if (first !== second) return (first ?? '') < (second ?? '') ? -1 : 1;
  return keyOf(a) < keyOf(b) ? -1 : 1;
}

/** Somebody else (MetalLB, a user) wrote the addresses that stand there: they are left alone. */
export function isWrittenByOthers({ metadata, status }: Service): boolean {
  if (!status?.loadBalancer?.ingress?.length) return false;
  const writers = (metadata.managedFields ?? []).filter(({ fieldsV1 }) => {
    const fields = fieldsV1 as { 'f:status'?: { 'f:loadBalancer'?: object } } | undefined;
    return fields?.['f:status']?.['f:loadBalancer'] !== undefined;
  });
  return writers.length > 0 && !writers.some(({ manager }) => manager === OUR_MANAGER);
}

const addressesOf = ({ status }: Service): string[] =>
  (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);

/**
 * Writes the nodes' addresses into the status of Services of type LoadBalancer, as k3s' ServiceLB does. Disabled, it
 * takes back what it wrote before and leaves the rest to whoever does it instead.
 */
export function serviceLbController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const services = informers.of(SERVICES);
  const nodes = informers.of(NODES);
  const slices = informers.of(ENDPOINT_SLICES);
  const recorder = context.events.of('service-lb-controller');
  const reported = new Map<string, string>();

  const ofSlice = ({ metadata }: EndpointSlice): string =>
    `${metadata.namespace}/${metadata.labels?.[SERVICE_NAME] ?? ''}`;
  const nodesOf = (service: Service): Set<string> => {
    const key = keyOf(service);
    return new Set(
      slices
        .list(service.metadata.namespace)
        .filter((slice) => ofSlice(slice) === key)
        .flatMap(({ endpoints }) => endpoints ?? [])
        .filter(({ conditions }) => conditions?.ready ?? true)
        .flatMap(({ nodeName }) => nodeName ?? []),
    );
  };
  const write = async (service: Service, wanted: readonly string[]): Promise<void> => {
    const before = addressesOf(service);
    if (sameJson(before, wanted) || isWrittenByOthers(service)) return;
    const { namespace, name = '', uid } = service.metadata;
    const loadBalancer = {
      ingress: wanted.length === 0 ? null : wanted.map((ip) => ({ ip, ipMode: 'VIP' })),
    };
    await client.patch(
      SERVICES,
      namespace,
      name,
      { type: 'merge', body: { metadata: { uid }, status: { loadBalancer } } },
      'status',
    );
    const text = wanted.join(', ');
    if (isOurs(service))
      recorder.record(
        service,
        'Normal',
        'UpdatedIngressIP',
        `LoadBalancer Ingress IP addresses updated: ${text}`,
      );
  };
  const report = (service: Service, wait: { port: string; holder: string } | undefined): void => {
    const key = keyOf(service);
    const message = wait && `port ${wait.port} is taken by Service ${wait.holder}`;
    if (message !== undefined && reported.get(key) !== message)
      recorder.record(service, 'Warning', 'PortTaken', message);
    if (message === undefined) reported.delete(key);
    else reported.set(key, message);
  };

  const controller: Controller = new Controller({
    name: 'service-lb-controller',
    clock: context.clock,
    logger: context.logger,
    concurrency: 1,
    watches: [
      watch(services, (service, { old }) => {
        const concerns = [service, old].some((one) => one !== undefined && one.spec?.type === 'LoadBalancer');
        return concerns ? ALL : undefined;
      }),
      watch(nodes, (node, { old, deleted }) => {
        if (old && !deleted && sameJson(judged(node), judged(old))) return undefined;
        controller.enqueue(ALL, DELAY_MS);
        return undefined;
      }),
      watch(slices, (slice) => {
        const service = services.byKey(ofSlice(slice));
        return service?.spec?.type === 'LoadBalancer' && service.spec.externalTrafficPolicy === 'Local'
          ? ALL
          : undefined;
      }),
    ],
    reconcile: async () => {
      const all = services.list();
      const disabled = context.disabled?.has('servicelb') ?? false;
      const plan = planBalancers(all, disabled ? [] : nodes.list(), nodesOf);
      for (const service of all) {
        const wanted = plan.addresses.get(keyOf(service));
        if (wanted) {
          await write(service, wanted);
          if (!disabled) report(service, plan.waiting.get(keyOf(service)));
        } else if (service.spec?.type !== 'LoadBalancer') await write(service, []);
      }
      for (const key of reported.keys()) if (!plan.waiting.has(key)) reported.delete(key);
      return undefined;
    },
  });
  return controller;
}

/** What of a node a plan looks at. */
function judged(node: Node): unknown[] {
  const { labels = {} } = node.metadata;
  return [isBalancer(node), outsideAddress(node) ?? '', labels[ENABLED] !== undefined];
}
