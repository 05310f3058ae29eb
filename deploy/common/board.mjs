// The folder for one kind of board: the bundle (the same for all), Node and the native part for its architecture.
import { chmodSync, copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Writes `folder` (emptied first): everything of `dist` but its native part, `node`, `better_sqlite3.node` and the licence
 * of Node. `dist/copepod`, the launcher, takes the Node that lies beside it.
 */
export function writeBoard({ dist, folder, node, addon }) {
  rmSync(folder, { recursive: true, force: true });
  cpSync(dist, folder, {
    recursive: true,
    filter: (source) => !source.endsWith('.node') && !source.endsWith('.digest'),
  });
  copyFileSync(join(node, 'bin/node'), join(folder, 'node'));
  chmodSync(join(folder, 'node'), 0o755);
  copyFileSync(join(node, 'LICENSE'), join(folder, 'LICENSE.node.txt'));
  copyFileSync(addon, join(folder, 'better_sqlite3.node'));
  // Node 20 does not recognise modules by their syntax, and on the board no package.json of ours lies above.
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}\n');
}

/** e_machine of an ELF file, so that a wrong architecture fails in the build and not on the board. */
export function machineOf(file) {
  const head = readFileSync(file).subarray(0, 20);
  if (head.readUInt32BE(0) !== 0x7f454c46) throw new Error(`${file} is not an ELF file`);
  return head.readUInt16LE(18);
}

export function assertMachine(file, machine) {
  const found = machineOf(file);
  if (found !== machine) throw new Error(`${file} is for ELF machine ${found}, expected ${machine}`);
}
