import type { Pod, Service, ServicePort } from '../../../api/types/core-v1.ts';
import { isEnded, isReady } from '../shared/pods.ts';

/** A service port on one pod: named target ports differ from pod to pod. */
export interface TargetPort {
  name: string;
  port: number;
  protocol: 'SCTP' | 'TCP' | 'UDP';
  appProtocol?: string;
}

/** A pod behind a Service, before it is written as an EndpointSlice's or an Endpoints' entry. */
export interface Target {
  pod: Pod;
  ports: TargetPort[];
  serving: boolean;
  terminating: boolean;
  /** Set for `<hostname>.<service>` names. */
  hostname: string | undefined;
}

export const isHeadless = (service: Service): boolean => service.spec?.clusterIP === 'None';

/** Services whose endpoints are made from pods; others' are made by hand, or there are none. */
export function selectsPods({ spec }: Service): boolean {
  return spec?.type !== 'ExternalName' && Object.keys(spec?.selector ?? {}).length > 0;
}

/** Pods that have an address and did not end, in a stable order. */
export function targetsOf(service: Service, pods: readonly Pod[]): Target[] {
  return pods
    .filter((pod) => !isEnded(pod) && Boolean(pod.status?.podIP))
    .sort((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1))
    .map((pod) => ({
      pod,
      ports: (service.spec?.ports ?? []).flatMap((port) => targetPort(port, pod) ?? []),
      serving: isReady(pod),
      terminating: pod.metadata.deletionTimestamp !== undefined,
      hostname:
        pod.spec?.hostname && pod.spec.subdomain === service.metadata.name ? pod.spec.hostname : undefined,
    }));
}

/** Undefined when the pod has no port of the wanted name. */
function targetPort(servicePort: ServicePort, pod: Pod): TargetPort | undefined {
  const { name = '', protocol = 'TCP', appProtocol, targetPort: wanted } = servicePort;
  const port =
    typeof wanted === 'string' && !/^\d+$/.test(wanted)
      ? namedPort(pod, wanted, protocol)
      : Number(wanted || servicePort.port);
  if (port === undefined) return undefined;
  return { name, port, protocol, ...(appProtocol === undefined ? {} : { appProtocol }) };
}

function namedPort(pod: Pod, name: string, protocol: string): number | undefined {
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const port of container.ports ?? []) {
      if (port.name === name && (port.protocol ?? 'TCP') === protocol) return port.containerPort;
    }
  }
  return undefined;
}
