// ClusterIPs and node ports: given out in memory, rebuilt from the stored services at start. Taking and giving back are
// synchronous, so that two writers never hold the same one.
import { type FieldError, invalid } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { invalidValue, listAt, numberAt, objectAt, stringAt, stringsAt } from '../../api/validation.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import type { Store } from '../store/port.ts';
import type { Allocator } from './pipeline.ts';

const FIRST_NODE_PORT = 30_000;
const LAST_NODE_PORT = 32_767;
const SERVICE = { group: '', kind: 'Service' };

/** An IPv4 network as numbers: the first address, and how many there are. */
export interface Network {
  first: number;
  size: number;
}

export function parseNetwork(cidr: string): Network {
  const match = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(cidr);
  const bits = Number(match?.[2]);
  const address = match ? addressNumber(match[1] as string) : undefined;
  if (address === undefined || !(bits >= 8 && bits <= 30)) {
    throw new Error(`service CIDR ${cidr}: an IPv4 network between /8 and /30 is needed`);
  }
  const size = 2 ** (32 - bits);
  return { first: Math.floor(address / size) * size, size };
}

/** The address of the Service `kubernetes`. */
export function firstServiceAddress(serviceCidr: string): string {
  return addressText(parseNetwork(serviceCidr).first + 1);
}

