import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Refusal } from './explain.ts';

/** Where the server keeps the token that agents join with. */
export const tokenFile = (dataDir: string): string => join(dataDir, 'server', 'token');

/** Throws Refusal when there is none that we may read. */
export function readJoinToken(dataDir: string): string {
  const path = tokenFile(dataDir);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Refusal(
      code === 'EACCES'
        ? `no permission for ${path}: run as the user that the server runs as (sudo)`
        : `there is no token at ${path}: start \`copepod server\` once, or name its data directory with --data-dir`,
    );
  }
}
