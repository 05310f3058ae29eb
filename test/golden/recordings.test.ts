import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadRecordings } from './replay/recording.ts';
import { ReplayServer } from './replay/replay-server.ts';
import { type Outcome, Replayer } from './replay/replayer.ts';

const DIRECTORY = join(import.meta.dirname, 'recordings');
/** What matched when it was last raised. Raise it with every improvement; it never goes down. */
const FLOOR = JSON.parse(readFileSync(join(import.meta.dirname, 'recordings-floor.json'), 'utf8'));

test('recorded exchanges of a Kubernetes API server', { timeout: 300_000 }, async () => {
  // RECORDINGS=16 replays one file and prints every difference.
  const only = process.env.RECORDINGS;
  const recordings = loadRecordings(DIRECTORY).filter(({ file }) => !only || file.startsWith(only));
  const server = await ReplayServer.start();
  const outcomes: Outcome[] = [];
  try {
    const replayer = new Replayer(server.api.client(), server.clock);
    for (const recording of recordings) outcomes.push(...(await replayer.replay(recording)));
  } finally {
    await server.stop();
  }
  const { matched, messages } = report(outcomes, Boolean(only));
  if (only) return;
  expect(outcomes.length).toBe(790);
  expect(matched).toBeGreaterThanOrEqual(FLOOR.matched);
  expect(messages).toBeGreaterThanOrEqual(FLOOR.messages);
});

function report(outcomes: readonly Outcome[], details: boolean): { matched: number; messages: number } {
  const count = (list: readonly Outcome[]) => ({
    all: list.length,
    matched: list.filter(({ matched }) => matched).length,
    withMessage: list.filter(({ message }) => message !== undefined).length,
    messages: list.filter(({ message }) => message).length,
  });
  const lines: string[] = [];
  for (const file of new Set(outcomes.map((outcome) => outcome.file))) {
    const own = outcomes.filter((outcome) => outcome.file === file);
    const { all, matched, withMessage, messages } = count(own);
    lines.push(`  ${file.padEnd(32)} ${matched}/${all}  messages ${messages}/${withMessage}`);
    if (!details) continue;
    for (const { index, request, matched: good, differences, message } of own) {
      if (!good)
        lines.push(`    ${index} ${request}`, ...differences.slice(0, 6).map((text) => `        ${text}`));
      else if (message === false) lines.push(`    ${index} ${request}: message differs`);
    }
  }
  const total = count(outcomes);
  lines.push(
    `recordings: matched ${total.matched} of ${total.all}, messages ${total.messages} of ${total.withMessage}`,
  );
  console.log(lines.join('\n'));
  return total;
}
