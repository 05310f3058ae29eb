import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApiTokenSource } from '../../../src/agent/api-client.ts';
import { isRenewalDue, Joiner, JoinRefused } from '../../../src/agent/join.ts';
import type { StatusError } from '../../../src/api/errors.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { type Logger, silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import { MqttUpgrade } from '../../../src/server/bus/mqtt-upgrade.ts';
import { MqttsListener } from '../../../src/server/bus/mqtts-listener.ts';
import { Identity } from '../../../src/server/identity/identity.ts';
import { Joining } from '../../../src/server/identity/joining.ts';
import { dialer, type TlsCredentials } from '../../../src/wire/dial.ts';
import { EmbeddedBroker } from '../../../src/wire/embedded-broker.ts';
import { CA_PATH, JOIN_PATH, MQTT_PATH, nodeNameOf } from '../../../src/wire/join.ts';
import { LocalBus } from '../../../src/wire/local-bus.ts';
import { MqttClientBus } from '../../../src/wire/mqtt-client.ts';
import { filters, topics } from '../../../src/wire/topics.ts';
import { MemoryJournal } from '../../support/memory-journal.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { waitFor } from '../../support/wait.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const logger = silentLogger;
const until = (condition: () => unknown): Promise<unknown> =>
  waitFor(String(condition), condition, { timeoutMs: 5_000, intervalMs: 5 });

let directory: string;
let identity: Identity;
let broker: EmbeddedBroker;
let local: LocalBus;
let https: Server;
let mqtts: MqttsListener;
let url: string;
let machines: Map<string, string>;
const buses: MqttClientBus[] = [];
const requests: { path: string; node: string | undefined; body: string }[] = [];

function makeIdentity(name: string): Identity {
  const made = new Identity({
    dataDir: join(directory, name),
    clock,
    random,
    logger,
    addresses: [],
    serviceIP: '10.43.0.1',
    clusterDomain: 'cluster.local',
  });
  made.start();
  return made;
}

