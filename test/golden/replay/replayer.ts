import type { Answer, ApiClient } from '../../support/api-fixture.ts';
import type { VirtualClock } from '../../support/virtual-clock.ts';
import { differences, statusDifferences, textMatches } from './compare.ts';
import { drive } from './drive.ts';
import { at, type Exchange, type Recording, substitute } from './recording.ts';

export interface Outcome {
  file: string;
  index: number;
  request: string;
  matched: boolean;
  differences: string[];
  /** Of a Status with an error: does the message match as well? */
  message: boolean | undefined;
}

const WAIT_MS = 15_000;
const POLL_MS = 250;
/** What recorded watches last (timeoutSeconds=2). */
const WATCH_MS = 2000;

/** Sends recorded requests to a server that runs on a virtual clock, and compares its answers. */
export class Replayer {
  private readonly client: ApiClient;
  private readonly clock: VirtualClock;

  constructor(client: ApiClient, clock: VirtualClock) {
    this.client = client;
    this.clock = clock;
  }

  /** `beside` runs before a reading or deleting exchange and after any other: while what it is about is there. */
  async replay(
    recording: Recording,
    beside?: (exchange: Exchange, answers: readonly unknown[]) => Promise<void>,
  ): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const answers: unknown[] = [];
    for (const [index, exchange] of recording.exchanges.entries()) {
      const first = exchange.request.method === 'GET' || exchange.request.method === 'DELETE';
      if (first) await beside?.(exchange, answers);
      const answer = await this.perform(exchange, answers);
      answers.push({ status: answer.status, headers: answer.headers, body: answer.body });
      if (!first) await beside?.(exchange, answers);
      // Making and removing the scenario's namespace is not what it is about.
      if (exchange.role) continue;
      const { method, path } = exchange.request;
      outcomes.push({
        file: recording.file,
        index,
        request: `${method} ${path}`,
        ...judge(exchange, answer, recording.scenario),
      });
    }
    for (const path of recording.cleanup) await this.send('DELETE', path, {}, undefined);
    return outcomes;
  }

  private async perform(exchange: Exchange, answers: readonly unknown[]): Promise<Answer> {
    const { request } = exchange;
    for (const condition of exchange.waitFor ?? []) await this.waitFor(condition, answers);
    if (exchange.sleepMs) await this.clock.advance(exchange.sleepMs);
    const path = substitute(request.path, answers, true);
    const body =
      request.body === undefined || request.body === null
        ? undefined
        : substitute(
            typeof request.body === 'string' ? request.body : JSON.stringify(request.body),
            answers,
            false,
          );
    return this.send(request.method, path, request.headers, body);
  }

  private async send(
    method: string,
    path: string,
    headers: Record<string, string | string[]>,
    body: string | undefined,
  ): Promise<Answer> {
    const watching = /[?&]watch=true/.test(path);
    const answer = await drive(
      this.clock,
      this.client.ask(method, path, { headers, body }),
      watching ? WATCH_MS : 10,
    );
    // What the request set off in controllers has its turn before the next one.
    await this.clock.advance(0);
    return answer;
  }

  private async waitFor(
    { path, status, field, equals, timeoutMs = WAIT_MS }: NonNullable<Exchange['waitFor']>[number],
    answers: readonly unknown[],
  ): Promise<void> {
    const deadline = this.clock.monotonic() + timeoutMs;
    const url = substitute(path, answers, true);
    while (this.clock.monotonic() < deadline) {
      const answer = await this.send('GET', url, { accept: 'application/json' }, undefined);
      const right = status === undefined || answer.status === status;
      if (right && (field === undefined || sameJson(at(answer.body, field), equals))) return;
      await this.clock.advance(POLL_MS);
    }
  }
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function judge(
  { response, stream, match }: Exchange,
  answer: Answer,
  scenario: string,
): { matched: boolean; differences: string[]; message: boolean | undefined } {
  const found: string[] = [];
  const { status: recordedStatus, body } = response;
  if (recordedStatus === 500) {
    // A fork's slip: a fitting 4xx is the better answer.
    const fitting = answer.status >= 400 && answer.status < 500 && answer.body?.kind === 'Status';
    return {
      matched: fitting || answer.status === 500,
      differences: fitting ? [] : [`status ${answer.status}, a 4xx is due`],
      message: undefined,
    };
  }
  if (answer.status !== recordedStatus) {
    found.push(`status ${answer.status}, recorded ${recordedStatus}${why(answer)}`);
  }
  const type = response.headers['content-type'];
  if (type !== undefined && answer.headers['content-type'] !== type) {
    found.push(`content-type ${String(answer.headers['content-type'])}, recorded ${type}`);
  }
  const warnings = response.headers.warning ?? [];
  found.push(...differences(warnings, answer.headers.warning ?? []).map((text) => `warning ${text}`));
  let message: boolean | undefined;
  if (isStatus(body) && recordedStatus >= 400) {
    found.push(...statusDifferences(body, answer.body));
    message = textMatches(String(body.message ?? ''), String(answer.body?.message ?? ''));
  } else if (response.bodyContains) {
    for (const text of response.bodyContains) {
      if (!answer.text.includes(text)) found.push(`does not contain ${JSON.stringify(text)}`);
    }
  } else {
    found.push(
      ...differences(body, stream ? eventsOf(answer.text) : answer.body, {
        subset: match === 'subset',
        managedFields: scenario.startsWith('apply'),
      }),
    );
  }
  return { matched: found.length === 0, differences: found, message };
}

function why(answer: Answer): string {
  return answer.status >= 400 && answer.body?.message ? ` (${answer.body.message})` : '';
}

function isStatus(body: unknown): body is Record<string, unknown> {
  return typeof body === 'object' && body !== null && (body as { kind?: unknown }).kind === 'Status';
}

/** The events of a stream; of bookmarks only the one that ends the initial events. */
function eventsOf(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
    .filter(
      ({ type, object }) =>
        type !== 'BOOKMARK' || object.metadata?.annotations?.['k8s.io/initial-events-end'] === 'true',
    );
}
