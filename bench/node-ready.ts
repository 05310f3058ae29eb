// The waiting half of bench/idle.ts, run on the board: ends when the node is Ready and was heard after the start of this
// script, and prints the milliseconds since 1970 at which it was. Arguments: a kubeconfig and the node's name.
import { setTimeout as delay } from 'node:timers/promises';
import { connect, nodeReadySince, readKubeconfig } from '../scripts/lib/kube.mjs';

const POLL_MS = 10;

const [kubeconfig = '', node = ''] = process.argv.slice(2);
const since = Date.now();
const client = connect(readKubeconfig(kubeconfig));
process.stdout.write('waiting\n');
// Refused connections are a server that does not listen yet.
while (!(await nodeReadySince(client, node, since).catch(() => false))) await delay(POLL_MS);
process.stdout.write(`${Date.now()}\n`);
process.exit();
