// Services by nftables: `node --expose-gc bench/services.ts [--services 10,100,1000,5000] [--changes N] [--json FILE]`, as
// root. One board in a network namespace, with three pods; each Service has three endpoints. Measured for each number of
// Services: the first write of the table, one Service's change of endpoints (from being told to nft's end), what is sent to
// nft for it, memory of what the agent holds, and connections from a pod through a Service beside direct ones: pairs of short
// blocks that take turns, and the median of the pairs' ratios, with its quartiles.
import { execFile } from 'node:child_process';
import { parseArgs, promisify } from 'node:util';
import type { NetCommand, NetCommands } from '../src/agent/network/commands.ts';
import { createLinuxNetwork } from '../src/agent/network/linux-network.ts';
import type { Pod } from '../src/api/types/core-v1.ts';
import { SystemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/logger.ts';
import type { SharedNode, SharedService } from '../src/wire/messages.ts';
import { cluster } from '../test/support/network/cluster-info.ts';
import { NamespacedCommands, TestLan } from '../test/support/network/namespaces.ts';
import { type Figure, publish } from './report.ts';

const { values: flags } = parseArgs({
  options: {
    services: { type: 'string', default: '10,100,1000,5000' },
    changes: { type: 'string', default: '100' },
    /** Of a block, and pairs of blocks. */
    connections: { type: 'string', default: '100' },
    pairs: { type: 'string' },
    json: { type: 'string' },
  },
});
/** A client has 28,000 ports, each of which rests for a minute. */
const pairs = flags.pairs ?? String(Math.min(60, Math.floor(24_000 / Number(flags.connections))));
const clock = new SystemClock();
const collect = (globalThis as { gc?: () => void }).gc;
if (!collect) throw new Error('node --expose-gc bench/services.ts: memory is measured');

/** Remembers what was given to nft. */
class Recording implements NetCommands {
  readonly scripts: { bytes: number; ms: number }[] = [];
  private readonly commands: NetCommands;

  constructor(commands: NetCommands) {
    this.commands = commands;
  }

  async run(command: NetCommand): Promise<string> {
    const begun = clock.monotonic();
    const output = await this.commands.run(command);
    if (command.file === 'nft' && command.stdin)
      this.scripts.push({ bytes: command.stdin.length, ms: clock.monotonic() - begun });
    return output;
  }

  write(path: string, value: string): Promise<void> {
    return this.commands.write(path, value);
  }

  read(path: string): Promise<string | undefined> {
    return this.commands.read(path);
  }
}

const quantile = (values: readonly number[], share: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
};
/** What the clients tell of one way. */
interface Way {
  blocks: { latency: number; seconds: number }[];
}
const typical = ({ blocks }: Way): number =>
  quantile(
    blocks.map(({ latency }) => latency),
    0.5,
  );
const pairsOf = (one: Way, other: Way, what: 'latency' | 'seconds'): number[] =>
  one.blocks.map((block, index) => block[what] / (other.blocks[index]?.[what] ?? Number.NaN));
const ratios = (name: string, pairs: readonly number[]): Figure[] => [
  { name: `${name}, median of ${pairs.length} pairs`, value: quantile(pairs, 0.5), unit: 'x', budget: 1.1 },
  { name: `${name}, first quartile`, value: quantile(pairs, 0.25), unit: 'x' },
  { name: `${name}, third quartile`, value: quantile(pairs, 0.75), unit: 'x' },
];
const node: SharedNode = { v: 1, name: 'one', internalIP: '192.168.78.1', podCIDR: '10.42.0.0/24' };

/** As the agent gets it: its own strings, parsed from a message. */
function service(index: number, targets: readonly string[]): SharedService {
  const message: SharedService = {
    v: 1,
    namespace: `team-${index % 20}`,
    name: `service-${index}`,
    type: index % 10 === 0 ? 'NodePort' : 'ClusterIP',
    clusterIPs: [`10.43.${1 + (index >> 8)}.${index & 255}`],
    internalTrafficPolicy: 'Cluster',
    ports: [
      {
        name: 'http',
        protocol: 'TCP',
        port: 80,
        ...(index % 10 === 0 && index < 20_000 ? { nodePort: 30_000 + index / 10 } : {}),
        endpoints: targets.map((ip) => ({ ip, port: 80, node: 'one' })),
      },
    ],
  };
  return JSON.parse(JSON.stringify(message)) as SharedService;
}

async function measure(count: number): Promise<Figure[]> {
  const lan = new TestLan(`bsvc${process.pid}`);
  try {
    await lan.start();
    await lan.host('one', '192.168.78.1/24');
    const commands = new Recording(new NamespacedCommands(lan.namespace('one')));
    const board = createLinuxNetwork({ nodeName: 'one', clock, logger: silentLogger, commands });
    await board.proxy.start();
    await board.network.start();
    board.network.update([node], cluster);
    const ips: string[] = [];
    let client = 0;
    for (const name of ['a', 'b', 'c', 'client']) {
      const pid = await lan.pod(name, 80);
      const pod = {
        metadata: { name, namespace: 'default', uid: name },
        spec: { containers: [] },
      } as unknown as Pod;
      const { ips: given } = await board.network.attach(pod, pid);
      if (name === 'client') client = pid;
      else ips.push(given[0] ?? '');
    }
    await board.network.settled();
    commands.scripts.length = 0;

    collect?.();
    const before = process.memoryUsage().heapUsed;
    const services = Array.from({ length: count }, (_, index) => service(index, ips));
    const begun = clock.monotonic();
    board.proxy.apply([...services]);
    await board.network.settled();
    const first = clock.monotonic() - begun;
    const whole = commands.scripts.at(-1)?.bytes ?? 0;
    collect?.();
    const memory = process.memoryUsage().heapUsed - before;

    commands.scripts.length = 0;
    const changes: number[] = [];
    const sizes: number[] = [];
    const own: number[] = [];
    for (let turn = 0; turn < Number(flags.changes); turn += 1) {
      const index = 1 + ((turn * 7919) % Math.max(1, count - 1));
      const fewer = services[index]?.ports[0]?.endpoints.length === 3;
      services[index] = service(index, fewer ? ips.slice(0, 2) : ips);
      const started = clock.monotonic();
      board.proxy.apply([...services]);
      await board.network.settled();
      changes.push(clock.monotonic() - started);
      const script = commands.scripts.at(-1);
      sizes.push(script?.bytes ?? 0);
      own.push((changes.at(-1) ?? 0) - (script?.ms ?? 0));
    }

    // One endpoint, the one that is reached directly too.
    services[0] = service(0, ips.slice(0, 1));
    board.proxy.apply([...services]);
    await board.network.settled();
    const ways = `${ips[0]}:80,10.43.1.0:80`;
    const script = new URL('./services-client.mjs', import.meta.url).pathname;
    const connections = async (atOnce: number): Promise<Way[]> => {
      const clients = [process.execPath, script, ways, flags.connections, pairs, String(atOnce)];
      const { stdout } = await promisify(execFile)('nsenter', ['-t', String(client), '-n', ...clients]);
      return JSON.parse(stdout);
    };
    const [direct, through] = await connections(1);
    const [directMany, throughMany] = await connections(16);
    await board.proxy.stop();
    await board.network.stop();
    if (!direct || !through || !directMany || !throughMany) throw new Error('the clients told nothing');
    const name = (what: string): string => `${count} Services: ${what}`;
    return [
      { name: name('first write'), value: first, unit: 'ms' },
      { name: name('the same, size'), value: whole / 1024, unit: 'KiB' },
      { name: name('one change, p50'), value: quantile(changes, 0.5), unit: 'ms' },
      { name: name('one change, p99'), value: quantile(changes, 0.99), unit: 'ms' },
      { name: name('one change, without nft, p50'), value: quantile(own, 0.5), unit: 'ms' },
      { name: name('one change, size'), value: quantile(sizes, 0.5), unit: 'bytes' },
      { name: name('heap for 1000 Services'), value: (memory / 2 ** 20 / count) * 1000, unit: 'MiB' },
      { name: name('new connection, direct, p50'), value: typical(direct), unit: 'us' },
      { name: name('new connection, Service, p50'), value: typical(through), unit: 'us' },
      ...ratios(name('new connection, Service / direct'), pairsOf(through, direct, 'latency')),
      ...ratios(
        name('as many connections, 16 at once, Service / direct'),
        pairsOf(throughMany, directMany, 'seconds'),
      ),
    ];
  } finally {
    await lan.stop();
  }
}

const figures: Figure[] = [];
for (const count of flags.services.split(',').map(Number)) figures.push(...(await measure(count)));
publish('Services by nftables', figures, clock.now());
process.exit();
