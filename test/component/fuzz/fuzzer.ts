import { Agent } from 'node:https';
import type { Logger } from '../../../src/lib/logger.ts';
import { type Exchange, type Recording, substitute } from '../../golden/replay/recording.ts';
import { ReplayServer } from '../../golden/replay/replay-server.ts';
import { Replayer } from '../../golden/replay/replayer.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { type Corpus, type FuzzRequest, mutate } from './mutate.ts';
import { type Reply, send } from './sender.ts';
import { Watchdog } from './watchdog.ts';

export interface Finding {
  /** What went wrong: `status 500`, `no answer within …`. */
  what: string;
  /** Replays it: the whole run has this seed. */
  seed: string;
  request: string;
  answer: string;
  /** What the server logged. */
  log: string;
}

export interface FuzzResult {
  sent: number;
  /** How many answers of each status. */
  statuses: Record<string, number>;
  findings: Finding[];
  /** Of live objects after the garbage collection, before and after. */
  heapBytes: [before: number, after: number];
}

const DEADLINE_MS = 20_000;
/** Longer than any request's own work, even on a board's CPU shared by others. */
const STALL_MS = 60_000;
/** CPU time that one request may take; others wait for it. */
const MOST_CPU_MS = 3000;

/**
 * Plays the recordings against a whole control plane, and beside each exchange sends mutations of it, so that they meet
 * the state that the valid request was made for. Repeats itself for a seed.
 */
export class Fuzzer {
  private readonly recordings: readonly Recording[];
  private readonly requests: number;
  private readonly seed: string;
  private readonly logged: string[] = [];
  private readonly findings = new Map<string, Finding>();
  private readonly statuses: Record<string, number> = {};
  private sent = 0;

  constructor(options: { recordings: readonly Recording[]; requests: number; seed: string }) {
    this.recordings = options.recordings;
    this.requests = options.requests;
    this.seed = options.seed;
  }

  async run(): Promise<FuzzResult> {
    const random = new SeededRandom(this.seed);
    const exchanges = this.recordings.reduce((sum, recording) => sum + recording.exchanges.length, 0);
    const each = Math.ceil(this.requests / exchanges);
    const corpus = corpusOf(this.recordings);
    const server = await ReplayServer.start(collector(this.logged));
    const { certificate, key } = server.api.identity.admin;
    const agent = new Agent({ keepAlive: true, ca: server.api.identity.caPem, cert: certificate, key });
    const watchdog = new Watchdog(STALL_MS);
    const before = await liveHeap();
    try {
      for (const recording of this.recordings) {
        const replayer = new Replayer(server.api.client(), server.clock);
        await replayer.replay(recording, async (exchange, answers) => {
          const valid = asRequest(exchange, answers);
          for (let index = 0; index < each; index += 1) {
            const request = mutate(valid, random, corpus);
            const name = `${recording.file} #${recording.exchanges.indexOf(exchange)} mutation ${index}`;
            watchdog.tell(`${name}\n${describe(request)}`);
            await this.one(request, name, server, agent);
          }
        });
        await this.sweep(server);
      }
      // Beyond what the history of watches reaches back to.
      await server.clock.advance(900_000);
      const after = await liveHeap();
      return {
        sent: this.sent,
        statuses: this.statuses,
        findings: [...this.findings.values()],
        heapBytes: [before, after],
      };
    } finally {
      agent.destroy();
      await watchdog.stop();
      await server.stop();
    }
  }

  private async one(request: FuzzRequest, name: string, server: ReplayServer, agent: Agent): Promise<void> {
    this.logged.length = 0;
    const cpu = process.cpuUsage();
    const sending = send(request, { port: server.api.server.port, agent, deadlineMs: DEADLINE_MS });
    // Steps long enough for what waits ten seconds, such as the stream of a node that does not answer.
    const reply = await server.drive(sending, 500);
    await server.clock.advance(0);
    const { user, system } = process.cpuUsage(cpu);
    const milliseconds = (user + system) / 1000;
    this.sent += 1;
    const status = reply === 'late' ? 'late' : String(reply.status);
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    const problem = judge(reply, request, milliseconds) ?? pollution() ?? this.loggedProblem();
    if (problem) this.tell(problem, name, request, reply);
  }

  /** What controllers or the server itself logged as an error is a finding even when the answer was right. */
  private loggedProblem(): string | undefined {
    return this.logged.length > 0 ? 'an error was logged' : undefined;
  }

