import { isIP } from 'node:net';
import { badRequest, StatusError } from '../../../../api/errors.ts';
import { ENDPOINTS, NODES, PODS, SERVICES } from '../../../../api/kinds.ts';
import type { EndpointAddress, Pod } from '../../../../api/types/core-v1.ts';
import type { Client } from '../../../../client/port.ts';
import type { Random } from '../../../../lib/random.ts';
import type { StreamKind } from '../../../../wire/messages.ts';
import { nodeOfPod } from '../pod-target.ts';

/** Where a proxied request goes. */
export interface Location {
  scheme: 'http' | 'https';
  /** As it would be dialled: `10.42.0.7:8080`. */
  host: string;
  /** The node whose agent dials it, and what it is asked for. */
  node: string;
  stream: StreamKind;
}

export interface ProxyName {
  scheme: string;
  name: string;
  /** A number, a name, or empty. */
  port: string;
}

const KUBELET_PORT = 10250;

/** `name`, `name:port` or `scheme:name:port` with http or https; undefined for anything else. */
export function splitName(id: string): ProxyName | undefined {
  const parts = id.split(':');
  const [scheme, name, port] =
    parts.length === 1
      ? ['', parts[0], '']
      : parts.length === 2
        ? ['', parts[0], parts[1]]
        : parts.length === 3
          ? parts
          : [];
  if (!name || !['', 'http', 'https'].includes(scheme ?? '')) return undefined;
  return { scheme: scheme ?? '', name, port: port ?? '' };
}

/**
 * Finds what pods/<id>/proxy, services/<id>/proxy and nodes/<id>/proxy mean, in the words with which the API server
 * refuses (ResourceLocation of pods, services and nodes).
 */
export async function locate(
  { client, random }: { client: Client; random: Random },
  resource: 'pods' | 'services' | 'nodes',
  namespace: string,
  id: string,
): Promise<Location> {
  const wanted = splitName(id);
  if (!wanted) throw badRequest(`invalid ${resource.slice(0, -1)} request ${JSON.stringify(id)}`);
  switch (resource) {
    case 'pods':
      return podLocation(await client.get(PODS, namespace, wanted.name), wanted);
    case 'services':
      return serviceLocation({ client, random }, namespace, id, wanted);
    case 'nodes':
      return nodeLocation(client, wanted);
  }
}

/** Throws 400 for a pod without an address, or with one that nobody outside of its board may reach. */
export function podLocation(pod: Pod, { scheme, port }: ProxyName): Location {
  const declared = pod.spec?.containers.flatMap(({ ports }) => ports ?? []).at(0)?.containerPort;
  const ip = pod.status?.podIPs?.[0]?.ip ?? pod.status?.podIP ?? '';
  if (!isProxyable(ip)) throw badRequest('address not allowed');
  const wanted = port === '' ? String(declared ?? '') : port;
  return toPod(pod, ip, schemeOf(scheme), portNumber(wanted, schemeOf(scheme)));
}

async function serviceLocation(
  { client, random }: { client: Client; random: Random },
  namespace: string,
  id: string,
  { scheme, name, port }: ProxyName,
): Promise<Location> {
  let portName = port;
  if (/^[+-]?\d+$/.test(port)) {
    const service = await client.get(SERVICES, namespace, name);
    const found = service.spec?.ports?.find((each) => each.port === Number(port));
    if (!found)
      throw unavailable(`no service port ${Number(port)} found for service ${JSON.stringify(name)}`);
    portName = found.name ?? '';
  }
  const { subsets = [] } = await client.get(ENDPOINTS, namespace, name);
  if (subsets.length === 0) throw unavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  for (const { addresses = [], ports = [] } of rotated(subsets, random)) {
    const found = ports.find((each) => (each.name ?? '') === portName);
    if (!found) continue;
    for (const address of rotated(addresses, random)) {
      const pod = await podOf(client, namespace, address);
      if (pod) return toPod(pod, address.ip, schemeOf(scheme), found.port);
    }
  }
  throw unavailable(`no endpoints available for service ${JSON.stringify(id)}`);
}

/** Only pods are reached: Endpoints that a user wrote could name any address. */
async function podOf(
  client: Client,
  namespace: string,
  { targetRef, ip }: EndpointAddress,
): Promise<Pod | undefined> {
  if (!targetRef?.name || targetRef.namespace !== namespace) return undefined;
  const pod = await client.get(PODS, namespace, targetRef.name).catch(() => undefined);
  return pod?.spec?.nodeName && pod.status?.podIPs?.some((own) => own.ip === ip) ? pod : undefined;
}

/** Without a port, or with the kubelet's: what the agent itself tells. Else a port of the board. */
async function nodeLocation(client: Client, { scheme, name, port }: ProxyName): Promise<Location> {
  const node = await client.get(NODES, undefined, name);
  const kubelet = node.status?.daemonEndpoints?.kubeletEndpoint?.Port || KUBELET_PORT;
  if (port === '' || port === String(kubelet)) {
    return { scheme: 'http', host: `${name}:${kubelet}`, node: name, stream: { type: 'node' } };
  }
  const address = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '';
  if (!isProxyable(address)) throw badRequest('address not allowed');
  const number = portNumber(port, schemeOf(scheme));
  return {
    scheme: schemeOf(scheme),
    host: hostPort(address, number),
    node: name,
    stream: { type: 'node', dial: { address, port: number } },
  };
}

function toPod(pod: Pod, ip: string, scheme: Location['scheme'], port: number): Location {
  return {
    scheme,
    host: hostPort(ip, port),
    node: nodeOfPod(pod),
    stream: { type: 'portforward', podUid: pod.metadata.uid ?? '', port, direct: true },
  };
}

const schemeOf = (scheme: string): Location['scheme'] => (scheme === 'https' ? 'https' : 'http');
const hostPort = (ip: string, port: number): string => (isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`);
const unavailable = (message: string): StatusError => new StatusError('ServiceUnavailable', 503, message);

/** A name is one of /etc/services, as in a URL: only the two of HTTP are known here. */
function portNumber(text: string, scheme: Location['scheme']): number {
  const known: Record<string, number> = { http: 80, https: 443, '': scheme === 'https' ? 443 : 80 };
  const port = known[text] ?? (/^\d{1,5}$/.test(text) ? Number(text) : Number.NaN);
  if (port >= 1 && port <= 65535) return port;
  const why = /^\d+$/.test(text) ? `address ${text}: invalid port` : `lookup tcp/${text}: unknown port`;
  throw unavailable(`error trying to reach service: dial tcp: ${why}`);
}

/** A global unicast address (net.IP.IsGlobalUnicast): neither loopback nor link-local, multicast or nothing. */
function isProxyable(ip: string): boolean {
  if (isIP(ip) === 4) {
    const [first = 0, second] = ip.split('.').map(Number);
    return ip !== '0.0.0.0' && first !== 127 && first < 224 && !(first === 169 && second === 254);
  }
  return isIP(ip) === 6 && ip !== '::' && ip !== '::1' && !/^(?:ff|fe[89ab])/i.test(ip);
}

function rotated<T>(list: readonly T[], random: Random): T[] {
  const start = Math.floor(random.number() * list.length);
  return [...list.slice(start), ...list.slice(0, start)];
}
