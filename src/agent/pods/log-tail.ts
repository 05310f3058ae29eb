import type { Clock } from '../../lib/clock.ts';
import type { ContainerRuntime } from '../runtime.ts';

const TIMEOUT_MS = 2_000;

/** The end of a container's output; empty when the engine has none, or does not give it in time. */
export async function logTail(
  id: string,
  bounds: { lines: number; bytes: number },
  { runtime, clock }: { runtime: Pick<ContainerRuntime, 'logs'>; clock: Clock },
): Promise<string> {
  const chunks: Buffer[] = [];
  const keep = (chunk: Buffer): void => void chunks.push(Buffer.from(chunk));
  const abort = new AbortController();
  const timer = clock.after(TIMEOUT_MS, () => abort.abort(new Error('the log did not come in time')));
  try {
    const options = { follow: false, timestamps: false, tailLines: bounds.lines };
    await runtime.logs(id, options, { stdout: keep, stderr: keep }, abort.signal);
  } catch {
    // The engine has no log any more: then there is nothing to say.
  } finally {
    timer.cancel();
  }
  const log = Buffer.concat(chunks);
  return log.subarray(Math.max(0, log.length - bounds.bytes)).toString('utf8');
}
