import type { SharedService } from '../../wire/messages.ts';

/** `REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP_ADDR` and the like, for the Services that a pod of `namespace` is told of. */
export function serviceEnvironment(
  services: readonly SharedService[],
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const env = new Map<string, string>();
  for (const service of services) {
    const clusterIP = service.clusterIPs[0];
    if (!clusterIP || clusterIP === 'None') continue;
    // The API server's own Service is told to everyone.
    const master = service.namespace === 'default' && service.name === 'kubernetes';
    if (!master && !(enableServiceLinks && service.namespace === namespace)) continue;
    addService(env, service, clusterIP);
  }
  return env;
}

function addService(env: Map<string, string>, service: SharedService, clusterIP: string): void {
  const prefix = variable(service.name);
  const first = service.ports[0];
  env.set(`${prefix}_SERVICE_HOST`, clusterIP);
  if (first) env.set(`${prefix}_SERVICE_PORT`, String(first.port));
  for (const port of service.ports) {
    if (port.name) env.set(`${prefix}_SERVICE_PORT_${variable(port.name)}`, String(port.port));
  }
  const host = clusterIP.includes(':') ? `[${clusterIP}]` : clusterIP;
  // The variables of Docker's links, which programs of that time read.
  service.ports.forEach((port, index) => {
    const protocol = port.protocol.toLowerCase();
    const url = `${protocol}://${host}:${port.port}`;
    const portPrefix = `${prefix}_PORT_${port.port}_${port.protocol}`;
    if (index === 0) env.set(`${prefix}_PORT`, url);
    env.set(portPrefix, url);
    env.set(`${portPrefix}_PROTO`, protocol);
    env.set(`${portPrefix}_PORT`, String(port.port));
    env.set(`${portPrefix}_ADDR`, clusterIP);
  });
}

function variable(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}
