import { StatusError } from '../../api/errors.ts';

/**
 * Bounds how many requests are in work, in all and for each client, so that one client's flood neither starves the others
 * nor fills the memory of a small board. Watches and streams count only until they have started.
 */
export class Fairness {
  private readonly total: number;
  private readonly perClient: number;
  private readonly inWork = new Map<string, number>();
  private sum = 0;

  constructor(options: { total: number; perClient: number }) {
    this.total = options.total;
    this.perClient = options.perClient;
  }

  get current(): number {
    return this.sum;
  }

  /** Returns what gives the place back (once). Throws 429 with Retry-After when there is none. */
  enter(client: string): () => void {
    const mine = this.inWork.get(client) ?? 0;
    if (this.sum >= this.total || mine >= this.perClient) {
      throw new StatusError('TooManyRequests', 429, 'Too many requests, please try again later.', {
        retryAfterSeconds: 1,
      });
    }
    this.inWork.set(client, mine + 1);
    this.sum += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.sum -= 1;
      const left = (this.inWork.get(client) ?? 1) - 1;
      if (left === 0) this.inWork.delete(client);
      else this.inWork.set(client, left);
    };
  }
}
