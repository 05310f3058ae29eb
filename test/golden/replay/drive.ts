import type { VirtualClock } from '../../support/virtual-clock.ts';

/** Real time after which work that has not ended is taken to wait for the virtual clock. */
const PATIENCE_MS = 25;

/**
 * The promise's outcome, with virtual time passing in steps of `stepMs` whenever nothing happens by itself. Real sockets
 * are in between, so a look at the event loop alone does not tell.
 */
export async function drive<T>(clock: VirtualClock, work: Promise<T>, stepMs = 10): Promise<T> {
  let done = false;
  const ended = work.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  while (!done) {
    let patience: NodeJS.Timeout | undefined;
    const impatient = new Promise<void>((resolve) => {
      patience = setTimeout(resolve, PATIENCE_MS);
    });
    await Promise.race([ended, impatient]);
    clearTimeout(patience);
    if (!done) await clock.advance(stepMs);
  }
  return work;
}
