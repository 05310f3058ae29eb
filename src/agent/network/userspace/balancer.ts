import type { Clock } from '../../../lib/clock.ts';
import type { Random } from '../../../lib/random.ts';
import type { Front, Target } from './plan.ts';

const MOST_CLIENTS = 10_000;

/** Chooses targets for the clients of one front; a client stays with its target while affinity lasts. */
export class Balancer {
  private readonly clock: Clock;
  private readonly random: Random;
  private front: Pick<Front, 'targets' | 'affinitySeconds'>;
  /** Client -> its target and when it came last; the longest silent first. */
  private readonly clients = new Map<string, { key: string; at: number }>();

  constructor(options: { clock: Clock; random: Random; front: Pick<Front, 'targets' | 'affinitySeconds'> }) {
    this.clock = options.clock;
    this.random = options.random;
    this.front = options.front;
  }

  update(front: Pick<Front, 'targets' | 'affinitySeconds'>): void {
    this.front = front;
  }

  /** In the order in which they are to be tried. */
  order(client: string): Target[] {
    const { targets } = this.front;
    const start = Math.floor(this.random.number() * targets.length);
    const order = [...targets.slice(start), ...targets.slice(0, start)];
    const held = this.remembered(client);
    const at = order.findIndex((target) => keyOf(target) === held);
    if (at > 0) order.unshift(...order.splice(at, 1));
    return order;
  }

  /** The client was given this target. */
  chosen(client: string, target: Target): void {
    if (this.front.affinitySeconds === undefined) return;
    this.clients.delete(client);
    this.clients.set(client, { key: keyOf(target), at: this.clock.monotonic() });
    const [oldest] = this.clients.keys();
    if (this.clients.size > MOST_CLIENTS && oldest !== undefined) this.clients.delete(oldest);
  }

  private remembered(client: string): string | undefined {
    const { affinitySeconds } = this.front;
    const held = this.clients.get(client);
    if (affinitySeconds === undefined || held === undefined) return undefined;
    return this.clock.monotonic() - held.at < affinitySeconds * 1000 ? held.key : undefined;
  }
}

export const keyOf = ({ ip, port }: Target): string => `${ip}:${port}`;
