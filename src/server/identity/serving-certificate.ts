import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Identity } from './identity.ts';

/** A board often starts before its network does, and DHCP may give it another address at any time. */
const LOOK_EVERY_MS = 15_000;

/** Keeps the serving certificate good for every address that this machine has, and renews it in time. */
export class ServingCertificate {
  private readonly identity: Pick<Identity, 'cover'>;
  private readonly addresses: () => Promise<readonly string[]>;
  private readonly onChange: () => void;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private timer: Timer | undefined;

  constructor(options: {
    identity: Pick<Identity, 'cover'>;
    /** The certificate is another: for new connections. */
    onChange: () => void;
    /** Those that this machine has now. */
    addresses: () => Promise<readonly string[]>;
    clock: Clock;
    logger: Logger;
  }) {
    this.identity = options.identity;
    this.onChange = options.onChange;
    this.addresses = options.addresses;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  start(): void {
    this.timer = this.clock.every(LOOK_EVERY_MS, () => void this.look());
  }

  stop(): void {
    this.timer?.cancel();
  }

  private async look(): Promise<void> {
    try {
      const addresses = await this.addresses();
      if (!this.identity.cover(addresses)) return;
      this.onChange();
      this.logger.info({ addresses }, 'made a new serving certificate');
    } catch (error) {
      this.logger.warn({ err: error }, 'the serving certificate could not be made anew');
    }
  }
}
