import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planUserspace } from '../../src/agent/network/userspace/plan.ts';
import { UserspaceProxy } from '../../src/agent/network/userspace/proxy.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { SystemRandom } from '../../src/lib/random.ts';
import type { SharedEndpoint, SharedService } from '../../src/wire/messages.ts';
import { freePort } from '../support/cluster.ts';
import { FakeNetCommands, failing } from '../support/network/fake-commands.ts';
import { waitFor } from '../support/wait.ts';

// Real sockets on the loopback, all of whose addresses a process may listen at: it needs no device for them.

const endpoint = (ip: string, port: number, fields: Partial<SharedEndpoint> = {}): SharedEndpoint => ({
  ip,
  port,
  node: 'one',
  ...fields,
});
const service = (fields: Partial<SharedService> & Pick<SharedService, 'ports'>): SharedService => ({
  v: 1,
  namespace: 'default',
  name: 'web',
  type: 'ClusterIP',
  clusterIPs: ['127.43.0.5'],
  ...fields,
});
const BASE = {
  hostPorts: [],
  loopback: [],
  vantage: { nodeName: 'one' },
  others: new Set(['192.168.7.2']),
};

describe('planUserspace', () => {
  const plan = (services: SharedService[], more: object = {}) =>
    planUserspace({ ...BASE, own: new Set(['192.168.7.1']), services, ...more });

  it('listens at every address of a Service that is not another board’s', () => {
    const { fronts, addresses, unserved } = plan([
      service({
        clusterIPs: ['10.43.0.5'],
        externalIPs: ['203.0.113.9', '192.168.7.2'],
        balancerIPs: ['192.168.7.1', '192.168.7.2'],
        sourceRanges: ['10.0.0.0/8'],
        sessionAffinitySeconds: 60,
        ports: [
          { name: 'a', protocol: 'TCP', port: 80, nodePort: 30080, endpoints: [endpoint('10.42.0.2', 8080)] },
          { name: 'b', protocol: 'SCTP', port: 80, endpoints: [endpoint('10.42.0.2', 8080)] },
          { name: 'c', protocol: 'UDP', port: 53, endpoints: [] },
        ],
      }),
    ]);
    expect(fronts.map(({ key }) => key)).toEqual([
      'TCP 10.43.0.5:80',
      'TCP 203.0.113.9:80',
      'TCP 192.168.7.1:80',
      'TCP 0.0.0.0:30080',
    ]);
    expect(fronts.map(({ sources }) => sources)).toEqual([undefined, undefined, ['10.0.0.0/8'], undefined]);
    expect(fronts[0]).toMatchObject({ affinitySeconds: 60, targets: [{ ip: '10.42.0.2', port: 8080 }] });
    expect(addresses).toEqual(['10.43.0.5', '203.0.113.9']);
    expect(unserved).toEqual(['Service default/web: SCTP']);
  });

  it('serves hostPorts and what the board’s own loopback answers for', () => {
    const { fronts } = plan([], {
      hostPorts: [{ ip: '10.42.0.9', ports: [{ hostPort: 8080, containerPort: 80, protocol: 'TCP' }] }],
      loopback: [{ address: '10.43.0.10', protocol: 'udp', port: 53, to: 10_053 }],
    });
    expect(fronts).toMatchObject([
      { key: 'UDP 10.43.0.10:53', targets: [{ ip: '127.0.0.1', port: 10_053 }] },
      { key: 'TCP 0.0.0.0:8080', targets: [{ ip: '10.42.0.9', port: 80 }] },
    ]);
  });

  it('obeys the traffic policies', () => {
    const ports = [
      {
        name: '',
        protocol: 'TCP' as const,
        port: 80,
        nodePort: 30080,
        endpoints: [endpoint('10.42.0.2', 80), endpoint('10.42.1.2', 80, { node: 'two' })],
      },
    ];
    const local = service({ externalTrafficPolicy: 'Local', ports });
    expect(plan([local]).fronts.map(({ targets }) => targets.length)).toEqual([2, 1]);
    const inner = service({ internalTrafficPolicy: 'Local', ports });
    expect(plan([inner]).fronts.map(({ targets }) => targets.length)).toEqual([1, 2]);
  });
});

