import { loadBootstrapObjects } from '../../../src/api/facts.ts';
import type { Logger } from '../../../src/lib/logger.ts';
import { ControlPlane } from '../../../src/server/control-plane.ts';
import { AgentStreams } from '../../../src/server/http/streams/agent-streams.ts';
import { PodStreams } from '../../../src/server/http/streams/pod-streams.ts';
import { MemoryEngine } from '../../../src/server/store/memory-engine.ts';
import type { MessageBus } from '../../../src/wire/message-bus.ts';
import { ApiFixture, type BackendParts } from '../../support/api-fixture.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SimulatedBroker, SimulatedBus } from '../../support/simulated-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { drive } from './drive.ts';

/** What the recordings were made with: API server, controllers, scheduler; no kubelet. On a virtual clock. */
export class ReplayServer {
  readonly api: ApiFixture;
  readonly clock: VirtualClock;

  private constructor(api: ApiFixture, clock: VirtualClock) {
    this.api = api;
    this.clock = clock;
  }

  static async start(logger?: Logger): Promise<ReplayServer> {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const bus = new SimulatedBus(new SimulatedBroker({ clock, random }), { clientId: 'server' });
    const planes: ControlPlane[] = [];
    const starting = ApiFixture.start({
      clock,
      ...(logger ? { logger } : {}),
      serviceCidr: '10.0.0.0/16',
      backend: async (parts) => {
        const plane = await controlPlane(parts, bus);
        planes.push(plane);
        return plane;
      },
      streams: () => {
        const [plane] = planes;
        if (!plane) throw new Error('there is no control plane yet');
        return new PodStreams({
          client: plane.client,
          agents: new AgentStreams({ bus, clock, random, connected: () => false }),
          clock,
          random,
        });
      },
    });
    const api = await drive(clock, starting);
    return new ReplayServer(api, clock);
  }

  /** The outcome of work that may have to wait for the virtual clock. */
  drive<T>(work: Promise<T>, stepMs = 10): Promise<T> {
    return drive(this.clock, work, stepMs);
  }

  async stop(): Promise<void> {
    await drive(this.clock, this.api.stop(), 1000);
  }
}

async function controlPlane(parts: BackendParts, bus: MessageBus): Promise<ControlPlane> {
  const { extend, caPem, ...rest } = parts;
  return new ControlPlane({
    ...rest,
    engine: new MemoryEngine({ clock: parts.clock }),
    bus,
    bootstrapObjects: await loadBootstrapObjects(),
    clusterCidr: '10.42.0.0/16',
    clusterDns: '10.0.0.10',
    clusterDomain: 'cluster.local',
    ca: caPem,
    advertise: { address: '192.0.2.1', port: 6443 },
    extend: (store) => {
      const { admission, ...others } = extend(store);
      return { admissionAfter: admission, ...others };
    },
  });
}
