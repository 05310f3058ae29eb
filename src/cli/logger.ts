import { pino } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * pino, writing one line for each entry: JSON, or a readable form for a terminal. Without its transports, which would
 * start a thread (docs/adr/0005).
 */
export function createLogger(options: {
  level: LogLevel;
  clock: Clock;
  /** Given whole lines. */
  write: (line: string) => void;
  readable: boolean;
}): Logger {
  const { level, clock, write, readable } = options;
  return pino(
    {
      level,
      // Neither pid nor host name: the journal or the container engine adds them where they are wanted.
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }), log: plainFields },
    },
    { write: readable ? (line) => write(readableLine(line)) : write },
  );
}

/** Errors have no enumerable properties and JSON has no bigint: both would be lost, or throw. */
function plainFields(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plain(value)]));
}

function plain(value: unknown): unknown {
  if (value instanceof Error) {
    const { message, stack, cause } = value;
    return {
      message,
      code: (value as NodeJS.ErrnoException).code,
      stack,
      ...(cause === undefined ? {} : { cause: plain(cause) }),
    };
  }
  return typeof value === 'bigint' ? String(value) : value;
}

const COLOUR: Record<string, string> = { debug: '\x1b[90m', info: '', warn: '\x1b[33m', error: '\x1b[31m' };

function readableLine(line: string): string {
  const { time, level, message, ...fields } = JSON.parse(line) as {
    time: string;
    level: string;
    message: string;
  } & Record<string, unknown>;
  const details = Object.entries(fields).map(([key, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    // Quoted when not plain: what a pod or a client sent must not be able to forge a line or steer the terminal.
    return ` \x1b[90m${key}=\x1b[0m${/^[\x21-\x7e]*$/.test(text) ? text : JSON.stringify(text)}`;
  });
  return `${time.slice(11, 19)} ${COLOUR[level] ?? ''}${level.toUpperCase().padEnd(5)}\x1b[0m ${message}${details.join('')}\n`;
}