describe('the userspace proxy', () => {
  const servers: (Server | UdpSocket)[] = [];
  let commands: FakeNetCommands;
  let proxy: UserspaceProxy;

  /** An endpoint that says its name, echoes, and ends when its client has ended. */
  const backend = async (name: string): Promise<number> => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.write(`${name}:`);
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
    return (server.address() as { port: number }).port;
  };
  const udpBackend = async (name: string): Promise<number> => {
    const socket = createSocket('udp4');
    socket.on('message', (message, peer) => socket.send(`${name}:${message}`, peer.port, peer.address));
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    servers.push(socket);
    return socket.address().port;
  };
  const ask = (port: number, text = 'hello', host = '127.43.0.5'): Promise<string> =>
    new Promise((resolve, reject) => {
      let answer = '';
      const socket = connect({ port, host, allowHalfOpen: true });
      socket.on('data', (chunk) => {
        answer += chunk;
      });
      socket.on('end', () => resolve(answer));
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('closed')));
      // The end of one direction: the answer has to come all the same.
      socket.end(text);
    });
  const serve = async (...services: SharedService[]): Promise<void> => {
    proxy.apply({ ...BASE, services });
    await proxy.settled();
  };
  const tcpService = (port: number, targets: number[], fields: Partial<SharedService> = {}): SharedService =>
    service({
      ...fields,
      ports: [
        {
          name: '',
          protocol: 'TCP',
          port,
          endpoints: targets.map((target) => endpoint('127.0.0.1', target)),
        },
      ],
    });

  let unserved: string[] = [];
  beforeEach(() => {
    unserved = [];
    commands = new FakeNetCommands().on('ip', '').on('ip -json', '[]');
    proxy = new UserspaceProxy({
      commands,
      clock: new SystemClock(),
      random: new SystemRandom(),
      logger: silentLogger,
      mostConnections: 4,
      onUnserved: (what, why) => unserved.push(`${what}: ${why}`),
    });
  });
  afterEach(async () => {
    await proxy.stop();
    for (const server of servers.splice(0)) server.close();
  });

  it('joins clients with endpoints, both directions to their ends, and spreads them', async () => {
    const port = await freePort();
    await serve(tcpService(port, [await backend('a'), await backend('b')]));
    const answers = new Set<string>();
    await waitFor('both endpoints to be chosen', async () => {
      answers.add(await ask(port, 'x'.repeat(100_000)));
      return answers.size === 2;
    });
    expect([...answers].map((answer) => [answer[0], answer.length])).toEqual(
      expect.arrayContaining([
        ['a', 100_002],
        ['b', 100_002],
      ]),
    );
    expect(commands.take()).toContain(
      'ip -batch -\nlink add copepod-svc type dummy\nlink set copepod-svc up',
    );
  });

  it('says once that another program has a port', async () => {
    const taken = await freePort();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(taken, '127.43.0.5', resolve));
    servers.push(other);
    const target = await backend('a');
    await serve(tcpService(taken, [target]));
    await serve(tcpService(taken, [target]));
    expect(unserved).toEqual([expect.stringMatching(new RegExp(`${taken}.*EADDRINUSE`))]);
  });

  it('passes over an endpoint that does not answer', async () => {
    const [port, dead] = [await freePort(), await freePort()];
    await serve(tcpService(port, [dead, await backend('a')]));
    for (let turn = 0; turn < 8; turn += 1) expect(await ask(port)).toBe('a:hello');
    await serve(tcpService(port, [dead]));
    await expect(ask(port)).rejects.toThrow();
  });

  it('keeps a client with its endpoint, until that is gone', async () => {
    const port = await freePort();
    const [a, b] = [await backend('a'), await backend('b')];
    const sticky = { sessionAffinitySeconds: 60 };
    await serve(tcpService(port, [a, b], sticky));
    const first = await ask(port);
    for (let turn = 0; turn < 10; turn += 1) expect(await ask(port)).toBe(first);
    const other = first.startsWith('a') ? b : a;
    await serve(tcpService(port, [other], sticky));
    expect(await ask(port)).not.toBe(first);
  });

  it('closes what is gone, keeps connections that stand, and refuses where nobody is', async () => {
    const port = await freePort();
    await serve(tcpService(port, [await backend('a')]));
    const standing = connect({ port, host: '127.43.0.5' });
    await new Promise((resolve) => standing.once('data', resolve));
    await serve();
    await expect(ask(port)).rejects.toThrow(/ECONNREFUSED/);
    const echoed = new Promise((resolve) => standing.once('data', (chunk) => resolve(String(chunk))));
    standing.write('still');
    expect(await echoed).toBe('still');
    standing.destroy();
  });

  it('takes no more connections than it may, and takes others when some have ended', async () => {
    const port = await freePort();
    await serve(tcpService(port, [await backend('a')]));
    const held = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = connect({ port, host: '127.43.0.5' });
        await new Promise((resolve) => socket.once('data', resolve));
        return socket;
      }),
    );
    await expect(ask(port)).rejects.toThrow();
    for (const socket of held) socket.destroy();
    await waitFor('a free place', async () => (await ask(port).catch(() => '')) === 'a:hello');
  });

  it('lets only those in that the Service names', async () => {
    const port = await freePort();
    const target = await backend('a');
    const guarded = (sourceRanges: string[]): SharedService =>
      tcpService(port, [target], { clusterIPs: [], balancerIPs: ['127.43.0.5'], sourceRanges });
    await serve(guarded(['10.0.0.0/8']));
    await expect(ask(port)).rejects.toThrow();
    await serve(guarded(['10.0.0.0/8', '0.0.0.0/0']));
    expect(await ask(port)).toBe('a:hello');
  });

  it('carries datagrams there and back, each client by itself, and leaves an endpoint that is gone', async () => {
    const port = await freePort();
    const [a, b] = [await udpBackend('a'), await udpBackend('b')];
    const of = (target: number): SharedService =>
      service({ ports: [{ name: '', protocol: 'UDP', port, endpoints: [endpoint('127.0.0.1', target)] }] });
    await serve(of(a));
    const clients = [createSocket('udp4'), createSocket('udp4')];
    servers.push(...clients);
    const say = (client: UdpSocket, text: string): Promise<string> =>
      new Promise((resolve) => {
        client.once('message', (answer) => resolve(String(answer)));
        client.send(text, port, '127.43.0.5');
      });
    const [one, two] = clients as [UdpSocket, UdpSocket];
    expect(await Promise.all([say(one, '1'), say(two, '2')])).toEqual(['a:1', 'a:2']);
    await serve(of(b));
    expect(await say(one, '3')).toBe('b:3');
  });

  it('holds the Services’ addresses on a device of its own, or on the loopback where there are no dummies', async () => {
    const held = (name: string, label?: string) =>
      JSON.stringify([
        {
          ifname: name,
          flags: ['UP'],
          addr_info: [
            { family: 'inet', local: '10.43.0.5', prefixlen: 32, ...(label ? { label } : {}) },
            ...(label ? [{ family: 'inet', local: '127.0.0.1', prefixlen: 8, label: 'lo' }] : []),
          ],
        },
      ]);
    const batches = (): string[] => commands.take().filter((line) => line.startsWith('ip -batch'));
    commands.on('ip -json', held('copepod-svc'));
    await serve(tcpService(await freePort(), [], { clusterIPs: ['10.43.0.6'] }));
    // Also for a Service without endpoints: who holds the address refuses at once.
    expect(batches()).toEqual([
      'ip -batch -\naddr add 10.43.0.6/32 dev copepod-svc\naddr del 10.43.0.5/32 dev copepod-svc',
    ]);
    commands.on('ip -json', held('lo', 'lo:copepod')).on('ip -batch', () => {
      if (commands.log.at(-1)?.includes('type dummy')) throw failing('ip', 'Unknown device type.');
      return '';
    });
    await serve();
    expect(batches().at(-1)).toBe('ip -batch -\naddr del 10.43.0.5/32 dev lo');
  });
});
