// npm run cleanup [-- --yes] [--data-dir DIR]
//
// `copepod cleanup` with the engine that `npm start` uses on this machine: a private one is started for it if it has to be,
// and is stopped in the end.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { root } from './lib/bundle.mjs';
import { pinnedNode } from './lib/dependencies.mjs';
import { engineLayout, enginePid, startEngine, stopEngine } from './lib/private-engine.mjs';

const say = (line) => console.log(`copepod: ${line}`);
const flags = process.argv.slice(2);
const dataDir = flagValue('--data-dir') ?? '/var/lib/copepod';
const layout = engineLayout(dataDir.replace(/(.)\/+$/, '$1'));
const own = existsSync(layout.dataRoot) && flagValue('--docker-host') === undefined;
const runs = enginePid(layout) !== undefined;
const remove = flags.includes('--yes');

if (own && !runs) say('starting the private Docker Engine, to see its containers');
if (own) await startEngine(layout);
const engine = own ? ['--docker-host', `unix://${layout.socket}`] : [];
const { status } = spawnSync(pinnedNode(), ['dist/copepod.js', 'cleanup', ...flags, ...engine], {
  cwd: root,
  stdio: 'inherit',
});
if (own && status === 0 && (remove || !runs)) {
  await stopEngine(layout);
  say('stopped the private Docker Engine');
}
if (remove && status === 0) say(`what is left is the cluster itself: rm -r ${dataDir}`);
process.exitCode = status ?? 1;

function flagValue(name) {
  const index = flags.findIndex((flag) => flag === name || flag.startsWith(`${name}=`));
  return index < 0 ? undefined : (flags[index].split('=')[1] ?? flags[index + 1]);
}
