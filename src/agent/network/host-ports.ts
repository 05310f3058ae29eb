import type { Pod } from '../../api/types/core-v1.ts';
import type { HostPort } from '../ports.ts';
import { NetworkError } from './commands.ts';
import { isIPv4 } from './ipv4.ts';
import { ANY_HOST_IP } from './ruleset-text.ts';

/** The hostPorts of a pod that has its own network, sidecars (restartable init containers) included. Throws NetworkError. */
export function hostPortsOf(pod: Pod): HostPort[] {
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    (container) => container.restartPolicy === 'Always',
  );
  const ports: HostPort[] = [];
  for (const container of [...sidecars, ...(pod.spec?.containers ?? [])]) {
    for (const port of container.ports ?? []) {
      if (!port.hostPort) continue;
      const hostIP = port.hostIP ?? '';
      if (!ANY_HOST_IP.has(hostIP) && !isIPv4(hostIP)) {
        throw new NetworkError('Unsupported', `hostIP ${hostIP}: only IPv4 addresses are supported`);
      }
      ports.push({
        hostPort: port.hostPort,
        containerPort: port.containerPort,
        protocol: (port.protocol ?? 'TCP') as HostPort['protocol'],
        ...(ANY_HOST_IP.has(hostIP) ? {} : { hostIP }),
      });
    }
  }
  return ports;
}

/** Throws NetworkError `HostPortTaken` when another pod of this board has one of the ports. */
export function claimHostPorts(
  uid: string,
  ports: readonly HostPort[],
  attached: ReadonlyMap<string, { hostPorts: readonly HostPort[] }>,
): void {
  for (const port of ports) {
    for (const [owner, record] of attached) {
      if (owner === uid || !record.hostPorts.some((held) => collide(held, port))) continue;
      throw new NetworkError(
        'HostPortTaken',
        `host port ${port.hostPort}/${port.protocol} is taken by the pod with uid ${owner}`,
      );
    }
  }
}

function collide(a: HostPort, b: HostPort): boolean {
  if (a.hostPort !== b.hostPort || a.protocol !== b.protocol) return false;
  return a.hostIP === undefined || b.hostIP === undefined || a.hostIP === b.hostIP;
}
