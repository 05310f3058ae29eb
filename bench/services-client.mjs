// The clients of bench/services.ts: argv is ADDRESS:PORT of two ways, connections of a block, pairs of blocks, and how many
// at once. The ways take turns in short blocks, in the order A B B A, so that whatever else the machine does meets both
// sides of a pair: a pair's ratio is fair where absolute times are not. Prints JSON: for each way and block the median
// latency of its connections (us, to the first byte of the answer) and the seconds that it took.
import { connect } from 'node:net';

const [ways = '', size = '', pairs = '', atOnce = ''] = process.argv.slice(2);
const targets = ways.split(',').map((way) => {
  const [host, port] = way.split(':');
  return { host, port: Number(port), blocks: [] };
});

const ask = (target, latencies) =>
  new Promise((resolve, reject) => {
    const begun = performance.now();
    const socket = connect(target.port, target.host);
    socket.once('data', () => latencies.push((performance.now() - begun) * 1000));
    socket.once('close', resolve);
    socket.once('error', reject);
  });

async function block(target) {
  const latencies = [];
  let left = Number(size);
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: Number(atOnce) }, async () => {
      while (left-- > 0) await ask(target, latencies);
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  latencies.sort((a, b) => a - b);
  return { seconds, latency: latencies[Math.floor(latencies.length / 2)] };
}

// The first blocks of each warm up and do not count.
for (const target of [...targets, ...targets]) await block(target);
for (let turn = 0; turn < Number(pairs); turn += 1) {
  const order = turn % 2 === 0 ? targets : [...targets].reverse();
  for (const target of order) target.blocks.push(await block(target));
}
process.stdout.write(JSON.stringify(targets));
