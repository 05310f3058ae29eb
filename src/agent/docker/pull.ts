import type { Readable } from 'node:stream';
import type { Clock, Timer } from '../../lib/clock.ts';
import { type PullOptions, type RegistryAuth, RuntimeError } from '../runtime.ts';
import type { DockerAuth } from './client.ts';
import { toRuntimeError } from './errors.ts';

/** A pull that shows no progress this long is given up, and tried again after the back-off. */
export const STALL_MS = 120_000;

/** `name` and `tag` as `POST /images/create` takes them; without a tag Docker would pull every tag there is. */
export function splitReference(reference: string): { name: string; tag: string } {
  const at = reference.indexOf('@');
  if (at >= 0) return { name: reference.slice(0, at), tag: reference.slice(at + 1) };
  const colon = reference.lastIndexOf(':');
  if (colon > reference.lastIndexOf('/')) {
    return { name: reference.slice(0, colon), tag: reference.slice(colon + 1) };
  }
  return { name: reference, tag: 'latest' };
}

/** Reads the progress of a pull to its end. Docker answers 200 first and tells failures in the stream. */
export function followPull(options: {
  clock: Clock;
  stream: Readable;
  reference: string;
  pull: PullOptions;
}): Promise<void> {
  const { clock, stream, reference } = options;
  const { signal, onProgress, stallMs = STALL_MS } = options.pull;
  return new Promise((resolve, reject) => {
    let buffered = '';
    let failure: Error | undefined;
    let timer: Timer | undefined;
    const fail = (error: Error): void => {
      failure ??= error;
      stream.destroy();
    };
    const watch = (): void => {
      timer?.cancel();
      timer = clock.after(stallMs, () => fail(stalled(reference, stallMs)));
    };
    const onAbort = (): void => fail(new RuntimeError('ImagePull', `pull of ${reference} was cancelled`));
    signal?.addEventListener('abort', onAbort, { once: true });
    watch();
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      watch();
      buffered += chunk;
      const lines = buffered.split('\n');
      buffered = lines.pop() ?? '';
      for (const line of lines) {
        const entry = entryOf(line);
        const message = failureIn(entry);
        if (message !== undefined) fail(pullError(message));
        else if (entry) onProgress?.(entry);
      }
    });
    stream.on('error', (error) => {
      failure ??= toRuntimeError(error);
    });
    stream.once('close', () => {
      timer?.cancel();
      signal?.removeEventListener('abort', onAbort);
      const message = failureIn(entryOf(buffered));
      if (message !== undefined) failure ??= pullError(message);
      if (failure) reject(failure);
      else resolve();
    });
    stream.once('end', () => stream.destroy());
  });
}

export function stalled(reference: string, stallMs: number): RuntimeError {
  return new RuntimeError('Timeout', `pull of ${reference} made no progress for ${stallMs / 1000} s`);
}

interface Entry {
  error?: string;
  errorDetail?: { message?: string };
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
}

function entryOf(line: string): Entry | undefined {
  if (line.trim() === '') return undefined;
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}

function failureIn(entry: Entry | undefined): string | undefined {
  return entry?.errorDetail?.message ?? entry?.error;
}

function pullError(message: string): RuntimeError {
  const known = toRuntimeError(new Error(message));
  return known.code === 'Other' ? new RuntimeError('ImagePull', message) : known;
}

/** As the header X-Registry-Auth takes it. */
export function registryAuth({ username, password, serverAddress, identityToken }: RegistryAuth): DockerAuth {
  if (identityToken !== undefined) return { identitytoken: identityToken, serveraddress: serverAddress };
  return { username, password, serveraddress: serverAddress };
}
