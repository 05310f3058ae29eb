import type { ConfigMap } from '../../api/types/core-v1.ts';
import type { ClusterInfo } from '../../wire/messages.ts';

/** Where Kubernetes' own documentation has users put them. */
export const DNS_CONFIG = 'kube-system/kube-dns';

/** `stubDomains` and `upstreamNameservers`, each JSON text as kube-dns takes it. What cannot be read is reported and left out. */
export function dnsRules(
  config: ConfigMap | undefined,
  report: (problem: string) => void,
): Pick<ClusterInfo, 'stubDomains' | 'upstreamNameservers'> {
  const read = <T>(key: string, isRight: (value: unknown) => value is T): T | undefined => {
    const text = config?.data?.[key];
    if (text === undefined || text.trim() === '') return undefined;
    try {
      const value: unknown = JSON.parse(text);
      if (isRight(value)) return value;
    } catch {
      // Reported below.
    }
    report(`${key} is not of the form that kube-dns takes`);
    return undefined;
  };
  const stubDomains = read('stubDomains', isStubDomains);
  const upstreamNameservers = read('upstreamNameservers', isServers);
  return {
    ...(stubDomains === undefined ? {} : { stubDomains }),
    ...(upstreamNameservers === undefined ? {} : { upstreamNameservers }),
  };
}

const isServers = (value: unknown): value is string[] =>
  Array.isArray(value) &&
  value.length <= 16 &&
  value.every((server) => typeof server === 'string' && /^[0-9A-Fa-f.:[\]]{2,64}$/.test(server));

const isStubDomains = (value: unknown): value is Record<string, string[]> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.keys(value).length <= 100 &&
  Object.values(value).every(isServers);
