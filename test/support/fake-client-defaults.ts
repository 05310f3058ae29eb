import type { KubeObject } from '../../src/api/object.ts';

// biome-ignore lint/suspicious/noExplicitAny: the fake works on every kind without its schema
export type Loose = KubeObject & Record<string, any>;

/** What the real registry sets on creation and the parts under test rely on. */
export const BEFORE_CREATE: Readonly<Record<string, (object: Loose) => void>> = {
  pods: (pod) => {
    pod.status = { phase: 'Pending', ...pod.status };
    if (pod.spec?.schedulingGates?.length > 0) {
      const gated = { type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' };
      pod.status.conditions = [
        { ...gated, message: 'Scheduling is blocked due to non-empty scheduling gates' },
      ];
    }
  },
  namespaces: (namespace) => {
    namespace.spec = { finalizers: ['kubernetes'], ...namespace.spec };
    namespace.status = { phase: 'Active' };
  },
  /** The Job's own selector and labels, unless it brings its own (manualSelector). */
  'jobs.batch': (job) => {
    if (job.spec.manualSelector) return;
    const own = { 'batch.kubernetes.io/controller-uid': job.metadata.uid };
    job.spec.selector = { matchLabels: own };
    const metadata = job.spec.template.metadata ?? {};
    job.spec.template.metadata = {
      ...metadata,
      labels: {
        ...metadata.labels,
        ...own,
        'controller-uid': job.metadata.uid,
        'batch.kubernetes.io/job-name': job.metadata.name,
        'job-name': job.metadata.name,
      },
    };
  },
};