/** A server's HTTPS port, as far as the agent's own requests go. */
function serve(): Server {
  const holders = new Map<string, string>();
  const joining = new Joining({
    identity,
    certificates: {
      holderOf: (name) => holders.get(name),
      issued: (name, _certificate, { machineId }) => holders.set(name, machineId),
    },
    logger,
  });
  const nodeOf = (socket: TLSSocket): string | undefined =>
    socket.authorized ? nodeNameOf(String(socket.getPeerCertificate().subject?.CN ?? '')) : undefined;
  const upgrade = new MqttUpgrade({ broker });
  const { certificate, key } = identity.serving;
  const server = createServer({
    ca: identity.caPem,
    cert: certificate,
    key,
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.on('request', async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const node = nodeOf(request.socket as TLSSocket);
    const path = request.url ?? '';
    requests.push({ path, node, body });
    try {
      if (path === CA_PATH) {
        response.end(identity.caPem);
      } else if (path === JOIN_PATH) {
        const user =
          node === undefined ? undefined : { name: `system:node:${node}`, groups: ['system:nodes'] };
        const answer = joining.join(JSON.parse(body), request.headers.authorization, user, 'test');
        machines.set(answer.nodeName, body);
        response.end(JSON.stringify(answer));
      } else if (path.endsWith('/token') && node !== undefined) {
        response.writeHead(201).end(JSON.stringify({ status: { token: `token-${requests.length}` } }));
      } else response.writeHead(403).end(JSON.stringify({ message: 'forbidden here' }));
    } catch (error) {
      const { status } = error as StatusError;
      response.writeHead(status?.code ?? 500).end(JSON.stringify(status ?? {}));
    }
  });
  server.on('upgrade', (request, socket, head) => {
    const nodeName = nodeOf(request.socket as TLSSocket);
    if (request.url !== MQTT_PATH || nodeName === undefined) {
      socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    const user = { name: `system:node:${nodeName}`, groups: ['system:nodes'] };
    void upgrade.upgrade(
      { user, nodeName, path: MQTT_PATH, query: new URLSearchParams() },
      { request, socket, head },
    );
  });
  return server;
}

function joiner(
  options: { token?: string; nodeName?: string; machineId?: string; server?: string; at?: string } = {},
): Joiner {
  return new Joiner({
    server: options.server ?? url,
    token: options.token ?? identity.joinToken,
    nodeName: options.nodeName ?? 'pi',
    machineId: options.machineId ?? 'machine-1',
    directory: join(directory, options.at ?? 'agent'),
    clock,
    random,
    logger,
  });
}

function bus(clientId: string, target: string, joined: Joiner): MqttClientBus {
  const made = new MqttClientBus({
    clock,
    random,
    logger,
    clientId,
    dial: dialer(target, () => joined.identity),
    backOff: { baseMs: 20, maxMs: 50 },
  });
  buses.push(made);
  return made;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'copepod-join-'));
  machines = new Map();
  requests.length = 0;
  identity = makeIdentity('server');
  broker = new EmbeddedBroker({ logger });
  await broker.start();
  local = new LocalBus({ broker, logger });
  await local.start();
  https = serve();
  await new Promise<void>((resolve) => https.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(https.address() as { port: number }).port}`;
  const { certificate, key } = identity.serving;
  mqtts = new MqttsListener({
    broker,
    tls: { ca: identity.caPem, certificate, key },
    host: '127.0.0.1',
    port: 0,
    admits: () => true,
    logger,
  });
  await mqtts.start();
});

afterEach(async () => {
  for (const each of buses.splice(0)) await each.stop();
  await local.stop();
  await broker.stop();
  await mqtts.stop();
  https.closeAllConnections();
  await new Promise((resolve) => https.close(resolve));
  await rm(directory, { recursive: true, force: true });
});

describe('joining', () => {
  it('pins the CA, stores the identity privately, and needs nobody the second time', async () => {
    const first = await joiner().ensure();
    expect(first.ca).toBe(identity.caPem);
    for (const name of await readdir(join(directory, 'agent'))) {
      expect((await stat(join(directory, 'agent', name))).mode & 0o077, name).toBe(0);
    }
    const { length } = requests;
    const again = joiner({ server: 'https://127.0.0.1:1' });
    expect(await again.ensure()).toEqual(first);
    expect(requests).toHaveLength(length);
  });

  it('refuses a server whose CA is not the token’s, before saying the secret', async () => {
    const other = makeIdentity('other');
    await expect(joiner({ token: other.joinToken }).ensure()).rejects.toThrow(/certificate authority/);
    expect(requests.map(({ path }) => path)).toEqual([CA_PATH]);
  });

  it('stops with the server’s sentence when asking again cannot help', async () => {
    const bad = identity.joinToken.replace(/:[^:]+$/, ':wrong');
    await expect(joiner({ token: bad }).ensure()).rejects.toThrow(JoinRefused);
    await expect(joiner({ token: 'K10nonsense' }).ensure()).rejects.toThrow(/malformed/);
    await joiner().ensure();
    await expect(joiner({ machineId: 'machine-2', at: 'second' }).ensure()).rejects.toThrow(/--node-name/);
  });

  it('asks until the server answers, or until told to stop', async () => {
    const abort = new AbortController();
    const waiting = joiner({ server: 'https://127.0.0.1:1' }).ensure(abort.signal);
    abort.abort(new Error('stopping'));
    await expect(waiting).rejects.toThrow('stopping');
  });

  it('joins anew when the stored pair does not belong together', async () => {
    const first = await joiner().ensure();
    const other = await joiner({ nodeName: 'b', machineId: 'b', at: 'b' }).ensure();
    const { writeFile } = await import('node:fs/promises');
    await writeFile(join(directory, 'agent', 'node.key'), other.key);
    const again = await joiner().ensure();
    expect(again.key).not.toBe(first.key);
    expect(await readFile(join(directory, 'agent', 'node.key'), 'utf8')).toBe(again.key);
  });

  it('renews with the certificate instead of the token when few days are left', async () => {
    const subject = joiner();
    const first = await subject.ensure();
    expect(isRenewalDue(first, clock.now())).toBe(false);
    await subject.renewIfDue();
    expect(subject.identity.certificate).toBe(first.certificate);
    const due = { ...first, renewBeforeDays: 5000 };
    expect(isRenewalDue(due, clock.now())).toBe(true);
    const { writeFile } = await import('node:fs/promises');
    const { key: _key, certificate: _certificate, ca: _ca, ...facts } = due;
    await writeFile(join(directory, 'agent', 'identity.json'), JSON.stringify(facts));
    const later = joiner({ token: 'gone' });
    await later.ensure();
    await later.renewIfDue();
    expect(later.identity.certificate).not.toBe(first.certificate);
    expect(requests.at(-1)).toMatchObject({ path: JOIN_PATH, node: 'pi' });
  });
});

describe('MQTT over TLS', () => {
  it.each([
    ['wss', () => `${url.replace('https', 'wss')}${MQTT_PATH}`],
    ['mqtts', () => `mqtts://127.0.0.1:${mqtts.port}`],
  ])('%s: the certificate decides who speaks', async (_name, target) => {
    const joined = joiner();
    await joined.ensure();
    const heard: string[] = [];
    local.subscribe(filters.allHeartbeats(), (topic) => heard.push(topic));
    const pi = bus('pi', target(), joined);
    const big = 'x'.repeat(1_000_000);
    const received: number[] = [];
    pi.subscribe(topics.desiredPod('pi', 'u'), (_topic, payload) => received.push(payload.length));
    await pi.start();
    await until(() => pi.connected);
    await pi.publish(topics.heartbeat('pi'), '{}');
    await until(() => heard.length === 1);
    await local.publish(topics.desiredPod('pi', 'u'), big, { qos: 1, retain: true });
    await until(() => received.length === 1);
    expect(received).toEqual([1_000_000]);

    const stranger = makeIdentity('stranger');
    const refused = async (clientId: string, credentials: TlsCredentials): Promise<string> => {
      const problems: string[] = [];
      const noting = {
        ...logger,
        warn: (fields: { err?: Error }) => problems.push(String(fields.err?.message)),
      };
      const made = new MqttClientBus({
        clock,
        random,
        logger: noting as unknown as Logger,
        clientId,
        dial: dialer(target(), () => credentials),
        backOff: { baseMs: 5, maxMs: 20 },
      });
      buses.push(made);
      await made.start();
      await until(() => problems.length >= 2);
      expect(made.connected).toBe(false);
      return problems.join();
    };
    // A node under another node's name, a certificate of another CA, one that is no node's, none at all.
    await refused('other', joined.identity);
    const { certificate, key } = stranger.admin;
    await refused('pi', { ca: identity.caPem, certificate, key });
    await refused('pi', { ca: identity.caPem, ...identity.admin });
    await refused('pi', { ca: identity.caPem });
    expect(pi.connected).toBe(true);

    // The server goes away: noticed at once, not by the keepalive.
    await broker.stop();
    await until(() => !pi.connected);
  });

  it('trusts no server of another CA', async () => {
    const joined = joiner();
    await joined.ensure();
    const other = makeIdentity('other');
    let problem = '';
    const pi = new MqttClientBus({
      clock,
      random,
      logger: { ...logger, warn: (fields) => (problem = String((fields as { err?: Error }).err?.message)) },
      clientId: 'pi',
      dial: dialer(`mqtts://127.0.0.1:${mqtts.port}`, () => ({ ...joined.identity, ca: other.caPem })),
    });
    buses.push(pi);
    await pi.start();
    await until(() => problem !== '');
    expect(problem).toMatch(/self.signed|certificate|signature/i);
    expect(pi.connected).toBe(false);
  });

  it('refuses a URL that cannot be dialled at start', () => {
    expect(() => dialer('ftp://x', () => ({}))).toThrow(/mqtt/);
    expect(() => dialer('nonsense', () => ({}))).toThrow();
  });
});

