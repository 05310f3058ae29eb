import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';

export type Interfaces = NodeJS.Dict<{ address: string; family: string; internal: boolean }[]>;

/** Interfaces that container engines and networks made, not the board's own. */
const MADE_INTERFACES = /^(lo|cpod|copepod|docker|br-|veth|virbr|vxlan|flannel|cni)/;

/** This machine's own IPv4 address: that of the default route's interface, else of the first that is its own. */
export async function nodeAddress(root = ''): Promise<string | undefined> {
  const routes = await readFile(`${root}/proc/net/route`, 'utf8').catch(() => '');
  return internalAddress(networkInterfaces(), defaultInterface(routes));
}

/** Every IPv4 address of this machine that others may know it by. */
export function ownAddresses(interfaces: Interfaces = networkInterfaces()): string[] {
  return Object.entries(interfaces)
    .filter(([name]) => !MADE_INTERFACES.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
}

/** The interface of the default route with the least metric in /proc/net/route. */
export function defaultInterface(routes: string): string | undefined {
  let best: { name: string; metric: number } | undefined;
  for (const line of routes.split('\n').slice(1)) {
    const [name, destination, , , , , metric, mask] = line.trim().split(/\s+/);
    if (name === undefined || destination !== '00000000' || mask !== '00000000') continue;
    if (!best || Number(metric) < best.metric) best = { name, metric: Number(metric) };
  }
  return best?.name;
}

/** The IPv4 address of `preferred`, else of the first interface that belongs to the board itself. */
export function internalAddress(interfaces: Interfaces, preferred: string | undefined): string | undefined {
  const usable = (name: string): string | undefined =>
    interfaces[name]?.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  const chosen = preferred === undefined ? undefined : usable(preferred);
  if (chosen !== undefined) return chosen;
  for (const name of Object.keys(interfaces)) {
    if (MADE_INTERFACES.test(name)) continue;
    const address = usable(name);
    if (address !== undefined) return address;
  }
  return undefined;
}
