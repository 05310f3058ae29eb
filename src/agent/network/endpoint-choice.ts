import type { SharedEndpoint } from '../../wire/messages.ts';
import { isIPv4 } from './ipv4.ts';

/** Where an endpoint is chosen from. */
export interface Vantage {
  nodeName: string;
  /** Of this board: label topology.kubernetes.io/zone. */
  zone?: string;
}

export interface EndpointChoice {
  /** For the policy Cluster. */
  cluster: SharedEndpoint[];
  /** For the policy Local: of this board. */
  local: SharedEndpoint[];
  /** Is there one anywhere? Then clients of a board without one wait (`drop`) instead of being refused. */
  any: boolean;
}

/**
 * Which endpoints of one port a board uses, in a stable order: the ready ones, in their absence those that terminate but
 * still serve (KEP-1669, for each policy by itself); of them the ones meant for this node or zone, provided that every
 * ready endpoint has such hints and this board is among them (kube-proxy's topology.go).
 */
export function chooseEndpoints(endpoints: readonly SharedEndpoint[], vantage: Vantage): EndpointChoice {
  const usable = distinct(endpoints);
  const ready = usable.filter(({ leaving }) => !leaving);
  const leaving = usable.filter((endpoint) => endpoint.leaving);
  const here = ({ node }: SharedEndpoint): boolean => node === vantage.nodeName;
  const localReady = ready.filter(here);
  return {
    cluster: ready.length > 0 ? nearest(ready, vantage) : leaving,
    local: localReady.length > 0 ? localReady : leaving.filter(here),
    any: usable.length > 0,
  };
}

function nearest(ready: SharedEndpoint[], { nodeName, zone }: Vantage): SharedEndpoint[] {
  if (ready.every(({ nodes }) => nodes !== undefined)) {
    const meant = ready.filter(({ nodes }) => nodes?.includes(nodeName));
    if (meant.length > 0) return meant;
  }
  if (zone !== undefined && ready.every(({ zones }) => zones !== undefined)) {
    const meant = ready.filter(({ zones }) => zones?.includes(zone));
    if (meant.length > 0) return meant;
  }
  return ready;
}

function distinct(endpoints: readonly SharedEndpoint[]): SharedEndpoint[] {
  const byKey = new Map<string, SharedEndpoint>();
  for (const endpoint of endpoints) {
    const key = `${endpoint.ip}:${endpoint.port}`;
    // One pod of two slices, of which one is late: ready anywhere is ready.
    if (isIPv4(endpoint.ip) && (!byKey.has(key) || !endpoint.leaving)) byKey.set(key, endpoint);
  }
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, endpoint]) => endpoint);
}