  private tell(what: string, name: string, request: FuzzRequest, reply: Reply | 'late'): void {
    const log = this.logged.join('\n').slice(0, 3000);
    // One finding for each place in the code.
    const place = /\n\s+at [^\n]*\/src\/[^\n]*/.exec(log)?.[0] ?? log.slice(0, 80);
    const key = `${what} ${place || request.path.slice(0, 60)}`;
    if (this.findings.has(key)) return;
    this.findings.set(key, {
      what: `${what} (${name})`,
      seed: this.seed,
      request: describe(request),
      answer: reply === 'late' ? '' : reply.text.slice(0, 500),
      log,
    });
  }

  /** What mutated creations left behind outside of the scenario's namespace would grow with the number of requests. */
  private async sweep(server: ReplayServer): Promise<void> {
    const client = server.api.client();
    for (const path of SWEPT) await server.drive(client.delete(path));
    await server.clock.advance(60_000);
  }
}

const SWEPT = [
  '/api/v1/namespaces/default/pods?gracePeriodSeconds=0',
  '/api/v1/namespaces/default/configmaps',
  '/api/v1/nodes',
  '/api/v1/persistentvolumes',
  '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
];

const KUBERNETES_500 = [
  'has more than one PodDisruptionBudget',
  'error dialing backend: node ',
  'target.kind: Unsupported value',
  'target.name: Required value',
];

function judge(reply: Reply | 'late', request: FuzzRequest, milliseconds: number): string | undefined {
  if (reply === 'late') return `no answer within ${DEADLINE_MS} ms`;
  if (milliseconds > MOST_CPU_MS) return `took more than ${MOST_CPU_MS} ms of CPU time`;
  // A subresource that copepod does not offer says so with 503.
  if (reply.status === 503 && /\/proxy(?:[/?]|$)/.test(request.path)) return undefined;
  // Kubernetes' own words and code.
  if (reply.status === 500 && KUBERNETES_500.some((text) => reply.text.includes(text))) return undefined;
  // As Kubernetes: a revision that does not exist yet is waited for, and did not come. HEAD does not say why.
  const why = request.method === 'HEAD' ? request.path : reply.text;
  if (reply.status === 504 && /"ResourceVersionTooLarge"|[?&]resourceVersion=\d/.test(why)) return undefined;
  if (reply.status >= 500) return `status ${reply.status}`;
  if (reply.status === 0) return 'the connection was closed without an answer';
  // Kubernetes, too, answers with nothing below this path.
  const mayBeEmpty = request.method === 'HEAD' || request.path.startsWith('/openapi/v3/');
  if (reply.status >= 400 && !mayBeEmpty && reply.text === '') return `status ${reply.status} without a body`;
  return undefined;
}

/** Did a `__proto__` get through to Object.prototype? */
function pollution(): string | undefined {
  const found = Object.keys(Object.prototype);
  for (const name of found) Reflect.deleteProperty(Object.prototype, name);
  return found.length > 0 ? `Object.prototype was given ${found.join(', ')}` : undefined;
}

function asRequest({ request }: Exchange, answers: readonly unknown[]): FuzzRequest {
  const { method, path, headers, body } = request;
  const text =
    body === undefined || body === null ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const single = Object.entries(headers).map(([name, value]) => [name, String(value)]);
  return {
    method,
    path: substitute(path, answers, true),
    headers: Object.fromEntries(single),
    body: text === undefined ? undefined : Buffer.from(substitute(text, answers, false)),
  };
}

function corpusOf(recordings: readonly Recording[]): Corpus {
  const requests = recordings.flatMap(({ exchanges }) => exchanges.map(({ request }) => request));
  return {
    paths: requests.map(({ path }) => path),
    bodies: requests.map(({ body }) => body).filter((body) => typeof body === 'object' && body !== null),
  };
}

function describe({ method, path, headers, body }: FuzzRequest): string {
  const text = body === undefined ? '' : body.toString().slice(0, 1500);
  return `${method} ${path.slice(0, 500)}\n${JSON.stringify(headers).slice(0, 500)}\n${text}`;
}

function collector(into: string[]): Logger {
  const logger: Logger = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields, message) => {
      const { error, err } = fields as { error?: unknown; err?: unknown };
      const cause = error ?? err;
      into.push(`${message}: ${cause instanceof Error ? cause.stack : JSON.stringify(fields)}`);
    },
    child: () => logger,
  };
  return logger;
}

/** Bytes of live objects, after what is garbage is gone. */
async function liveHeap(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  // What finalizers and weak references hold goes only with the next collections.
  for (let round = 0; round < 5; round += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
    least = Math.min(least, process.memoryUsage().heapUsed);
  }
  return least;
}