describe('service account tokens', () => {
  const asked = {
    namespace: 'd',
    serviceAccount: 'default',
    podName: 'web',
    podUid: 'u',
    audiences: ['a'],
    expirationSeconds: 3607,
  };

  it('asks once, keeps for the cold boot, and falls back on the old one without a server', async () => {
    const joined = joiner();
    await joined.ensure();
    const journal = new MemoryJournal();
    const source = (server: string, from: MemoryJournal): ApiTokenSource => {
      const made = new ApiTokenSource({
        server,
        identity: () => joined.identity,
        journal: from,
        clock,
        logger,
      });
      made.load();
      return made;
    };
    const tokens = source(url, journal);
    const [one, two] = await Promise.all([tokens.token(asked), tokens.token(asked)]);
    expect(one).toBe(two);
    expect(await tokens.token(asked)).toBe(one);
    expect(requests.filter(({ path }) => path.endsWith('/token'))).toHaveLength(1);
    expect(JSON.parse(requests.at(-1)?.body ?? '')).toMatchObject({
      kind: 'TokenRequest',
      spec: {
        audiences: ['a'],
        expirationSeconds: 3607,
        boundObjectRef: { kind: 'Pod', name: 'web', uid: 'u' },
      },
    });
    expect(requests.at(-1)?.path).toBe('/api/v1/namespaces/d/serviceaccounts/default/token');

    const offline = source('https://127.0.0.1:1', journal.reopened());
    expect(await offline.token(asked)).toBe(one);
    await expect(offline.token({ ...asked, podUid: 'new' })).rejects.toThrow();
    const back = source(url, journal.reopened());
    expect(await back.token(asked)).not.toBe(one);
    back.forget('u');
  });

  it('does not ask a server that has just not answered again for pods that have a token', async () => {
    const joined = joiner();
    await joined.ensure();
    let asks = 0;
    const silent = createTcpServer((connection) => {
      asks += 1;
      connection.destroy();
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const journal = new MemoryJournal();
    const time = new VirtualClock();
    const { port } = silent.address() as AddressInfo;
    try {
      const server = `https://127.0.0.1:${port}`;
      const key = 'u/d/default/3607/a';
      journal.put('token', key, 'held');
      const tokens = new ApiTokenSource({
        server,
        identity: () => joined.identity,
        journal: journal.reopened(),
        clock: time,
        logger,
      });
      tokens.load();
      for (const _turn of [1, 2]) expect(await tokens.token(asked)).toBe('held');
      expect(asks).toBe(1);
      await expect(tokens.token({ ...asked, podUid: 'new' })).rejects.toThrow();
      expect(asks).toBe(2);
      await time.advance(60_000);
      expect(await tokens.token(asked)).toBe('held');
      expect(asks).toBe(3);
    } finally {
      silent.close();
    }
  });
});
