import type { Readable } from 'node:stream';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { DockerClient } from './client.ts';

/** Execs of probes are left out by the filter: they would wake the agent several times a second. */
const WATCHED = ['start', 'die', 'destroy', 'oom', 'pause', 'unpause'];
const FIRST_RETRY_MS = 250;
/** The attempt is one connect on a local socket; the pods of an engine that comes back wait for it. */
const LONGEST_RETRY_MS = 2_000;
/** An event is a line of JSON of about a kilobyte; a longer one is not an event. */
const LONGEST_LINE = 1024 * 1024;

/**
 * Docker's event stream, reopened with back-off when it breaks. Events only wake: `onEvent(id)` means "look at this
 * container", `onEvent(undefined)` "look at all": after every (re)connection, for something may have been missed, and when the
 * stream breaks, for the engine may be gone.
 */
export class DockerEvents {
  private readonly client: DockerClient;
  private readonly clock: Clock;
  private readonly label: string;
  private readonly onEvent: (containerId: string | undefined, what?: string) => void;
  private stream: Readable | undefined;
  private timer: Timer | undefined;
  private running = false;
  private retryMs = FIRST_RETRY_MS;
  private generation = 0;

  constructor(options: {
    client: DockerClient;
    clock: Clock;
    /** Only containers with this label. */
    label: string;
    onEvent: (containerId: string | undefined, what?: string) => void;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.label = options.label;
    this.onEvent = options.onEvent;
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    void this.connect();
  }

  stop(): void {
    this.running = false;
    this.generation += 1;
    this.timer?.cancel();
    this.stream?.destroy();
    this.stream = undefined;
  }

  private async connect(): Promise<void> {
    const generation = this.generation;
    try {
      const stream = await this.client.stream({
        path: '/events',
        query: { filters: { type: ['container'], label: [this.label], event: WATCHED } },
        timeoutMs: 10_000,
      });
      if (!this.running || generation !== this.generation) {
        stream.destroy();
        return;
      }
      this.stream = stream;
      this.retryMs = FIRST_RETRY_MS;
      this.read(stream);
      this.onEvent(undefined);
    } catch {
      // Docker is away; the callers' own requests report that. Here it only means trying again.
      this.retry(generation);
    }
  }

  private read(stream: Readable): void {
    const generation = this.generation;
    let buffered = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      buffered += chunk;
      const lines = buffered.split('\n');
      buffered = lines.pop() ?? '';
      if (buffered.length > LONGEST_LINE) stream.destroy();
      for (const line of lines) {
        const event = containerEvent(line);
        if (event) this.onEvent(event.id, event.what);
      }
    });
    stream.on('error', () => {});
    stream.once('close', () => {
      if (this.stream === stream) this.stream = undefined;
      if (!this.running || generation !== this.generation) return;
      this.retry(generation);
      this.onEvent(undefined);
    });
  }

  private retry(generation: number): void {
    if (!this.running || generation !== this.generation) return;
    this.timer?.cancel();
    this.timer = this.clock.after(this.retryMs, () => void this.connect());
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }
}

function containerEvent(line: string): { id: string; what?: string } | undefined {
  try {
    const event = JSON.parse(line) as { Type?: string; Action?: string; Actor?: { ID?: string } };
    const id = event.Type === 'container' ? event.Actor?.ID : undefined;
    return id === undefined ? undefined : { id, ...(event.Action ? { what: event.Action } : {}) };
  } catch {
    return undefined;
  }
}
