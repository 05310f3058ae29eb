import { type CheckTarget, checks, type Finding } from './checks.ts';
import type { Machine } from './machine.ts';

/** Runs every check and writes its line; true when nothing is missing. */
export async function checkMachine(
  machine: Machine,
  target: CheckTarget,
  write: (text: string) => void,
): Promise<boolean> {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const count: Record<Finding['state'], number> = { ok: 0, warning: 0, missing: 0 };
  for (const check of checks) {
    const { state, detail, mend } = await check.run(machine, target);
    count[state] += 1;
    write(`${state.padEnd(7)}  ${check.name.padEnd(width)}  ${detail}\n`);
    if (mend) write(`${' '.repeat(9)}${' '.repeat(width)}  -> ${mend}\n`);
  }
  write(
    count.missing > 0
      ? `\n${count.missing} missing, ${count.warning} to look at: copepod cannot run yet.\n`
      : `\nNothing is missing${count.warning > 0 ? `, ${count.warning} to look at` : ''}.\n`,
  );
  return count.missing === 0;
}
