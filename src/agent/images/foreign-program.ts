import type { Clock } from '../../lib/clock.ts';
import { logTail } from '../pods/log-tail.ts';
import type { ContainerRuntime } from '../runtime.ts';
import type { ImageEngine } from './engine.ts';
import { programArchitecture } from './platform.ts';

/** Whoever cannot be run does not live. */
const LONGEST_LIFE_MS = 3_000;
/** runc's answers to a failed execve, over its versions. */
const EXIT_CODES: readonly number[] = [1, 126, 127, 255];
const WORDS = /exec format error/i;
const LOG = { lines: 3, bytes: 2048 };
const HEADER_BYTES = 20;

/** What is known of a container that has ended. */
export interface EndedInstance {
  id: string;
  imageId: string;
  exitCode?: number;
  startedAt?: number;
  finishedAt?: number;
  /** The engine's words on a failed start. */
  error?: string;
}

/**
 * The architecture of a container's program when the kernel refused to run it (`exec format error`); undefined when it
 * ended for another reason, or is a script without `#!`, which the kernel refuses in the same words. An image may say
 * one architecture and hold programs of another.
 */
export async function refusedProgram(
  instance: EndedInstance,
  parts: {
    runtime: Pick<ContainerRuntime, 'logs'>;
    engine: Pick<ImageEngine, 'programHead'>;
    clock: Clock;
  },
): Promise<string | undefined> {
  const { exitCode = 0, startedAt, finishedAt, error } = instance;
  if (error === undefined || !WORDS.test(error)) {
    if (!EXIT_CODES.includes(exitCode) || startedAt === undefined || finishedAt === undefined)
      return undefined;
    if (Math.abs(finishedAt - startedAt) > LONGEST_LIFE_MS) return undefined;
    if (!WORDS.test(await logTail(instance.id, LOG, parts))) return undefined;
  }
  const head = await parts.engine.programHead(instance.id, HEADER_BYTES).catch(() => undefined);
  return head && programArchitecture(head);
}
