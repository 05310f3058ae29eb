import { createSocket, type Socket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeReply } from '../../src/agent/dns/encode.ts';
import { type DnsRecord, parseQuery, type Query, RCODE, TYPE, walk } from '../../src/agent/dns/message.ts';
import { DnsServer } from '../../src/agent/dns/server.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { SystemRandom } from '../../src/lib/random.ts';
import type { ClusterInfo } from '../../src/wire/messages.ts';
import { freePort } from '../support/cluster.ts';
import { CLUSTER, query, sharedService } from '../support/dns.ts';

// Real sockets on the loopback; most questions are put by c-ares, which knows nothing of our encoder.

/** An upstream name server that answers from a table, one name at a time. */
class World {
  readonly asked: string[] = [];
  readonly names = new Map<string, { rcode?: number; answers?: DnsRecord[]; authority?: DnsRecord[] }>();
  silent = false;
  private udp: Socket | undefined;
  private tcp: Server | undefined;
  port = 0;

  async start(): Promise<void> {
    this.port = await freePort();
    this.udp = createSocket('udp4');
    this.udp.on('message', (message, peer) => {
      const answer = this.answer(message, 'udp', 512);
      if (answer) this.udp?.send(answer, peer.port, peer.address);
    });
    await new Promise<void>((resolve) => this.udp?.bind(this.port, '127.0.0.1', resolve));
    this.tcp = createServer((socket) => {
      socket.once('data', (data) => {
        const answer = this.answer(data.subarray(2), 'tcp', 65_535);
        if (answer) socket.end(framed(answer));
      });
    });
    await new Promise<void>((resolve) => this.tcp?.listen(this.port, '127.0.0.1', resolve));
  }

  stop(): void {
    this.udp?.close();
    this.tcp?.close();
  }

  private answer(message: Buffer, by: string, limit: number): Buffer | undefined {
    const asked: Query = parseQuery(message);
    this.asked.push(`${by} ${asked.question.name} ${asked.question.type}`);
    if (this.silent) return undefined;
    const {
      rcode = RCODE.ok,
      answers = [],
      authority = [],
    } = this.names.get(asked.question.name) ?? {
      rcode: RCODE.refused,
    };
    const reply = { rcode, authoritative: true, answers, authority, additional: [] };
    return encodeReply(asked, reply, limit);
  }
}

const framed = (message: Buffer): Buffer =>
  Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);

const a = (name: string, address: string, ttl = 300): DnsRecord => ({
  name,
  ttl,
  data: { type: 'A', address },
});

const manyHosts = Array.from({ length: 200 }, (_, index) => ({ ip: `10.42.7.${index}` }));
const services = [
  sharedService({
    name: 'web',
    clusterIPs: ['10.3.0.5'],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, endpoints: [] }],
  }),
  sharedService({ name: 'many', headless: true, hosts: manyHosts }),
  sharedService({ name: 'out', type: 'ExternalName', externalName: 'www.example.com' }),
];

