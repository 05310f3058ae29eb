import { badRequest } from '../../../api/errors.ts';
import type { Pod } from '../../../api/types/core-v1.ts';

/** The node that a pod's streams come from. Throws as the API server does while there is none. */
export function nodeOfPod(pod: Pod): string {
  const node = pod.spec?.nodeName;
  if (!node) throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
  return node;
}

/** The container that is meant: the one named, or the only one. Messages as the API server words them. */
export function containerOfPod(pod: Pod, wanted: string): string {
  const containers = (pod.spec?.containers ?? []).map(({ name }) => name);
  const initContainers = (pod.spec?.initContainers ?? []).map(({ name }) => name);
  const ephemeral = (pod.spec?.ephemeralContainers ?? []).map(({ name }) => name);
  const podName = pod.metadata.name ?? '';
  if (wanted !== '') {
    if ([...containers, ...initContainers, ...ephemeral].includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${podName}`);
  }
  const [only, ...others] = containers;
  if (only !== undefined && others.length === 0) return only;
  const init =
    initContainers.length > 0 ? ` or one of the init containers: [${initContainers.join(' ')}]` : '';
  throw badRequest(
    `a container name must be specified for pod ${podName}, choose one of: [${containers.join(' ')}]${init}`,
  );
}
