// The npm packages: are they what the lock file says? If not, `npm ci`.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './bundle.mjs';

/** Compares what is installed with the lock file, package by package. */
export function dependenciesAreInstalled() {
  const installed = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) return false;
  const have = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const want = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(want).every(([path, { version, optional, link }]) => {
    if (path === '' || link) return true;
    return have[path] ? have[path].version === version : optional === true;
  });
}

/** Installs the packages unless they are there. Exits with npm's code when it fails. */
export function ensureDependencies(say) {
  if (dependenciesAreInstalled()) return;
  // npm ci empties the folder before it fills it; through a link that would be somebody else's.
  const folder = join(root, 'node_modules');
  if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) {
    say(
      `node_modules is a link to ${realpathSync(folder)} and does not fit package-lock.json: remove the link first`,
    );
    process.exit(1);
  }
  say('installing the npm packages (npm ci)');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) {
    say('npm ci failed: see above');
    process.exit(status ?? 1);
  }
}

/** The Node that the project pins; on an architecture that npm has none for, the one that runs us. */
export function pinnedNode() {
  const pinned = join(root, 'node_modules/.bin/node');
  return existsSync(pinned) ? pinned : process.execPath;
}
