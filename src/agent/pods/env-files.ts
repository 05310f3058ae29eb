import { constants } from 'node:fs';
import { open, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Pod } from '../../api/types/core-v1.ts';
import { ContainerConfigError } from '../containers/config-error.ts';
import { parseEnvFile } from '../containers/env-file.ts';
import type { FileReference, FileVariables } from '../containers/environment.ts';
import type { PodServices } from './services.ts';

/** Kubernetes' own bound. */
const LONGEST_FILE = 64 * 1024;

/** Reads the files of the pod's volumes that a container's environment refers to. Throws ContainerConfigError. */
export async function readEnvFiles(
  pod: Pod,
  container: Container,
  { volumes }: Pick<PodServices, 'volumes'>,
): Promise<FileVariables> {
  const files = new Map<string, Map<string, string> | undefined>();
  for (const { valueFrom } of container.env ?? []) {
    const ref = valueFrom?.fileKeyRef;
    if (!ref || files.has(keyOf(ref))) continue;
    const mount = { name: ref.volumeName, mountPath: '/' };
    const [place] = await volumes.mounts(pod, { name: container.name, volumeMounts: [mount] }, new Map());
    if (!place) throw new ContainerConfigError(`volume "${ref.volumeName}" not found`);
    try {
      files.set(keyOf(ref), parseEnvFile(await readBelow(place.hostPath, ref.path)));
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!missing || !ref.optional) {
        throw new ContainerConfigError(
          `couldn't parse env file "${ref.path}" of volume "${ref.volumeName}": ${(error as Error).message}`,
        );
      }
      files.set(keyOf(ref), undefined);
    }
  }
  return (ref) => files.get(keyOf(ref))?.get(ref.key);
}

const keyOf = ({ volumeName, path }: FileReference): string => `${volumeName}/${path}`;

/** Containers write there: what a link of theirs leads out of the volume to is not read. */
async function readBelow(directory: string, path: string): Promise<string> {
  // A pipe would keep the reader waiting.
  const file = await open(join(directory, path), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const opened = await readlink(`/proc/self/fd/${file.fd}`);
    if (!opened.startsWith(`${await realpath(directory)}/`)) throw new Error('the file is not in the volume');
    if (!(await file.stat()).isFile()) throw new Error('not a regular file');
    const { bytesRead, buffer } = await file.read(Buffer.alloc(LONGEST_FILE + 1), 0, LONGEST_FILE + 1, 0);
    if (bytesRead > LONGEST_FILE) throw new Error(`the file is larger than ${LONGEST_FILE} bytes`);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