describe('cluster DNS over sockets', () => {
  let directory: string;
  let world: World;
  let server: DnsServer;
  let resolver: Resolver;
  let complete: boolean;

  const tell = (rules: Partial<ClusterInfo> = {}): void =>
    server.update({ ...CLUSTER, upstreamNameservers: [`127.0.0.1:${world.port}`], ...rules }, services);

  beforeEach(async () => {
    world = new World();
    await world.start();
    complete = true;
    directory = mkdtempSync(join(tmpdir(), 'copepod-dns-'));
    const resolvConf = join(directory, 'resolv.conf');
    // The cluster's own address must not be asked, though somebody may have written it there.
    writeFileSync(resolvConf, `nameserver ${CLUSTER.clusterDns}\n`);
    server = new DnsServer({
      clock: new SystemClock(),
      random: new SystemRandom(),
      logger: silentLogger,
      resolvConf,
      complete: () => complete,
      port: 0,
    });
    await server.start();
    tell();
    resolver = new Resolver({ timeout: 2000, tries: 1 });
    resolver.setServers([`127.0.0.1:${server.port}`]);
  });

  afterEach(async () => {
    await server.stop();
    world.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const udp = (message: Buffer): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const socket = createSocket('udp4');
      socket.once('error', reject);
      socket.once('message', (answer) => {
        socket.close();
        resolve(answer);
      });
      socket.send(message, server.port as number, '127.0.0.1');
    });

  it('answers names of the cluster', async () => {
    expect(await resolver.resolve4('web.default.svc.cluster.local', { ttl: true })).toEqual([
      { address: '10.3.0.5', ttl: 5 },
    ]);
    expect(await resolver.resolve4('WEB.Default.svc.Cluster.Local')).toEqual(['10.3.0.5']);
    expect(await resolver.resolveSrv('_http._tcp.web.default.svc.cluster.local')).toMatchObject([
      { name: 'web.default.svc.cluster.local', port: 80, priority: 0, weight: 100 },
    ]);
    expect(await resolver.reverse('10.3.0.5')).toEqual(['web.default.svc.cluster.local']);
    expect(await resolver.resolveTxt('dns-version.cluster.local')).toEqual([['1.1.0']]);
    expect(await resolver.resolveSoa('cluster.local')).toMatchObject({
      nsname: 'ns.dns.cluster.local',
      hostmaster: 'hostmaster.cluster.local',
      minttl: 5,
    });
    await expect(resolver.resolve6('web.default.svc.cluster.local')).rejects.toMatchObject({
      code: 'ENODATA',
    });
    await expect(resolver.resolve4('no.default.svc.cluster.local')).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
    expect(world.asked).toEqual([]);
  });

  it('hears of changes at once', async () => {
    server.update({ ...CLUSTER }, [sharedService({ name: 'web', clusterIPs: ['10.3.0.9'] })]);
    expect(await resolver.resolve4('web.default.svc.cluster.local')).toEqual(['10.3.0.9']);
  });

  it('denies nothing while it does not know all Services', async () => {
    complete = false;
    expect(await resolver.resolve4('web.default.svc.cluster.local')).toEqual(['10.3.0.5']);
    await expect(resolver.resolve4('no.default.svc.cluster.local')).rejects.toMatchObject({
      code: 'ESERVFAIL',
    });
  });

  it('cuts a long answer between records, says so, and gives all of it by TCP or to EDNS as it fits', async () => {
    const plain = walk(await udp(query('many.default.svc.cluster.local', 'A')));
    expect(plain.truncated).toBe(true);
    expect(plain.records.length).toBeGreaterThan(25);
    const message = await udp(query('many.default.svc.cluster.local', 'A', { edns: true }));
    expect(message.length).toBeLessThanOrEqual(1232);
    expect(walk(message).truncated).toBe(true);
    expect(walk(message).records.at(-1)?.type).toBe(TYPE.OPT);
    // c-ares falls back to TCP.
    expect(await resolver.resolve4('many.default.svc.cluster.local')).toHaveLength(200);
  });

  it('gives addresses in changing order', async () => {
    const firsts = new Set<string>();
    for (let turn = 0; turn < 20; turn += 1)
      firsts.add((await resolver.resolve4('many.default.svc.cluster.local'))[0] ?? '');
    expect(firsts.size).toBeGreaterThan(1);
  });

  it('takes several questions on one TCP connection', async () => {
    const answers = await new Promise<Buffer>((resolve, reject) => {
      const socket = connect(server.port as number, '127.0.0.1');
      const chunks: Buffer[] = [];
      socket.on('error', reject);
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('end', () => resolve(Buffer.concat(chunks)));
      const first = framed(query('web.default.svc.cluster.local', 'A', { id: 1 }));
      const second = framed(query('web.default.svc.cluster.local', 'AAAA', { id: 2 }));
      // Split in the middle of the second length.
      socket.write(Buffer.concat([first, second.subarray(0, 1)]));
      socket.end(second.subarray(1));
    });
    const length = answers.readUInt16BE(0);
    expect(answers.readUInt16BE(2)).toBe(1);
    expect(answers.readUInt16BE(length + 4)).toBe(2);
  });

  it('asks the world, keeps what it says, and its denials too', async () => {
    world.names.set('www.example.com', {
      answers: [
        { name: 'www.example.com', ttl: 300, data: { type: 'CNAME', target: 'cdn.example.com' } },
        a('cdn.example.com', '192.0.2.53'),
      ],
    });
    const soa: DnsRecord = {
      name: 'example.com',
      ttl: 60,
      data: {
        type: 'SOA',
        primary: 'ns.example.com',
        mailbox: 'root.example.com',
        serial: 1,
        refresh: 1,
        retry: 1,
        expire: 1,
        minimum: 60,
      },
    };
    world.names.set('none.example.com', { rcode: RCODE.nameError, authority: [soa] });
    for (let turn = 0; turn < 2; turn += 1) {
      expect(await resolver.resolve4('www.example.com')).toEqual(['192.0.2.53']);
      await expect(resolver.resolve4('none.example.com')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    }
    expect(world.asked).toEqual(['udp www.example.com 1', 'udp none.example.com 1']);
    // The letters' case of the question comes back as it was.
    const echoed = await udp(query('WWW.example.com', 'A'));
    expect(echoed.subarray(12, 28).toString('latin1')).toContain('WWW');
    expect(world.asked).toHaveLength(2);
  });

  it('completes an ExternalName with the world’s answer', async () => {
    world.names.set('www.example.com', { answers: [a('www.example.com', '192.0.2.53')] });
    expect(await resolver.resolve4('out.default.svc.cluster.local')).toEqual(['192.0.2.53']);
    expect(await resolver.resolveCname('out.default.svc.cluster.local')).toEqual(['www.example.com']);
  });

  it('fetches by TCP what does not fit into an upstream datagram', async () => {
    const answers = Array.from({ length: 60 }, (_, index) => a('big.example.com', `192.0.2.${index}`));
    world.names.set('big.example.com', { answers });
    expect(await resolver.resolve4('big.example.com')).toHaveLength(60);
    expect(world.asked).toEqual(['udp big.example.com 1', 'tcp big.example.com 1']);
  });

  it('goes on to the next server, and remembers a failure', async () => {
    const dead = await freePort();
    tell({ upstreamNameservers: [`127.0.0.1:${dead}`, `127.0.0.1:${world.port}`] });
    world.names.set('www.example.com', { answers: [a('www.example.com', '192.0.2.1')] });
    expect(await resolver.resolve4('www.example.com')).toEqual(['192.0.2.1']);
    tell({ upstreamNameservers: [`127.0.0.1:${dead}`] });
    const failed = { code: 'ESERVFAIL' };
    await expect(resolver.resolve4('other.example.com')).rejects.toMatchObject(failed);
    tell();
    // For five seconds nobody is asked again.
    await expect(resolver.resolve4('other.example.com')).rejects.toMatchObject(failed);
    expect(world.asked).toEqual(['udp www.example.com 1']);
    expect(await resolver.resolve4('www.example.com')).toEqual(['192.0.2.1']);
  });

  it('asks once for one question, so that a loop ends', async () => {
    // We are our own upstream.
    tell({ upstreamNameservers: [`127.0.0.1:${server.port}`] });
    const slow = new Resolver({ timeout: 6000, tries: 1 });
    slow.setServers([`127.0.0.1:${server.port}`]);
    await expect(slow.resolve4('loop.example.com')).rejects.toMatchObject({ code: 'ESERVFAIL' });
  });

  it('sends stub domains to their own servers', async () => {
    world.names.set('db.corp.example', { answers: [a('db.corp.example', '192.0.2.7')] });
    tell({
      upstreamNameservers: [`127.0.0.1:${await freePort()}`],
      stubDomains: { 'Corp.example': [`127.0.0.1:${world.port}`] },
    });
    expect(await resolver.resolve4('db.corp.example')).toEqual(['192.0.2.7']);
    await expect(resolver.resolve4('db.notcorp.example')).rejects.toMatchObject({ code: 'ESERVFAIL' });
  });

  it('refuses what it does not serve, and what it cannot read', async () => {
    const rcode = (message: Buffer): number => message.readUInt16BE(2) & 15;
    expect(rcode(await udp(query('web.default.svc.cluster.local', 'A', { class: 3 })))).toBe(RCODE.refused);
    const cut = query('web.default.svc.cluster.local', 'A').subarray(0, 20);
    expect(rcode(await udp(cut))).toBe(RCODE.formatError);
    const status = query('web.default.svc.cluster.local', 'A');
    status.writeUInt16BE(0x1000, 2);
    expect(rcode(await udp(status))).toBe(RCODE.notImplemented);
    const newer = query('web.default.svc.cluster.local', 'A', { edns: true });
    newer[newer.length - 5] = 1;
    const answer = await udp(newer);
    // BADVERS is 16: its high bits are in the OPT record.
    expect(answer[walk(answer).records.at(-1)?.ttlAt ?? 0]).toBe(1);
  });
});
