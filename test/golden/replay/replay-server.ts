import { ApiFixture } from '../../support/api-fixture.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** What the recordings were made with: API server, controllers, scheduler; no kubelet. On a virtual clock. */
export class ReplayServer {
  readonly api: ApiFixture;
  readonly clock: VirtualClock;

  private constructor(api: ApiFixture, clock: VirtualClock) {
    this.api = api;
    this.clock = clock;
  }

  static async start(): Promise<ReplayServer> {
    const clock = new VirtualClock();
    const api = await ApiFixture.start({ clock, serviceCidr: '10.0.0.0/16' });
    return new ReplayServer(api, clock);
  }

  async stop(): Promise<void> {
    await this.api.stop();
  }
}
