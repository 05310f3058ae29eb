import type { Pod } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';

export interface ResolverConfig {
  nameservers: string[];
  searches: string[];
  options: string[];
}

/** What glibc takes; the kubelet cuts lists to the same. */
const MOST_NAMESERVERS = 3;
const MOST_SEARCHES = 32;

/** Reads resolv.conf. Later `search` lines replace earlier ones, as in the resolver. */
export function parseResolvConf(text: string): ResolverConfig {
  const config: ResolverConfig = { nameservers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [key, ...values] = line.trim().split(/\s+/);
    if (key === 'nameserver' && values[0]) config.nameservers.push(values[0]);
    else if (key === 'search' || key === 'domain') config.searches = values.filter((value) => value !== '.');
    else if (key === 'options') config.options.push(...values);
  }
  return config;
}

/** Are all name servers on this machine's loopback? In a network of its own a pod would ask itself. */
export function asksLoopback({ nameservers }: ResolverConfig): boolean {
  return nameservers.length > 0 && nameservers.every((address) => /^(127\.|::1$)/.test(address));
}

export interface ClusterDns {
  address: string;
  domain: string;
}

/**
 * The pod's resolv.conf by dnsPolicy and dnsConfig. Without a cluster DNS, ClusterFirst falls back to the node's
 * resolver, as the kubelet does; `fellBack` tells so, for an event.
 */
export function resolverConfig(
  pod: Pod,
  node: ResolverConfig,
  cluster: ClusterDns | undefined,
): { config: ResolverConfig; fellBack: boolean } {
  const { namespace } = identity(pod);
  const policy = pod.spec?.dnsPolicy ?? 'ClusterFirst';
  const wantsCluster =
    policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !pod.spec?.hostNetwork);
  let config: ResolverConfig;
  if (policy === 'None') config = { nameservers: [], searches: [], options: [] };
  else if (wantsCluster && cluster) {
    config = {
      nameservers: [cluster.address],
      searches: unique([
        `${namespace}.svc.${cluster.domain}`,
        `svc.${cluster.domain}`,
        cluster.domain,
        ...node.searches,
      ]),
      options: ['ndots:5'],
    };
  } else {
    config = { nameservers: [...node.nameservers], searches: [...node.searches], options: [...node.options] };
  }
  const own = pod.spec?.dnsConfig;
  if (own) {
    const options = (own.options ?? []).map(({ name, value }) => (value ? `${name}:${value}` : (name ?? '')));
    const names = new Set(options.map(optionName));
    config = {
      nameservers: unique([...config.nameservers, ...(own.nameservers ?? [])]),
      searches: unique([...config.searches, ...(own.searches ?? [])]),
      options: [...config.options.filter((option) => !names.has(optionName(option))), ...options],
    };
  }
  config.nameservers = config.nameservers.slice(0, MOST_NAMESERVERS);
  config.searches = config.searches.slice(0, MOST_SEARCHES);
  return { config, fellBack: wantsCluster && !cluster };
}

export function formatResolvConf({ nameservers, searches, options }: ResolverConfig): string {
  return [
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...nameservers.map((nameserver) => `nameserver ${nameserver}`),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n');
}

function optionName(option: string): string {
  return option.split(':')[0] ?? option;
}

function unique(values: string[]): string[] {
  return [...new Set(values)];
}
