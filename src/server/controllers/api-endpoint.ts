import { isAlreadyExists, isNotFound } from '../../api/errors.ts';
import { ENDPOINT_SLICES, ENDPOINTS } from '../../api/kinds.ts';
import type { ResourceType } from '../../api/resource.ts';
import type { Endpoints } from '../../api/types/core-v1.ts';
import type { EndpointSlice } from '../../api/types/discovery-v1.ts';
import type { Client, NewObject } from '../../client/port.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';

/** A board that starts before its router has its address some seconds later. */
const LOOK_EVERY_MS = 10_000;
const NAMESPACE = 'default';
const NAME = 'kubernetes';

/**
 * The endpoint of the Service `kubernetes` follows the address of this server: it may come after the start, and change.
 * An endpoint may not be a loopback address, and no pod of another board could reach it there: then there is none, and
 * the board of the server leads its own pods to the loopback itself.
 */
export class ApiEndpoint implements Service {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly port: number;
  private readonly address: string | (() => Promise<string | undefined>);
  /** Undefined: nothing was told yet. */
  private told: string | undefined;
  private work: Promise<void> = Promise.resolve();
  private timer: Timer | undefined;

  constructor(options: {
    client: Client;
    clock: Clock;
    logger: Logger;
    port: number;
    /** Where the API can be reached by pods at this moment. */
    address: string | (() => Promise<string | undefined>);
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.logger = options.logger;
    this.port = options.port;
    this.address = options.address;
  }

  async start(): Promise<void> {
    await this.look();
    if (typeof this.address === 'string') return;
    this.timer = this.clock.every(LOOK_EVERY_MS, () => {
      this.work = this.work.then(() => this.look());
    });
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    await this.work;
  }

  private async look(): Promise<void> {
    try {
      const found = (typeof this.address === 'string' ? this.address : await this.address()) ?? '';
      const address = found.startsWith('127.') || found.includes(':') ? '' : found;
      if (address === this.told) return;
      await this.write(address);
      if (address === '') {
        this.logger.warn(
          { address: found },
          'the API has no address that pods of other boards could reach: the Service kubernetes has no endpoint',
        );
      } else if (this.told !== undefined)
        this.logger.info({ address }, 'the Service kubernetes has another endpoint');
      this.told = address;
    } catch (error) {
      this.logger.warn({ err: error }, 'the endpoint of the Service kubernetes could not be written');
    }
  }

  private async write(address: string): Promise<void> {
    const ports = [{ name: 'https', port: this.port, protocol: 'TCP' as const }];
    const endpoints: NewObject<Endpoints> = {
      metadata: {
        name: NAME,
        namespace: NAMESPACE,
        labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' },
      },
      subsets: address === '' ? [] : [{ addresses: [{ ip: address }], ports }],
    };
    const slice: NewObject<EndpointSlice> = {
      metadata: { name: NAME, namespace: NAMESPACE, labels: { 'kubernetes.io/service-name': NAME } },
      addressType: 'IPv4',
      endpoints: address === '' ? [] : [{ addresses: [address], conditions: { ready: true } }],
      ports,
    };
    await this.put(ENDPOINTS, endpoints);
    await this.put(ENDPOINT_SLICES, slice);
  }

  private async put<T extends Endpoints | EndpointSlice>(
    type: ResourceType<T>,
    object: NewObject<T>,
  ): Promise<void> {
    try {
      await this.client.patch(type, NAMESPACE, NAME, { type: 'merge', body: object });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      try {
        await this.client.create(type, NAMESPACE, object);
      } catch (raced) {
        if (!isAlreadyExists(raced)) throw raced;
      }
    }
  }
}
