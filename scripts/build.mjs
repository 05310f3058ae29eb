// node scripts/build.mjs           the bundle for this machine: dist/
// node scripts/build.mjs --all     also the boards' folders: deploy/*/build (npm run build)
// --force builds even when nothing changed.
import { chmodSync, copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildBundle, isFresh, markFresh, nativeAddon, root } from './lib/bundle.mjs';
import { AGENT_NODE_OPTIONS, NODE_ENVIRONMENT, NODE_OPTIONS } from './lib/runtime-options.mjs';

const known = new Set(['--all', '--force']);
const args = new Set(process.argv.slice(2));
for (const arg of args) {
  if (!known.has(arg)) {
    console.error(`build: unknown argument ${arg}; known: ${[...known].join(', ')}`);
    process.exit(2);
  }
}

const dist = join(root, 'dist');
if (!args.has('--force') && isFresh(dist)) {
  console.log('dist/ is up to date');
} else {
  const started = performance.now();
  const files = await buildBundle(dist).catch((error) => {
    // esbuild has printed what is wrong where; its stack trace says nothing.
    if (!error.errors) console.error(error.message);
    process.exit(1);
  });
  copyFileSync(nativeAddon(process.arch), join(dist, 'better_sqlite3.node'));
  writeLauncher(dist);
  markFresh(dist);
  report(files, performance.now() - started);
}
if (args.has('--all')) {
  // Each kind of board brings its own build: deploy/<board>/build.mjs exports build({dist}).
  for (const board of readdirSync(join(root, 'deploy')).sort()) {
    const script = join(root, 'deploy', board, 'build.mjs');
    if (!existsSync(script)) continue;
    const { build } = await import(pathToFileURL(script).href);
    await build({ dist });
    console.log(`deploy/${board}/build is built`);
  }
}

/** `dist/copepod`: the program as a command, with the options its memory budget counts on. */
function writeLauncher(folder) {
  const environment = Object.entries(NODE_ENVIRONMENT).map(
    ([name, value]) => `${name}="\${${name}:-${value}}"`,
  );
  const file = join(folder, 'copepod');
  writeFileSync(
    file,
    `#!/bin/sh
# Starts copepod with the Node given as COPEPOD_NODE, the one beside this file, or the one on the PATH.
here=$(dirname "$(readlink -f "$0")")
node=\${COPEPOD_NODE:-$here/node}
[ -x "$node" ] || node=node
export ${environment.join(' ')}
options="${NODE_OPTIONS.join(' ')}"
[ "$1" != agent ] || options="${AGENT_NODE_OPTIONS.join(' ')}"
# shellcheck disable=SC2086
exec "$node" $options "$here/copepod.js" "$@"
`,
  );
  chmodSync(file, 0o755);
}

function report(files, milliseconds) {
  const kilobytes = (bytes) => `${(bytes / 1024).toFixed(0).padStart(7)} kB`;
  const listed = Object.entries(files)
    .filter(([name]) => name !== 'LICENSES.txt')
    .sort((a, b) => b[1] - a[1]);
  for (const [name, bytes] of listed.slice(0, 15)) console.log(`${kilobytes(bytes)}  ${name}`);
  const rest = listed.slice(15);
  if (rest.length > 0) {
    console.log(
      `${kilobytes(rest.reduce((sum, [, bytes]) => sum + bytes, 0))}  ${rest.length} smaller files`,
    );
  }
  const total = listed.reduce((sum, [, bytes]) => sum + bytes, 0);
  console.log(`${kilobytes(total)}  dist/ in ${(milliseconds / 1000).toFixed(1)} s, without the native part`);
}
