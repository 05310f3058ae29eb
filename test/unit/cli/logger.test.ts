import { expect, it } from 'vitest';
import { createLogger, type LogLevel } from '../../../src/cli/logger.ts';
import type { Clock } from '../../../src/lib/clock.ts';

const clock = { now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6) } as Clock;

function capture(level: LogLevel, readable: boolean) {
  const lines: string[] = [];
  return { lines, logger: createLogger({ level, readable, clock, write: (line) => lines.push(line) }) };
}

it('writes JSON lines with bindings, and errors whole', () => {
  const { lines, logger } = capture('info', false);
  const error = Object.assign(new Error('no'), { code: 'ENOENT' });
  logger.child({ part: 'store' }).warn({ error, revision: 5n }, 'failed');
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/\n$/);
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    time: '2026-01-02T03:04:05.006Z',
    level: 'warn',
    message: 'failed',
    part: 'store',
    revision: '5',
    error: { message: 'no', code: 'ENOENT', stack: error.stack },
  });
});

it('leaves out what is below its level', () => {
  const { lines, logger } = capture('warn', false);
  logger.debug({}, 'a');
  logger.info({}, 'b');
  logger.error({}, 'c');
  expect(lines).toHaveLength(1);
});

it('quotes in readable lines what could forge a line or steer the terminal', () => {
  const { lines, logger } = capture('info', true);
  logger.info({ pod: 'web', path: '/a\n03:04:05 INFO  forged\x1b[2J' }, 'request');
  expect(lines[0]?.split('\n')).toHaveLength(2);
  expect(lines[0]).toContain('"/a\\n03:04:05 INFO  forged\\u001b[2J"');
  expect(lines[0]).toContain('web');
});
