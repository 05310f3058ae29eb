/** Thrown by a condition: it cannot come true any more, waiting on is of no use. */
export class InVain extends Error {}

/** Polls until `condition` gives something truthy and resolves to it; rejects, saying what was awaited, after the deadline. */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  options: { timeoutMs?: number; intervalMs?: number; details?: () => string } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const { timeoutMs = 30_000, intervalMs = 50, details } = options;
  const deadline = performance.now() + timeoutMs;
  let failure: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as NonNullable<Exclude<T, false>>;
      failure = undefined;
    } catch (error) {
      if (error instanceof InVain) throw new Error(`waited for ${what} in vain: ${error.message}`);
      failure = error;
    }
    if (performance.now() > deadline) {
      const reason = failure instanceof Error ? `: ${failure.message}` : '';
      const more = details ? `\n${details()}` : '';
      throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}${reason}${more}`);
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}

/** Lets real time pass. For faults that have to strike at a random moment only: to await something, use waitFor. */
export function untilRandomMoment(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
