import type { ResourceInfo } from '../../api/catalogue.ts';
import { isConflict, isNotFound } from '../../api/errors.ts';
import { NAMESPACES, PODS } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/object.ts';
import { groupResource } from '../../api/resource.ts';
import type { Namespace, NamespaceCondition } from '../../api/types/core-v1.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import { timestamp } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';
import type { ControllerContext } from './context.ts';
import { withCondition } from './shared/conditions.ts';

const FINALIZER = 'kubernetes';
/** Content that goes without an event we see (anything but pods) is looked for again after this long. */
const LOOK_AGAIN_MS = 1000;

/** What is still in a namespace: how many of each resource, and how many hold which finalizer. */
export interface Remainder {
  resources: ReadonlyMap<string, number>;
  finalizers: ReadonlyMap<string, number>;
  /** Failures to list or delete, as messages. */
  failures: readonly string[];
}

/** The conditions of a namespace that is being deleted, as Kubernetes words them. */
export function namespaceConditions(
  current: readonly NamespaceCondition[] | undefined,
  { resources, finalizers, failures }: Remainder,
  now: string,
): NamespaceCondition[] {
  const list = (counts: ReadonlyMap<string, number>, word: string): string =>
    [...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${name} ${word} ${count} resource instances`)
      .join(', ');
  const wanted: [type: string, status: string, reason: string, message: string][] = [
    [
      'NamespaceDeletionDiscoveryFailure',
      'False',
      'ResourcesDiscovered',
      'All resources successfully discovered',
    ],
    [
      'NamespaceDeletionGroupVersionParsingFailure',
      'False',
      'ParsedGroupVersions',
      'All legacy kube types successfully parsed',
    ],
    failures.length > 0
      ? [
          'NamespaceDeletionContentFailure',
          'True',
          'ContentDeletionFailed',
          `Failed to delete all resource types, ${failures.length} remaining: ${[...failures].sort().join(', ')}`,
        ]
      : [
          'NamespaceDeletionContentFailure',
          'False',
          'ContentDeleted',
          'All content successfully deleted, may be waiting on finalization',
        ],
    resources.size > 0
      ? [
          'NamespaceContentRemaining',
          'True',
          'SomeResourcesRemain',
          `Some resources are remaining: ${list(resources, 'has')}`,
        ]
      : ['NamespaceContentRemaining', 'False', 'ContentRemoved', 'All content successfully removed'],
    finalizers.size > 0
      ? [
          'NamespaceFinalizersRemaining',
          'True',
          'SomeFinalizersRemain',
          `Some content in the namespace has finalizers remaining: ${list(finalizers, 'in')}`,
        ]
      : [
          'NamespaceFinalizersRemaining',
          'False',
          'ContentHasNoFinalizers',
          'All content-preserving finalizers finished',
        ],
  ];
  let conditions = [...(current ?? [])];
  for (const [type, status, reason, message] of wanted) {
    conditions = withCondition(conditions, { type, status, reason, message }, now);
  }
  return conditions;
}

/** Empties a namespace that is being deleted, says how far it got, and lets it go when nothing is left. */
export function namespaceController(context: ControllerContext): Controller {
  const { client, clock, catalogue, informers } = context;
  const namespaces = informers.of(NAMESPACES);
  const pods = informers.of(PODS);

  const types = (): ResourceInfo[] => {
    const byResource = new Map<string, ResourceInfo>();
    for (const info of catalogue.all()) {
      const usable = info.namespaced && info.verbs.includes('delete') && info.verbs.includes('list');
      // Events of both groups are the same objects.
      if (!usable || groupResource(info) === 'events.events.k8s.io') continue;
      if (!byResource.has(groupResource(info))) byResource.set(groupResource(info), info);
    }
    return [...byResource.values()];
  };

  const empty = async (namespace: string): Promise<Remainder> => {
    const resources = new Map<string, number>();
    const finalizers = new Map<string, number>();
    const failures: string[] = [];
    for (const type of types()) {
      try {
        const { items } = await client.list<KubeObject>(type, { namespace });
        for (const { metadata } of items) {
          if (metadata.deletionTimestamp === undefined) await remove(type, metadata);
        }
        if (items.length === 0) continue;
        const left = (await client.list<KubeObject>(type, { namespace })).items;
        if (left.length > 0) resources.set(`${written(type)}`, left.length);
        for (const { metadata } of left) {
          for (const name of metadata.finalizers ?? []) finalizers.set(name, (finalizers.get(name) ?? 0) + 1);
        }
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        resources.set(written(type), resources.get(written(type)) ?? 1);
      }
    }
    return { resources, finalizers, failures };
  };

  const remove = async (
    type: ResourceInfo,
    { namespace, name = '', uid }: KubeObject['metadata'],
  ): Promise<void> => {
    try {
      await client.delete(type, namespace, name, {
        propagationPolicy: 'Background',
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  };

  const report = async (namespace: Namespace, remainder: Remainder): Promise<Namespace> => {
    const conditions = namespaceConditions(namespace.status?.conditions, remainder, timestamp(clock.now()));
    if (sameJson(conditions, namespace.status?.conditions)) return namespace;
    return await client.updateStatus(NAMESPACES, {
      ...namespace,
      status: { ...namespace.status, phase: 'Terminating', conditions },
    });
  };

  return new Controller({
    name: 'namespace-controller',
    clock,
    logger: context.logger,
    concurrency: 2,
    watches: [
      watch(namespaces, ({ metadata }) =>
        metadata.deletionTimestamp === undefined ? undefined : (metadata.name ?? ''),
      ),
      watch(pods, ({ metadata }, { deleted }) =>
        deleted &&
        namespaces.get(undefined, metadata.namespace ?? '')?.metadata.deletionTimestamp !== undefined
          ? metadata.namespace
          : undefined,
      ),
    ],
    reconcile: async (name) => {
      const namespace = namespaces.get(undefined, name);
      if (namespace?.metadata.deletionTimestamp === undefined) return undefined;
      const finalizers = namespace.spec?.finalizers ?? [];
      if (!finalizers.includes(FINALIZER)) return undefined;
      const remainder = await empty(name);
      const live = await report(namespace, remainder);
      if (remainder.resources.size > 0) return LOOK_AGAIN_MS;
      await client.patch(
        NAMESPACES,
        undefined,
        name,
        {
          type: 'merge',
          body: {
            metadata: { uid: live.metadata.uid },
            spec: { finalizers: finalizers.filter((finalizer) => finalizer !== FINALIZER) },
          },
        },
        'finalize',
      );
      return undefined;
    },
  });
}

/** `pods.` for core and `deployments.apps`: the namespace controller writes the group's dot always. */
function written(type: ResourceInfo): string {
  return `${type.resource}.${type.group}`;
}