export function addressNumber(text: string): number | undefined {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !(part >= 0 && part <= 255))) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export function addressText(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** A set of numbers in a range of which any free one may be taken. */
class Pool {
  private readonly taken = new Set<number>();
  private readonly first: number;
  private readonly last: number;
  private readonly random: Random;

  constructor(first: number, last: number, random: Random) {
    this.first = first;
    this.last = last;
    this.random = random;
  }

  contains(value: number): boolean {
    return value >= this.first && value <= this.last;
  }

  take(value: number): boolean {
    if (this.taken.has(value)) return false;
    this.taken.add(value);
    return true;
  }

  /** A random free one from `from` up, then from the whole range; undefined when all are taken. */
  takeAny(from: number): number | undefined {
    const start = from + Math.floor(this.random.number() * (this.last - from + 1));
    const span = this.last - this.first + 1;
    for (let step = 0; step < span; step += 1) {
      const value = this.first + ((start - this.first + step) % span);
      if (this.take(value)) return value;
    }
    return undefined;
  }

  free(value: number): void {
    this.taken.delete(value);
  }
}

interface Holding {
  addresses: number[];
  ports: number[];
}

export class ServiceAllocator implements Allocator {
  private readonly store: Store;
  private readonly logger: Logger;
  private readonly network: Network;
  private readonly addresses: Pool;
  private readonly ports: Pool;

  constructor(options: { store: Store; random: Random; logger: Logger; serviceCidr: string }) {
    this.store = options.store;
    this.logger = options.logger;
    this.network = parseNetwork(options.serviceCidr);
    const { first, size } = this.network;
    // Neither the network's own address nor the last one.
    this.addresses = new Pool(first + 1, first + size - 2, options.random);
    this.ports = new Pool(FIRST_NODE_PORT, LAST_NODE_PORT, options.random);
  }

  /** The address of the Service `kubernetes`. */
  get firstAddress(): string {
    return addressText(this.network.first + 1);
  }

  rebuild(): void {
    for (const { object } of this.store.list('services')) {
      const { addresses, ports } = this.holding(object as unknown as JsonObject);
      for (const address of addresses) {
        if (this.addresses.take(address)) continue;
        this.logger.error(
          { service: object.metadata.name, address: addressText(address) },
          'two services hold one address',
        );
      }
      for (const port of ports) this.ports.take(port);
    }
  }

  release(object: JsonObject): void {
    const { addresses, ports } = this.holding(object);
    for (const address of addresses) this.addresses.free(address);
    for (const port of ports) this.ports.free(port);
  }

  /** Sets clusterIP(s), IP families and node ports. Throws 422 for what cannot be had. */
  allocate(object: JsonObject, old: JsonObject | undefined, dryRun: boolean): { undo(): void; done(): void } {
    const taken: Holding = { addresses: [], ports: [] };
    const undo = (): void => {
      for (const address of taken.addresses) this.addresses.free(address);
      for (const port of taken.ports) this.ports.free(port);
    };
    const before = old ? this.holding(old) : { addresses: [], ports: [] };
    try {
      const errors = [
        ...this.allocateAddress(object, before, taken),
        ...this.allocatePorts(object, old, before, taken),
        ...this.allocateHealthCheckPort(object, old, before, taken),
      ];
      if (errors.length > 0) {
        throw invalid(SERVICE, stringAt(objectAt(object, 'metadata'), 'name'), errors);
      }
    } catch (error) {
      undo();
      throw error;
    }
    return {
      undo,
      done: () => {
        if (dryRun) {
          undo();
          return;
        }
        // What the service no longer has goes back.
        const after = this.holding(object);
        for (const value of before.addresses) {
          if (!after.addresses.includes(value)) this.addresses.free(value);
        }
        for (const value of before.ports) if (!after.ports.includes(value)) this.ports.free(value);
      },
    };
  }

  private allocateAddress(object: JsonObject, before: Holding, taken: Holding): FieldError[] {
    const spec = objectAt(object, 'spec');
    if (stringAt(spec, 'type') === 'ExternalName') return [];
    const asked = stringAt(spec, 'clusterIP') || (stringsAt(spec, 'clusterIPs')[0] ?? '');
    if (asked === 'None') return [];
    if (asked === '') {
      // Kubernetes keeps the lower part of the range for addresses that users choose.
      const offset = Math.min(256, Math.max(16, Math.floor(this.network.size / 16)));
      const from = this.network.size > 32 ? this.network.first + 1 + offset : this.network.first + 1;
      const address = this.addresses.takeAny(from);
      if (address === undefined) {
        return [invalidValue('spec.clusterIPs', null, 'failed to allocate IP 0: range is full')];
      }
      taken.addresses.push(address);
      spec.clusterIP = addressText(address);
      spec.clusterIPs = [addressText(address)];
      return [];
    }
    const address = addressNumber(asked);
    // What is no address is validation's to refuse.
    if (address === undefined || before.addresses.includes(address)) return [];
    if (!this.addresses.contains(address)) {
      const range = `${addressText(this.network.first)}/${32 - Math.log2(this.network.size)}`;
      return [
        invalidValue(
          'spec.clusterIPs',
          [asked],
          `failed to allocate IP ${asked}: the provided IP (${asked}) is not in the valid range. The range of valid IPs is ${range}`,
        ),
      ];
    }
    if (!this.addresses.take(address)) {
      return [
        invalidValue(
          'spec.clusterIPs',
          [asked],
          `failed to allocate IP ${asked}: provided IP is already allocated`,
        ),
      ];
    }
    taken.addresses.push(address);
    return [];
  }

  private allocatePorts(
    object: JsonObject,
    old: JsonObject | undefined,
    before: Holding,
    taken: Holding,
  ): FieldError[] {
    const spec = objectAt(object, 'spec');
    if (!wantsNodePorts(spec)) return [];
    const errors: FieldError[] = [];
    const byNumber = new Map<number, string[]>();
    listAt(spec, 'ports').forEach((port, index) => {
      const protocol = stringAt(port, 'protocol');
      let wanted = numberAt(port, 'nodePort') ?? 0;
      if (wanted === 0) wanted = keptPort(old, port);
      if (wanted === 0) {
        const given =
          sharedPort(byNumber, listAt(spec, 'ports'), port) ?? this.ports.takeAny(FIRST_NODE_PORT);
        if (given === undefined) {
          errors.push(
            invalidValue(`spec.ports[${index}].nodePort`, 0, 'failed to allocate a nodePort: range is full'),
          );
          return;
        }
        port.nodePort = given;
        if (!byNumber.has(given)) taken.ports.push(given);
        byNumber.set(given, [...(byNumber.get(given) ?? []), protocol]);
        return;
      }
      // A status update carries the stored spec, which is not to be written to.
      if (port.nodePort !== wanted) port.nodePort = wanted;
      const used = byNumber.get(wanted);
      byNumber.set(wanted, [...(used ?? []), protocol]);
      if (before.ports.includes(wanted) || (used && !used.includes(protocol))) return;
      const field = `spec.ports[${index}].nodePort`;
      if (!this.ports.contains(wanted)) {
        errors.push(
          invalidValue(
            field,
            wanted,
            `provided port is not in the valid range. The range of valid ports is ${FIRST_NODE_PORT}-${LAST_NODE_PORT}`,
          ),
        );
      } else if (used || !this.ports.take(wanted)) {
        errors.push(invalidValue(field, wanted, 'provided port is already allocated'));
      } else {
        taken.ports.push(wanted);
      }
    });
    return errors;
  }

  /** Also of a Service that wants no node ports. */
  private allocateHealthCheckPort(
    object: JsonObject,
    old: JsonObject | undefined,
    before: Holding,
    taken: Holding,
  ): FieldError[] {
    const spec = objectAt(object, 'spec');
    const errors: FieldError[] = [];
    const check = numberAt(spec, 'healthCheckNodePort') ?? 0;
    if (check === 0 && needsHealthCheckPort(spec)) {
      const kept = numberAt(objectAt(old, 'spec'), 'healthCheckNodePort') ?? 0;
      const port = kept || this.ports.takeAny(FIRST_NODE_PORT);
      if (port !== undefined) {
        spec.healthCheckNodePort = port;
        if (!kept) taken.ports.push(port);
      }
    } else if (check !== 0 && needsHealthCheckPort(spec) && !before.ports.includes(check)) {
      if (this.ports.take(check)) taken.ports.push(check);
      else errors.push(invalidValue('spec.healthCheckNodePort', check, 'provided port is already allocated'));
    }
    return errors;
  }

  private holding(object: JsonObject): Holding {
    const spec = objectAt(object, 'spec');
    const addresses: number[] = [];
    for (const text of stringsAt(spec, 'clusterIPs')) {
      const address = addressNumber(text);
      if (address !== undefined && this.addresses.contains(address)) addresses.push(address);
    }
    const ports = listAt(spec, 'ports').map((port) => numberAt(port, 'nodePort') ?? 0);
    ports.push(numberAt(spec, 'healthCheckNodePort') ?? 0);
    return { addresses, ports: [...new Set(ports.filter((port) => this.ports.contains(port)))] };
  }
}

function wantsNodePorts(spec: JsonObject): boolean {
  const type = stringAt(spec, 'type');
  if (type === 'NodePort') return true;
  return type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false;
}

function needsHealthCheckPort(spec: JsonObject): boolean {
  return stringAt(spec, 'type') === 'LoadBalancer' && stringAt(spec, 'externalTrafficPolicy') === 'Local';
}

/** An update without a nodePort keeps the one that the same port had. */
function keptPort(old: JsonObject | undefined, port: JsonObject): number {
  const before = listAt(objectAt(old, 'spec'), 'ports').find(
    (candidate) => candidate.port === port.port && candidate.protocol === port.protocol,
  );
  return (before && numberAt(before, 'nodePort')) ?? 0;
}

/** One service port on several protocols (DNS) gets one node port for all of them. */
function sharedPort(
  given: ReadonlyMap<number, string[]>,
  ports: JsonObject[],
  port: JsonObject,
): number | undefined {
  const twin = ports.find(
    (candidate) =>
      candidate !== port &&
      candidate.port === port.port &&
      candidate.protocol !== port.protocol &&
      numberAt(candidate, 'nodePort') !== undefined,
  );
  const number = twin && numberAt(twin, 'nodePort');
  return number !== undefined && given.has(number) && !given.get(number)?.includes(stringAt(port, 'protocol'))
    ? number
    : undefined;
}
