import type { Event, Pod, PodCondition } from '../../src/api/types/core-v1.ts';
import type { Cluster } from './cluster.ts';
import { listOf } from './manifests.ts';

export const conditionOf = ({ status }: Pod, wanted: string): PodCondition | undefined =>
  status?.conditions?.find(({ type }) => type === wanted);

export const isReady = (pod: Pod): boolean => conditionOf(pod, 'Ready')?.status === 'True';

/** The ordinary questions of a test about the pods of the default namespace, by kubectl. */
export function lookAt(cluster: Cluster) {
  const { kubectl } = cluster;
  /** All at once, by one kubectl. */
  const apply = (...objects: object[]): Promise<string> =>
    kubectl.apply(objects.length === 1 && objects[0] ? objects[0] : listOf(objects));
  const list = async <T>(...args: string[]): Promise<T[]> =>
    (await kubectl.get<{ items: T[] }>(...args)).items;
  const getPod = (name: string): Promise<Pod> => kubectl.get<Pod>('pod', name);
  const podsOf = (selector: string): Promise<Pod[]> => list<Pod>('pods', '-l', selector);
  /** Resolves to the pod as soon as `test` is true of it. `what` says what was awaited. */
  const until = (what: string, name: string, test: (pod: Pod) => unknown, timeoutMs?: number): Promise<Pod> =>
    cluster.eventually(
      `${name}: ${what}`,
      async () => {
        const found = await getPod(name);
        return test(found) ? found : undefined;
      },
      timeoutMs,
    );
  const podReady = (name: string): Promise<Pod> => until('to be Ready', name, isReady);
  const podReaches = (name: string, ...phases: string[]): Promise<Pod> =>
    until(
      `to be ${phases.join(' or ')}`,
      name,
      ({ status }) => phases.includes(status?.phase ?? ''),
      150_000,
    );
  /** `Reason: message` of every event about an object of that name. */
  const eventsOf = async (name: string): Promise<string[]> => {
    const events = await list<Event>('events', `--field-selector=involvedObject.name=${name}`);
    return events.map(({ reason, message }) => `${reason}: ${message}`);
  };
  return { kubectl, apply, list, getPod, podsOf, until, podReady, podReaches, eventsOf };
}
