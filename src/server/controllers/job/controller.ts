import { JOBS, PODS } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import type { Job } from '../../../api/types/batch-v1.ts';
import type { Pod, PodTemplateSpec } from '../../../api/types/core-v1.ts';
import { Controller, isNamespaceTerminating, watch } from '../../../client/reconcile.ts';
import { selectorCache } from '../../../client/selector-cache.ts';
import { sameJson } from '../../../lib/equal.ts';
import { nameSuffix } from '../../../lib/random.ts';
import type { ControllerContext } from '../context.ts';
import {
  claim,
  controlledBy,
  controllerOf,
  indexClaims,
  patchMetadata,
  toController,
} from '../shared/ownership.ts';
import { PodControl, type PodShape, slowStart } from '../shared/pod-control.ts';
import { INDEX_ANNOTATION, isTracked, TRACKING } from './count.ts';
import { decideJob, isFinished, type NewJobPod } from './decide.ts';

const NAME = 'job-controller';
const MANAGER = 'kubernetes.io/job-controller';

export function jobController(context: ControllerContext): Controller {
  const { client, clock, informers, random } = context;
  const recorder = context.events.of(NAME);
  const control = new PodControl({ client, recorder });
  const jobs = informers.of(JOBS);
  const pods = indexClaims(informers.of(PODS));
  const selects = selectorCache();
  const matches = ({ spec }: Job, pod: Pod): boolean => selects(spec?.selector, pod.metadata.labels);
  const ours = ({ spec }: Job): boolean => (spec?.managedBy ?? MANAGER) === MANAGER;

  const letGo = async (pod: Pod): Promise<void> => {
    if (!isTracked(pod)) return;
    const finalizers = (pod.metadata.finalizers ?? []).filter((name) => name !== TRACKING);
    await patchMetadata(client, PODS, pod, { finalizers: finalizers.length > 0 ? finalizers : null });
  };

  /** Pods whose Job is gone or finished must not be held by its finalizer. */
  const releaseAll = async (all: readonly Pod[]): Promise<void> => {
    for (const pod of all) await letGo(pod);
  };

  const removeExpired = async (job: Job): Promise<number | undefined> => {
    const seconds = job.spec?.ttlSecondsAfterFinished;
    if (seconds === undefined || job.metadata.deletionTimestamp !== undefined) return undefined;
    const finished = (job.status?.conditions ?? []).find(
      ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
    );
    const left = Date.parse(finished?.lastTransitionTime ?? '') + seconds * 1000 - clock.now();
    if (left > 0) return left;
    const { namespace, name = '', uid, resourceVersion } = job.metadata;
    await client.delete(JOBS, namespace, name, {
      propagationPolicy: 'Foreground',
      preconditions: {
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
    });
    return undefined;
  };

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(jobs),
      watch(pods, toController(jobs, matches)),
      watch(jobs, (job, { deleted }) => (deleted ? orphanKey(job.metadata.uid ?? '') : undefined)),
      watch(pods, (pod, { deleted }) => {
        const owner = controllerOf(pod);
        if (deleted || owner?.kind !== 'Job' || !isTracked(pod)) return undefined;
        return jobs.get(pod.metadata.namespace, owner.name)?.metadata.uid === owner.uid
          ? undefined
          : orphanKey(owner.uid);
      }),
    ],
    reconcile: async (key) => {
      if (key.startsWith(ORPHANS)) {
        const uid = key.slice(ORPHANS.length);
        if (jobs.list().some(({ metadata }) => metadata.uid === uid)) return undefined;
        await releaseAll(controlledBy(pods, uid));
        return undefined;
      }
      const { namespace, name } = splitKey(key);
      const job = jobs.get(namespace, name);
      // Without a selector no pod would ever be found again, and pods would be made without end.
      if (!job?.spec?.selector || !ours(job)) return undefined;
      if (isFinished(job) || job.metadata.deletionTimestamp !== undefined) {
        await releaseAll(
          controlledBy(pods, job.metadata.uid ?? '').filter((pod) => isFinished(job) || endsWith(pod)),
        );
        return await removeExpired(job);
      }
      const owned = await claim({
        client,
        owner: job,
        ownerType: JOBS,
        informer: pods,
        matches: (pod) => matches(job, pod),
        finalizers: [TRACKING],
      });
      const decision = decideJob({ job, pods: owned, now: clock.now() });
      // The status with the pods to be counted is written before their finalizers go: a crash between counts them once.
      if (!sameJson(decision.status, job.status)) {
        await client.updateStatus(JOBS, { ...job, status: decision.status });
      }
      for (const { type, reason, message } of decision.events) recorder.record(job, type, reason, message);
      for (const pod of decision.release) await letGo(pod);
      for (const pod of decision.discard) await letGo(pod);
      for (const pod of [...decision.remove, ...decision.discard]) await control.delete(job, pod);
      const { error } = await slowStart(decision.create.length, (index) =>
        control.create(job, job.spec?.template ?? {}, shapeOf(job, decision.create[index] as NewJobPod)),
      );
      if (error !== undefined && !isNamespaceTerminating(error)) throw error;
      return decision.again;
    },
  });

  function shapeOf(job: Job, { index, annotations }: NewJobPod): PodShape {
    if (index === undefined) return { finalizers: [TRACKING] };
    const name = job.metadata.name ?? '';
    return {
      name: `${name.slice(0, 57 - String(index).length)}-${index}-${nameSuffix(random)}`,
      finalizers: [TRACKING],
      annotations: { [INDEX_ANNOTATION]: String(index), ...annotations },
      labels: { [INDEX_ANNOTATION]: String(index) },
      spec: {
        hostname: `${name}-${index}`.slice(0, 63),
        ...indexEnvironment(job.spec?.template ?? {}),
      },
    };
  }
}

const ORPHANS = 'orphans-of:';
const orphanKey = (uid: string): string => `${ORPHANS}${uid}`;

/** A Job that is being deleted: pods that ended, or are being deleted too, need no counting any more. */
const endsWith = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp !== undefined || ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '');

/** JOB_COMPLETION_INDEX in every container, unless it sets that itself. */
function indexEnvironment(template: PodTemplateSpec): Partial<NonNullable<Pod['spec']>> {
  const variable = {
    name: 'JOB_COMPLETION_INDEX',
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: `metadata.labels['${INDEX_ANNOTATION}']` } },
  };
  const extend = <C extends { env?: { name: string }[] }>(containers: readonly C[]): C[] =>
    containers.map((container) =>
      container.env?.some(({ name }) => name === variable.name)
        ? container
        : { ...container, env: [...(container.env ?? []), variable] },
    );
  const { containers = [], initContainers } = template.spec ?? {};
  return {
    containers: extend(containers),
    ...(initContainers ? { initContainers: extend(initContainers) } : {}),
  };
}
