import {
  INGRESS_UNAVAILABLE,
  ingressLabels,
  ingressNodes,
  isOurIngress,
  tlsSecrets,
} from '../../../api/ingress.ts';
import { INGRESS_CLASSES, INGRESSES, NODES, SECRETS } from '../../../api/kinds.ts';
import { keyOf } from '../../../api/object.ts';
import type { Node } from '../../../api/types/core-v1.ts';
import type { Ingress } from '../../../api/types/networking-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { isTrue, outsideAddress } from '../shared/nodes.ts';
import { ingressProblems } from './problems.ts';

/** What the controllers' client is known by in managedFields. */
const OUR_MANAGER = 'kube-controller-manager';
/** Nodes become ready one by one after a start. */
const DELAY_MS = 200;

/**
 * Writes the addresses of the nodes that serve it into the status of each Ingress of ours, and says in events what boards
 * cannot do as it is written. Of an Ingress that ceased to be ours, our addresses are taken away.
 */
export function ingressController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const ingresses = informers.of(INGRESSES);
  const classes = informers.of(INGRESS_CLASSES);
  const nodes = informers.of(NODES);
  const secrets = informers.of(SECRETS);
  const disabled = context.disabled?.has('ingress') ?? false;
  const recorder = context.events.of('ingress-controller');
  /** What was said of each Ingress: said again when it changes. */
  const reported = new Map<string, string>();

  const isOurs = (ingress: Ingress): boolean => !disabled && isOurIngress(ingress, classes.list());
  const all = (): string[] => ingresses.list().map(keyOf);
  const later = (): undefined => {
    for (const key of all()) controller.enqueue(key, DELAY_MS);
    return undefined;
  };

  const write = async (ingress: Ingress, wanted: readonly string[]): Promise<void> => {
    const before = (ingress.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? '');
    if (sameJson(before, wanted)) return;
    const { namespace, name = '', uid } = ingress.metadata;
    const loadBalancer = { ingress: wanted.length === 0 ? null : wanted.map((ip) => ({ ip })) };
    const body = { metadata: { uid }, status: { loadBalancer } };
    await client.patch(INGRESSES, namespace, name, { type: 'merge', body }, 'status');
  };

  const report = (ingress: Ingress): void => {
    const key = keyOf(ingress);
    const secretOf = (name: string) => secrets.get(ingress.metadata.namespace, name);
    const problems = ingressProblems(ingress, secretOf, ingresses.list().filter(isOurs));
    const text = JSON.stringify([ingress.metadata.uid, problems]);
    if (reported.get(key) === text) return;
    reported.set(key, text);
    for (const { reason, message } of problems) recorder.record(ingress, 'Warning', reason, message);
  };

  const controller: Controller = new Controller({
    name: 'ingress-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      // One that comes, goes or changes may give paths to others, or take them.
      watch(ingresses, (ingress, { old }) =>
        old && sameJson(ingress.spec, old.spec) ? keyOf(ingress) : [keyOf(ingress), ...all()],
      ),
      watch(classes, all),
      watch(nodes, (node, { old, deleted }) =>
        old && !deleted && judged(node) === judged(old) ? undefined : later(),
      ),
      watch(secrets, (secret) =>
        ingresses
          .list(secret.metadata.namespace)
          .filter((ingress) => tlsSecrets(ingress).includes(secret.metadata.name ?? ''))
          .map(keyOf),
      ),
    ],
    reconcile: async (key) => {
      const ingress = ingresses.byKey(key);
      if (!ingress || ingress.metadata.deletionTimestamp !== undefined) {
        reported.delete(key);
        return undefined;
      }
      if (isOurs(ingress)) {
        await write(ingress, servingAddresses(nodes.list()));
        report(ingress);
      } else {
        reported.delete(key);
        if (writtenByUs(ingress)) await write(ingress, []);
      }
      return undefined;
    },
  });
  return controller;
}

/** The addresses of the nodes that serve Ingresses, are Ready and have their ports. Sorted. */
export function servingAddresses(nodes: readonly Node[]): string[] {
  return [
    ...new Set(
      ingressNodes(nodes)
        .filter((node) => isReady(node) && !isUnavailable(node))
        .flatMap((node) => outsideAddress(node) ?? []),
    ),
  ].sort();
}

const isReady = (node: Node): boolean => isTrue(node, 'Ready');
/** Another program has a port of it, say. */
const isUnavailable = (node: Node): boolean => isTrue(node, INGRESS_UNAVAILABLE);

/** What of a node the addresses depend on. */
function judged(node: Node): string {
  return `${isReady(node)} ${isUnavailable(node)} ${outsideAddress(node)} ${ingressLabels(node)} ${node.metadata.deletionTimestamp}`;
}

/** The addresses that stand there are ours, unless another class' controller has written its own already. */
function writtenByUs({ metadata, status }: Ingress): boolean {
  if (!status?.loadBalancer?.ingress?.length) return false;
  const writers = (metadata.managedFields ?? []).filter(({ fieldsV1 }) => {
    const fields = fieldsV1 as { 'f:status'?: { 'f:loadBalancer'?: object } } | undefined;
    return fields?.['f:status']?.['f:loadBalancer'] !== undefined;
  });
  return writers.length === 0 || writers.some(({ manager }) => manager === OUR_MANAGER);
}
