// The clients of bench/services.ts: argv is ADDRESS:PORT of each way, connections of a block, blocks, and how many at once.
// Blocks of the ways take turns, so that what else the machine does meets all of them. Prints JSON: for each way the
// latencies of its connections (µs, to the first byte of the answer) and the seconds that its blocks took.
import { connect } from 'node:net';

const [ways = '', size = '', blocks = '', atOnce = ''] = process.argv.slice(2);
const targets = ways.split(',').map((way) => {
  const [host, port] = way.split(':');
  return { host, port: Number(port), latencies: [], seconds: 0 };
});

const ask = (target) =>
  new Promise((resolve, reject) => {
    const begun = performance.now();
    const socket = connect(target.port, target.host);
    socket.once('data', () => target.latencies.push(Math.round((performance.now() - begun) * 1000)));
    socket.once('close', resolve);
    socket.once('error', reject);
  });

async function block(target, count) {
  let left = count;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: Number(atOnce) }, async () => {
      while (left-- > 0) await ask(target);
    }),
  );
  target.seconds += (performance.now() - begun) / 1000;
}

// The first block of each warms up and does not count.
for (const target of targets) {
  await block(target, Number(size));
  target.latencies = [];
  target.seconds = 0;
}
for (let turn = 0; turn < Number(blocks); turn += 1) {
  const order = turn % 2 === 0 ? targets : [...targets].reverse();
  for (const target of order) await block(target, Number(size));
}
process.stdout.write(JSON.stringify(targets));
