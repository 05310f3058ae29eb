// What a build for another architecture fetches or compiles is kept between builds and between clones.
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A folder of the user's cache: `$COPEPOD_CACHE`, else `$XDG_CACHE_HOME/copepod`, else `~/.cache/copepod`. */
export function cacheFolder(name) {
  const base =
    process.env.COPEPOD_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'copepod');
  const folder = join(base, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}
