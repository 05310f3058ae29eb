import { LABEL } from '../names.ts';
import type { ObservedInstance } from './observe.ts';
import type { PodServices } from './services.ts';

/** FallbackToLogsOnError: as much of the log's end as the kubelet takes. */
const LOG_LINES = 80;
const LOG_BYTES = 2048;
const LOG_TIMEOUT_MS = 2_000;

/** What an ended instance left to say: its termination log or, where its policy says so, the end of its output. */
export async function lastWords(
  podUid: string,
  instance: ObservedInstance,
  { files, runtime, clock }: Pick<PodServices, 'files' | 'runtime' | 'clock'>,
): Promise<string> {
  const message = await files.readTerminationLog(podUid, instance.name, instance.attempt);
  const fallback = instance.labels[LABEL.terminationMessagePolicy] === 'FallbackToLogsOnError';
  if (message !== '' || !fallback || (instance.exitCode ?? 0) === 0) return message;
  const chunks: Buffer[] = [];
  const keep = (chunk: Buffer): void => void chunks.push(Buffer.from(chunk));
  const abort = new AbortController();
  const timer = clock.after(LOG_TIMEOUT_MS, () => abort.abort(new Error('the log did not come in time')));
  try {
    await runtime.logs(
      instance.id,
      { follow: false, timestamps: false, tailLines: LOG_LINES },
      { stdout: keep, stderr: keep },
      abort.signal,
    );
  } catch {
    // The engine has no log any more: then there is nothing to say.
  } finally {
    timer.cancel();
  }
  const log = Buffer.concat(chunks);
  return log.subarray(Math.max(0, log.length - LOG_BYTES)).toString('utf8');
}
