import { LABEL } from '../names.ts';
import { logTail } from './log-tail.ts';
import type { ObservedInstance } from './observe.ts';
import type { PodServices } from './services.ts';

/** FallbackToLogsOnError: as much of the log's end as the kubelet takes. */
const LOG_LINES = 80;
const LOG_BYTES = 2048;

/** What an ended instance left to say: its termination log or, where its policy says so, the end of its output. */
export async function lastWords(
  podUid: string,
  instance: ObservedInstance,
  { files, runtime, clock }: Pick<PodServices, 'files' | 'runtime' | 'clock'>,
): Promise<string> {
  const message = await files.readTerminationLog(podUid, instance.name, instance.attempt);
  const fallback = instance.labels[LABEL.terminationMessagePolicy] === 'FallbackToLogsOnError';
  if (message !== '' || !fallback || (instance.exitCode ?? 0) === 0) return message;
  return await logTail(instance.id, { lines: LOG_LINES, bytes: LOG_BYTES }, { runtime, clock });
}
