import { writeFileSync } from 'node:fs';
import { test } from 'vitest';
import { loadFacts } from './cluster.ts';
import { runSeed } from './run.ts';

test('one', async () => {
  const facts = await loadFacts();
  const first = Number(process.env.FROM ?? 1),
    n = Number(process.env.N ?? 1);
  const only = process.env.ONLY?.split(',');
  for (let s = first; s < first + n; s++) {
    const t = performance.now();
    const o = await runSeed({ seed: String(s), facts, ...(only ? { only } : {}) });
    console.log(
      s,
      o.violations.length ? 'FAIL' : 'ok',
      Math.round(performance.now() - t) + 'ms',
      Math.round(o.virtualMs / 1000) + 'vs healed',
      Math.round(o.healedMs / 1000),
      'acks',
      o.acknowledged,
      o.refused, 'timers', o.timers,
      o.digest.slice(0, 8),
    );
    if (o.violations.length && process.env.STOP) {
      console.log(o.violations.slice(0, 3).join('\n'));
      break;
    }
    if (o.violations.length) {
      console.log(o.violations.slice(0, 6).join('\n'));
      writeFileSync('/tmp/sim/trace-' + s + '.txt', o.trace);
    }
  }
});
