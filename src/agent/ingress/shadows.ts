import type { Pod } from '../../api/types/core-v1.ts';
import type { SharedService } from '../../wire/messages.ts';

/**
 * Who gets what comes to this port of the board instead of the ingress. The board's nftables rules look at a packet before
 * any program does: what a user asked for by name comes first.
 */
export function shadowOf(
  port: number,
  services: readonly SharedService[],
  pods: readonly Pod[],
): string | undefined {
  const service = services.find(
    ({ type, externalIPs = [], ports }) =>
      type === 'LoadBalancer' &&
      externalIPs.length > 0 &&
      ports.some((candidate) => candidate.port === port && candidate.protocol === 'TCP'),
  );
  if (service) return `Service ${service.namespace}/${service.name} of type LoadBalancer`;
  const pod = pods.find(({ spec }) =>
    [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].some(({ ports = [] }) =>
      ports.some(({ hostPort, protocol = 'TCP' }) => hostPort === port && protocol === 'TCP'),
    ),
  );
  return pod && `the hostPort of Pod ${pod.metadata.namespace}/${pod.metadata.name}`;
}
