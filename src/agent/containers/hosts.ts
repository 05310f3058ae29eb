import type { Pod } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';
import { ContainerConfigError } from './config-error.ts';

const LONGEST_HOSTNAME = 63;
/** What the kernel takes as the name of a host. */
const LONGEST_FQDN = 64;

/** The pod's host name and, with a subdomain, its name in the cluster's DNS. */
export function podHostname(pod: Pod, clusterDomain: string): { hostname: string; fqdn?: string } {
  const { name, namespace } = identity(pod);
  if (pod.spec?.hostnameOverride) return { hostname: pod.spec.hostnameOverride };
  const short = (pod.spec?.hostname ?? name).slice(0, LONGEST_HOSTNAME).replace(/[-.]+$/, '');
  if (!pod.spec?.subdomain) return { hostname: short };
  const fqdn = `${short}.${pod.spec.subdomain}.${namespace}.svc.${clusterDomain}`;
  if (pod.spec.setHostnameAsFQDN && fqdn.length > LONGEST_FQDN) {
    throw new ContainerConfigError(
      `Failed to construct FQDN from Pod hostname and cluster domain, FQDN ${fqdn} is too long (${LONGEST_FQDN} characters is the max, ${fqdn.length} characters requested)`,
    );
  }
  return { hostname: pod.spec.setHostnameAsFQDN ? fqdn : short, fqdn };
}

/** /etc/hosts of a pod with its own network. */
export function podHosts(pod: Pod, ips: readonly string[], clusterDomain: string): string {
  const { hostname, fqdn } = podHostname(pod, clusterDomain);
  return [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...ips.map((ip) => (fqdn && fqdn !== hostname ? `${ip}\t${fqdn}\t${hostname}` : `${ip}\t${hostname}`)),
    ...aliases(pod),
    '',
  ].join('\n');
}

/** /etc/hosts of a pod on the host's network: the host's own, with the pod's aliases. */
export function hostNetworkHosts(pod: Pod, nodeHosts: string): string {
  return ['# Kubernetes-managed hosts file (host network).', nodeHosts.trimEnd(), ...aliases(pod), ''].join(
    '\n',
  );
}

function aliases(pod: Pod): string[] {
  const entries = pod.spec?.hostAliases ?? [];
  if (entries.length === 0) return [];
  return [
    '',
    '# Entries added by HostAliases.',
    ...entries.map(({ ip, hostnames = [] }) => [ip, ...hostnames].join('\t')),
  ];
}
