import type { Clock } from '../../lib/clock.ts';
import type { SharedService } from '../../wire/messages.ts';
import type { ExternalNames } from './external-names.ts';
import type { Route } from './routes.ts';

export interface Endpoint {
  /** An address, or the name of an ExternalName Service. */
  host: string;
  port: number;
}

/** How long an endpoint that did not take a connection is asked only when there is no other. */
const SUSPECT_MS = 2_000;

/** Knows the endpoints of the Services and chooses among them: the one with the fewest requests under way, in turns. */
export class Backends {
  private readonly clock: Clock;
  private readonly externalNames: ExternalNames;
  private services = new Map<string, SharedService>();
  private readonly underWay = new Map<string, number>();
  private readonly suspects = new Map<string, number>();
  private turn = 0;

  constructor(clock: Clock, externalNames: ExternalNames) {
    this.clock = clock;
    this.externalNames = externalNames;
  }

  update(services: readonly SharedService[]): void {
    this.services = new Map(services.map((service) => [`${service.namespace}/${service.name}`, service]));
  }

  /** All that could be asked now; none for a Service or port that does not exist, or has nobody ready. */
  endpoints(route: Pick<Route, 'namespace' | 'service' | 'port'>): Endpoint[] {
    const { namespace, service: name, port } = route;
    const service = this.services.get(`${namespace}/${name}`);
    if (!service || name === undefined) return [];
    if (service.externalName !== undefined) {
      const { externalName: host } = service;
      return typeof port === 'number' && this.externalNames.mayBeAsked(host) ? [{ host, port }] : [];
    }
    const found = service.ports.find(
      (candidate) => candidate.protocol === 'TCP' && (candidate.port === port || candidate.name === port),
    );
    return (found?.endpoints ?? []).map((endpoint) => ({ host: endpoint.ip, port: endpoint.port }));
  }

  /** Undefined when all have been tried. */
  choose(endpoints: readonly Endpoint[], tried: ReadonlySet<string>): Endpoint | undefined {
    const now = this.clock.monotonic();
    this.turn += 1;
    let best: Endpoint | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (let index = 0; index < endpoints.length; index += 1) {
      const endpoint = endpoints[(index + this.turn) % endpoints.length] as Endpoint;
      const key = endpointKey(endpoint);
      if (tried.has(key)) continue;
      const until = this.suspects.get(key);
      if (until !== undefined && until <= now) this.suspects.delete(key);
      // A suspect comes after every other, however busy.
      const load = (this.underWay.get(key) ?? 0) + (until !== undefined && until > now ? 1e9 : 0);
      if (load >= bestLoad) continue;
      best = endpoint;
      bestLoad = load;
    }
    return best;
  }

  suspect(endpoint: Endpoint): void {
    this.suspects.set(endpointKey(endpoint), this.clock.monotonic() + SUSPECT_MS);
  }

  /** Counts a request to the endpoint until the returned function is called. */
  begin(endpoint: Endpoint): () => void {
    const key = endpointKey(endpoint);
    this.underWay.set(key, (this.underWay.get(key) ?? 0) + 1);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const left = (this.underWay.get(key) ?? 1) - 1;
      if (left > 0) this.underWay.set(key, left);
      else this.underWay.delete(key);
    };
  }

  /** Is the address one of some Service's endpoints? */
  has(host: string, port: number): boolean {
    for (const service of this.services.values()) {
      for (const { endpoints } of service.ports) {
        if (endpoints.some((endpoint) => endpoint.ip === host && endpoint.port === port)) return true;
      }
    }
    return false;
  }
}

export function endpointKey({ host, port }: Endpoint): string {
  return `${host}|${port}`;
}
