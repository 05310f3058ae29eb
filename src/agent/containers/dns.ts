import type { Pod } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';

export interface ResolverConfig {
  nameservers: string[];
  searches: string[];
  options: string[];
}

/** What glibc takes; the kubelet cuts lists to the same. Some resolvers abort at a longer search path. */
const MOST_NAMESERVERS = 3;
const MOST_SEARCHES = 32;
const LONGEST_SEARCH = 253;
const LONGEST_SEARCH_LINE = 2048;

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

/** What the pod does not get as it was asked for: an event of the kubelet. */
export interface DnsNotice {
  reason: 'MissingClusterDNS' | 'DNSConfigForming';
  message: string;
}

/**
 * The pod's resolv.conf by dnsPolicy and dnsConfig. Without a cluster DNS, ClusterFirst falls back to the node's
 * resolver, and lists that are too long are cut, as the kubelet does it.
 */
export function resolverConfig(
  pod: Pod,
  node: ResolverConfig,
  cluster: ClusterDns | undefined,
): { config: ResolverConfig; notices: DnsNotice[] } {
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
  const { nameservers, searches } = config;
  config.nameservers = nameservers.slice(0, MOST_NAMESERVERS);
  config.searches = fittingSearches(searches);
  const notices: DnsNotice[] = [];
  if (wantsCluster && !cluster) {
    const message = 'the cluster has no DNS yet: Falling back to "Default" policy.';
    notices.push({ reason: 'MissingClusterDNS', message });
  }
  const cut = (what: string): void => void notices.push({ reason: 'DNSConfigForming', message: what });
  if (config.nameservers.length < nameservers.length) {
    cut(
      `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${config.nameservers.join(' ')}`,
    );
  }
  if (config.searches.length < searches.length) {
    cut(
      `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${config.searches.join(' ')}`,
    );
  }
  return { config, notices };
}

function fittingSearches(searches: readonly string[]): string[] {
  const fitting = searches.slice(0, MOST_SEARCHES).filter((search) => search.length <= LONGEST_SEARCH);
  while (fitting.join(' ').length > LONGEST_SEARCH_LINE) fitting.pop();
  return fitting;
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
