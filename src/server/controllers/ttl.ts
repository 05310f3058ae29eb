import { NODES } from '../../api/kinds.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import type { ControllerContext } from './context.ts';

const ANNOTATION = 'node.alpha.kubernetes.io/ttl';
/** How long (seconds) a kubelet may keep ConfigMaps and Secrets, by the number of nodes. The bounds overlap, so that a node more or less does not make every node change. */
const STEPS = [
  { least: 0, most: 100, seconds: 0 },
  { least: 90, most: 500, seconds: 15 },
  { least: 450, most: 1000, seconds: 30 },
  { least: 900, most: 2000, seconds: 60 },
  { least: 1800, most: Number.POSITIVE_INFINITY, seconds: 300 },
];

/** Annotates nodes for kubelets and clients that go by it; our own agents are told of changes at once. */
export function ttlController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const nodes = informers.of(NODES);
  let step = 0;
  return new Controller({
    name: 'ttl-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(nodes, (node, { old }) =>
        old && old.metadata.annotations?.[ANNOTATION] === node.metadata.annotations?.[ANNOTATION]
          ? undefined
          : node.metadata.name,
      ),
    ],
    reconcile: async (name) => {
      const node = nodes.get(undefined, name);
      if (!node || node.metadata.deletionTimestamp !== undefined) return undefined;
      step = nextStep(step, nodes.list().length);
      const seconds = String(STEPS[step]?.seconds ?? 0);
      if (node.metadata.annotations?.[ANNOTATION] === seconds) return undefined;
      await client.patch(NODES, undefined, name, {
        type: 'merge',
        body: { metadata: { annotations: { [ANNOTATION]: seconds } } },
      });
      return undefined;
    },
  });
}

/** Pure. */
export function nextStep(step: number, nodes: number): number {
  let next = step;
  while (nodes > (STEPS[next]?.most ?? Number.POSITIVE_INFINITY)) next += 1;
  while (next > 0 && nodes < (STEPS[next]?.least ?? 0)) next -= 1;
  return next;
}
