import type { Logger } from '../lib/logger.ts';
import { DialRefused } from '../wire/dial.ts';
import { NODE_REFUSALS } from '../wire/join.ts';
import type { DesiredStore } from './desired.ts';
import { type Joiner, JoinRefused } from './join.ts';

export interface Refused {
  /** What the server says: it removed the node, or knows no node of this certificate. */
  reason: 'removed' | 'unknown';
  /** This process was a node of the cluster before. */
  wasMember: boolean;
  hasToken: boolean;
  /** The agent within the server: a server is not without its own board. */
  own: boolean;
}

/**
 * `join` anew with the token · `leave`: end all pods and stay out until the agent is started again · `wait` for somebody
 * to do something.
 *
 * Who removes a board wants it out: a running agent does not come back by itself, although its token may be good. Who
 * starts an agent wants it in. A server that was restored from a backup has removed nobody.
 */
export function decideMembership({ reason, wasMember, hasToken, own }: Refused): 'join' | 'leave' | 'wait' {
  if (hasToken && (own || !wasMember || reason === 'unknown')) return 'join';
  return reason === 'removed' ? 'leave' : 'wait';
}

/** Acts when the server no longer takes the node's certificate; the bus goes on trying to connect meanwhile. */
export class Membership {
  private readonly joiner: Pick<Joiner, 'rejoin' | 'hasToken'>;
  private readonly desired: Pick<DesiredStore, 'removed'>;
  private readonly node: string;
  private readonly own: boolean;
  private readonly logger: Logger;
  private wasMember = false;
  private told: string | undefined;
  private joining = false;

  constructor(options: {
    joiner: Pick<Joiner, 'rejoin' | 'hasToken'>;
    desired: Pick<DesiredStore, 'removed'>;
    node: string;
    own: boolean;
    logger: Logger;
  }) {
    this.joiner = options.joiner;
    this.desired = options.desired;
    this.node = options.node;
    this.own = options.own;
    this.logger = options.logger;
  }

  connected(): void {
    this.wasMember = true;
    this.told = undefined;
  }

  /** Why a connection to the server was not made; whatever is not a refusal of the certificate is ignored. */
  async failed(error: unknown): Promise<void> {
    const cause = error instanceof DialRefused ? error.cause : undefined;
    if (cause === NODE_REFUSALS.removed) await this.refused('removed');
    else if (cause === NODE_REFUSALS.unknown) await this.refused('unknown');
  }

  private async refused(reason: Refused['reason']): Promise<void> {
    const { node, own, wasMember, joiner } = this;
    const decision = decideMembership({ reason, wasMember, own, hasToken: joiner.hasToken });
    if (decision === 'join') return this.join();
    if (this.told === reason) return;
    this.told = reason;
    if (decision === 'leave') {
      this.logger.error(
        { node },
        'the node was removed from the cluster: its pods are ended. Start the agent again, with a valid --token, to join anew',
      );
      this.desired.removed();
    } else {
      this.logger.error(
        { node },
        'the server does not know this node, whose pods run on: start the agent with --token, as `copepod token` prints it on the server',
      );
    }
  }

  private async join(): Promise<void> {
    if (this.joining) return;
    this.joining = true;
    try {
      await this.joiner.rejoin();
      this.logger.info({ node: this.node }, 'joined anew');
    } catch (error) {
      const why = (error as Error).message;
      if (this.told !== why) {
        const text = 'the node cannot join anew';
        if (error instanceof JoinRefused) this.logger.error({ node: this.node, error: why }, text);
        else this.logger.warn({ node: this.node, error: why }, text);
      }
      this.told = why;
    } finally {
      this.joining = false;
    }
  }
}
