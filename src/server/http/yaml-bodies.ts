import { Worker } from 'node:worker_threads';
import { StatusError } from '../../api/errors.ts';
import { JsonSyntaxError, type ParsedJson, parseJson } from '../../api/json-text.ts';
import { type Clock, withTimeout } from '../../lib/clock.ts';
import { SerialByKey } from '../../lib/serial.ts';
import type { YamlAnswer } from './yaml-worker.ts';

/** Characters. A PC reads them in 8 to 50 ms, a slow board in five times that. */
const LONGEST_HERE = 8 * 1024;
/** A mebibyte of YAML as people write it takes 80; of brackets and commas alone 300, which a board does not have. */
const THREAD_MEBIBYTES = 128;
const DEADLINE_MS = 30_000;
/** Each holds its text, of 3 MiB at the most. */
const MOST_WAITING = 8;

const WORKER_URL = new URL(
  import.meta.url.endsWith('.ts') ? './yaml-worker.ts' : './yaml-worker.js',
  import.meta.url,
);

/**
 * Reads YAML bodies. The parser takes microseconds for each character, seconds for a mebibyte, so that a long text is read
 * by a thread that is made for it and ends with it, one at a time. JSON, which is YAML too and what kubectl sends for
 * server-side apply, is read as such.
 */
export class YamlBodies {
  private readonly clock: Clock;
  private readonly threadMebibytes: number;
  private readonly threads = new SerialByKey<'thread'>();
  private waiting = 0;

  constructor(options: { clock: Clock; threadMebibytes?: number }) {
    this.clock = options.clock;
    this.threadMebibytes = options.threadMebibytes ?? THREAD_MEBIBYTES;
  }

  /** Throws JsonSyntaxError, and StatusError for what takes too much memory (413) or time (504), or when many wait (429). */
  async parse(text: string): Promise<ParsedJson> {
    if (/^\s*[{[]/.test(text)) {
      try {
        return parseJson(text);
      } catch (error) {
        if (!(error instanceof JsonSyntaxError)) throw error;
        // A flow mapping, perhaps: `{a: b}`.
      }
    }
    if (text.length > LONGEST_HERE) return this.elsewhere(text);
    const { parseYaml } = await import('./yaml-text.ts');
    return parseYaml(text);
  }

  private async elsewhere(text: string): Promise<ParsedJson> {
    if (this.waiting >= MOST_WAITING) {
      throw new StatusError(
        'TooManyRequests',
        429,
        'too many long YAML bodies at once: try again, or send JSON',
        {
          retryAfterSeconds: 1,
        },
      );
    }
    this.waiting += 1;
    let answer: YamlAnswer;
    try {
      answer = await this.threads.run('thread', () => this.ask(text));
    } finally {
      this.waiting -= 1;
    }
    if ('syntaxError' in answer) throw new JsonSyntaxError(answer.syntaxError);
    return { value: JSON.parse(answer.json), duplicates: answer.duplicates };
  }

  private async ask(text: string): Promise<YamlAnswer> {
    const thread = new Worker(WORKER_URL, {
      name: 'yaml',
      workerData: text,
      resourceLimits: { maxOldGenerationSizeMb: this.threadMebibytes, maxYoungGenerationSizeMb: 4 },
      // It runs nothing that the process was told to preload.
      execArgv: [],
      env: {},
    });
    // It does not keep a server that stops.
    thread.unref();
    try {
      return await withTimeout(this.clock, DEADLINE_MS, this.answerOf(thread), tooSlow);
    } finally {
      // Before the next begins: there is memory for one.
      await thread.terminate();
    }
  }

  private answerOf(thread: Worker): Promise<YamlAnswer> {
    return new Promise((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? this.tooLarge() : error),
      );
      thread.once('exit', () => reject(new Error('the thread that reads YAML has ended without an answer')));
    });
  }

  private tooLarge(): StatusError {
    return new StatusError(
      'RequestEntityTooLarge',
      413,
      `reading this YAML takes more than ${this.threadMebibytes} MiB of memory: send it as JSON`,
    );
  }
}

const tooSlow = (): StatusError =>
  new StatusError(
    'Timeout',
    504,
    `this YAML could not be read within ${DEADLINE_MS / 1000} s: send it as JSON`,
  );
