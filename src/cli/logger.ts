import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LEVELS)[number];

/**
 * Writes one line for each entry: JSON, or a readable form for a terminal. Forty lines instead of a logging package,
 * which costs 7 MB of resident memory (docs/adr/0005).
 */
export function createLogger(options: {
  level: LogLevel;
  clock: Clock;
  /** Given whole lines. */
  write: (line: string) => void;
  readable: boolean;
  bindings?: Record<string, unknown>;
}): Logger {
  const { level, clock, write, readable, bindings = {} } = options;
  const threshold = LEVELS.indexOf(level);
  const format = readable ? readableLine : jsonLine;
  const at =
    (entryLevel: LogLevel) =>
    (fields: object, message: string): void => {
      if (LEVELS.indexOf(entryLevel) < threshold) return;
      write(format(clock.now(), entryLevel, message, { ...bindings, ...fields }));
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (more) => createLogger({ ...options, bindings: { ...bindings, ...more } }),
  };
}

function jsonLine(time: number, level: LogLevel, message: string, fields: Record<string, unknown>): string {
  return `${JSON.stringify({ time: new Date(time).toISOString(), level, message, ...fields }, plain)}\n`;
}

const COLOUR: Record<LogLevel, string> = { debug: '\x1b[90m', info: '', warn: '\x1b[33m', error: '\x1b[31m' };

function readableLine(
  time: number,
  level: LogLevel,
  message: string,
  fields: Record<string, unknown>,
): string {
  const details = Object.entries(fields).map(([key, value]) => {
    const text = typeof value === 'string' ? value : (JSON.stringify(value, plain) ?? 'undefined');
    // Quoted when not plain: what a pod or a client sent must not be able to forge a line or steer the terminal.
    return ` \x1b[90m${key}=\x1b[0m${/^[\x21-\x7e]*$/.test(text) ? text : JSON.stringify(text)}`;
  });
  const clock = new Date(time).toISOString().slice(11, 19);
  return `${clock} ${COLOUR[level]}${level.toUpperCase().padEnd(5)}\x1b[0m ${message}${details.join('')}\n`;
}

/** Errors have no enumerable properties; without this they would be logged as {}. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Error) {
    const { message, stack, cause } = value;
    return { message, code: (value as NodeJS.ErrnoException).code, stack, cause };
  }
  return typeof value === 'bigint' ? String(value) : value;
}
