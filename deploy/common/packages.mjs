// Fetches a package that npm itself would not install here, because it is for another architecture.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './cache.mjs';

/** Unpacks `name@version` once and returns the folder. The archive must have exactly this integrity (sha512-…). */
export function unpackedPackage({ name, version, integrity }) {
  const cache = cacheFolder('npm');
  const target = join(cache, `${name.replace('/', '-')}-${version}`);
  if (existsSync(target)) return target;
  const work = mkdtempSync(join(cache, 'work-'));
  try {
    console.log(`fetching ${name} ${version} from the npm registry`);
    execFileSync('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', work], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 600_000,
    });
    const archive = join(work, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
    const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (found !== integrity) {
      throw new Error(`${name}@${version}: the registry gave ${found}, expected ${integrity}`);
    }
    const unpacked = join(work, 'unpacked');
    mkdirSync(unpacked);
    execFileSync('tar', ['-xzf', archive, '-C', unpacked, '--strip-components=1']);
    // Complete or not at all: another build may look for it at the same time.
    if (!existsSync(target)) renameSync(unpacked, target);
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
