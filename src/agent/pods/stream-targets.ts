import { containersOf, identity } from '../names.ts';
import { StreamRefusal, type StreamTargets } from '../streams/target.ts';
import type { PodManager } from './manager.ts';

/** What exec, logs and port-forward reach, in the words that the kubelet refuses with. */
export function streamTargets(
  manager: Pick<PodManager, 'pod' | 'instances' | 'sandboxPid'>,
  /** The uid that a pod runs under here, of a uid that the server knows it by. */
  localUid: (uid: string) => string = (uid) => uid,
): StreamTargets {
  return {
    container(podUid, name, which) {
      const { pod, status, instances } = lookUp(manager, localUid(podUid), name);
      if (which === 'previous') {
        // As the kubelet: the run that lastState tells of. While a container waits for its restart that is the newest.
        const last = status?.lastState?.terminated?.containerID?.replace(/^docker:\/\//, '');
        const previous = instances.find(({ id }) => id === last);
        if (previous) return previous.id;
        throw new StreamRefusal(
          'BadRequest',
          `previous terminated container "${name}" in pod "${pod}" not found`,
        );
      }
      const newest = instances.find(({ state }) => state !== 'created');
      if (which === 'newest' && newest) return newest.id;
      if (which === 'running' && newest?.state === 'running') return newest.id;
      const waiting = status?.state?.waiting?.reason;
      if (which === 'newest') {
        throw new StreamRefusal(
          'BadRequest',
          `container "${name}" in pod "${pod}" is waiting to start: ${waiting ?? 'ContainerCreating'}`,
        );
      }
      throw new StreamRefusal(
        'InternalError',
        `unable to upgrade connection: container not found ("${name}")`,
      );
    },
    network(podUid) {
      const uid = localUid(podUid);
      const found = manager.pod(uid);
      const pid = manager.sandboxPid(uid);
      if (!found || pid === undefined) {
        throw new StreamRefusal('NotFound', `pod ${podUid} is not running on this node`);
      }
      return { pid, ip: found.status?.podIP };
    },
  };
}

function lookUp(manager: Pick<PodManager, 'pod' | 'instances'>, podUid: string, name: string) {
  const found = manager.pod(podUid);
  if (!found) throw new StreamRefusal('NotFound', `pod ${podUid} is not on this node`);
  const { pod, status } = found;
  if (!containersOf(pod).some(({ container }) => container.name === name)) {
    throw new StreamRefusal('BadRequest', `container ${name} is not valid for pod ${identity(pod).name}`);
  }
  const statuses = [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ];
  return {
    pod: identity(pod).name,
    status: statuses.find((each) => each.name === name),
    instances: manager.instances(podUid, name),
  };
}
