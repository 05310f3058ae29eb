import { createHash } from 'node:crypto';
import type { Logger } from '../../src/lib/logger.ts';

const KEPT = 60_000;

/** What happened, in order, with virtual time. Its hash tells whether two runs were the same. */
export class Trace {
  readonly lines: string[] = [];
  private readonly hash = createHash('sha256');
  private readonly elapsed: () => number;
  private dropped = 0;

  constructor(elapsed: () => number) {
    this.elapsed = elapsed;
  }

  add(who: string, what: string): void {
    const line = `${(this.elapsed() / 1000).toFixed(3).padStart(10)} ${who.padEnd(9)} ${what}`;
    this.hash.update(`${line}\n`);
    this.lines.push(line);
    if (this.lines.length > KEPT) {
      this.lines.splice(0, KEPT / 10);
      this.dropped += KEPT / 10;
    }
  }

  digest(): string {
    return this.hash.copy().digest('hex');
  }

  text(): string {
    return [...(this.dropped > 0 ? [`(${this.dropped} lines before)`] : []), ...this.lines].join('\n');
  }

  /** Warnings and errors of a process become part of the trace. */
  logger(who: string, onError: (message: string) => void = () => {}): Logger {
    const write =
      (level: string) =>
      (fields: object, message: string): void => {
        const { err, ...rest } = fields as { err?: Error };
        const text = `${message}${err ? ` (${err.name}: ${err.message})` : ''} ${JSON.stringify(rest)}`;
        this.add(who, `${level} ${text.slice(0, 400)}`);
        if (level === 'error') onError(`${who}: ${text}${err?.stack ? `\n${err.stack}` : ''}`);
      };
    const logger: Logger = {
      debug: () => {},
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
      child: () => logger,
    };
    return logger;
  }
}
