// From `create pod` to Ready, image present, against plain Docker calls (create and start of a sandbox and a container)
// in the same engine and the same run, as root: `node bench/pods.ts [--json FILE]`.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BoardNetwork } from '../test/support/boards.ts';
import { Cluster } from '../test/support/cluster.ts';

const network = new BoardNetwork();
await network.start();
try {
  const board = await network.board('board');
  const cluster = await Cluster.start({ board });
  try {
    // What measures runs on the board too: its API and its engine are not reachable from outside.
    const script = fileURLToPath(new URL('pods-client.ts', import.meta.url));
    const [command = '', ...rest] = [
      ...board.enter,
      process.execPath,
      script,
      cluster.kubeconfig,
      board.docker.socket,
      ...process.argv.slice(2),
    ];
    const child = spawn(command, rest, { stdio: 'inherit' });
    const code = await new Promise((resolve) => child.on('exit', resolve));
    if (code !== 0) throw new Error(`the measuring process ended with ${code}\n${cluster.process.logTail()}`);
  } finally {
    await cluster.dispose();
  }
} finally {
  await network.stop();
}
