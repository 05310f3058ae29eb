import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { type Clock, withTimeout } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { encodeQuery } from './encode.ts';
import { type Query, RCODE, walk } from './message.ts';

export interface Upstream {
  address: string;
  port: number;
}

export class UpstreamError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UpstreamError';
  }
}

const ATTEMPT_MS = 1500;
/** A client gives up after five seconds; it shall hear a failure before that. */
const ATTEMPTS = 3;

/** Asks the servers one after the other, beginning with the one that answered last. */
export class UpstreamClient {
  private readonly clock: Clock;
  private readonly random: Random;
  private preferred = '';

  constructor(options: { clock: Clock; random: Random }) {
    this.clock = options.clock;
    this.random = options.random;
  }

  /** The whole answer, by TCP when it is too long for UDP. Throws UpstreamError when none answered. */
  async ask(query: Pick<Query, 'question' | 'edns'>, servers: readonly Upstream[]): Promise<Buffer> {
    const ordered = [...servers].sort(
      (a, b) => Number(nameOf(b) === this.preferred) - Number(nameOf(a) === this.preferred),
    );
    if (ordered.length === 0) throw new UpstreamError('no upstream server is known');
    let refusal: Buffer | undefined;
    let failure = '';
    for (let attempt = 0; attempt < Math.min(ATTEMPTS, Math.max(2, ordered.length)); attempt += 1) {
      const server = ordered[attempt % ordered.length] as Upstream;
      try {
        const answer = await this.exchange(query, server);
        const { rcode } = walk(answer);
        if (rcode !== RCODE.serverFailure && rcode !== RCODE.refused && rcode !== RCODE.notImplemented) {
          this.preferred = nameOf(server);
          return answer;
        }
        refusal = answer;
      } catch (error) {
        failure = `${nameOf(server)}: ${(error as Error).message}`;
      }
    }
    if (refusal) return refusal;
    throw new UpstreamError(failure);
  }

  private async exchange(query: Pick<Query, 'question' | 'edns'>, server: Upstream): Promise<Buffer> {
    const id = this.random.bytes(2).readUInt16BE(0);
    const message = encodeQuery(id, query.question, query.edns);
    const isAnswer = (answer: Buffer): boolean => {
      try {
        const { flags, question } = walk(answer);
        return (
          answer.readUInt16BE(0) === id &&
          (flags & 0x8000) !== 0 &&
          question.name === query.question.name &&
          question.type === query.question.type
        );
      } catch {
        return false;
      }
    };
    const answer = await this.limited((signal) => overUdp(message, server, isAnswer, signal));
    if (!walk(answer).truncated) return answer;
    return this.limited((signal) => overTcp(message, server, isAnswer, signal)).catch(() => answer);
  }

  private async limited(work: (signal: AbortSignal) => Promise<Buffer>): Promise<Buffer> {
    const abort = new AbortController();
    try {
      const timeout = (): Error => new UpstreamError(`no answer within ${ATTEMPT_MS} ms`);
      return await withTimeout(this.clock, ATTEMPT_MS, work(abort.signal), timeout);
    } finally {
      abort.abort();
    }
  }
}

const nameOf = ({ address, port }: Upstream): string => `${address}#${port}`;

/** A socket for each question: its port is as hard to guess as the id. What does not answer the question is not heard. */
function overUdp(
  message: Buffer,
  { address, port }: Upstream,
  isAnswer: (answer: Buffer) => boolean,
  signal: AbortSignal,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4' });
    let open = true;
    const close = (): void => {
      if (open) socket.close();
      open = false;
    };
    signal.addEventListener('abort', close, { once: true });
    socket.on('error', (error) => {
      close();
      reject(error);
    });
    socket.on('message', (answer) => {
      if (!isAnswer(answer)) return;
      close();
      resolve(answer);
    });
    // A connected socket hears of a port that nobody listens on at once, and of strangers' packets not at all.
    // Where there is no route it is called back with the error, which its type does not say, and is not connected.
    socket.connect(port, address, (error?: Error) => {
      if (error) socket.emit('error', error);
      else if (open) socket.send(message);
    });
  });
}

function overTcp(
  message: Buffer,
  { address, port }: Upstream,
  isAnswer: (answer: Buffer) => boolean,
  signal: AbortSignal,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    let received = Buffer.alloc(0);
    signal.addEventListener('abort', () => socket.destroy(), { once: true });
    socket.on('error', reject);
    socket.on('close', () => reject(new UpstreamError('the connection was closed')));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const length = received.readUInt16BE(0);
      if (received.length < length + 2) return;
      const answer = received.subarray(2, length + 2);
      socket.destroy();
      if (isAnswer(answer)) resolve(answer);
      else reject(new UpstreamError('not an answer to the question'));
    });
    const prefix = Buffer.alloc(2);
    prefix.writeUInt16BE(message.length, 0);
    socket.end(Buffer.concat([prefix, message]));
  });
}
