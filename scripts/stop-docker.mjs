// npm run stop:docker [-- --data-dir DIR]
//
// Stops the private Docker Engine that `npm start` left running, and the pods in it. Their containers are kept, and
// start again with the next `npm start`.
import { engineLayout, enginePid, stopEngine } from './lib/private-engine.mjs';

const flags = process.argv.slice(2);
const [name, value] = flags[0]?.split('=') ?? ['--data-dir', '/var/lib/copepod'];
const dataDir = value ?? flags[1];
if (name !== '--data-dir' || !dataDir?.startsWith('/')) {
  console.error('usage: npm run stop:docker [-- --data-dir /var/lib/copepod]');
  process.exit(2);
}
const layout = engineLayout(dataDir.replace(/(.)\/+$/, '$1'));
const pid = enginePid(layout);
if (pid === undefined) {
  console.log(`copepod: no private Docker Engine runs for ${dataDir}`);
} else {
  await stopEngine(layout);
  console.log(`copepod: stopped the private Docker Engine (pid ${pid}) and its containers`);
}
