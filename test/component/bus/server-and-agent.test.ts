import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentConnection } from '../../../src/agent/connection.ts';
import { DesiredStore } from '../../../src/agent/desired.ts';
import { HeartbeatSender } from '../../../src/agent/heartbeat.ts';
import type { NodeFacts } from '../../../src/agent/ports.ts';
import { StatusReporter } from '../../../src/agent/reporter.ts';
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  LEASES,
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  SECRETS,
  SERVICES,
} from '../../../src/api/kinds.ts';
import {
  DIRECTORY_REMOVED,
  LOCAL_PATH_PROVISIONER,
  PROVISIONED_BY,
  VOLUME_NODE,
} from '../../../src/api/local-path.ts';
import type { Event, Pod } from '../../../src/api/types/core-v1.ts';
import { EventWriter } from '../../../src/client/events.ts';
import { InformerSet } from '../../../src/client/informer.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import { ImageArchitectures } from '../../../src/scheduler/image-hints.ts';
import { BoardState } from '../../../src/server/bus/board-state.ts';
import { DesiredPublisher } from '../../../src/server/bus/desired-publisher.ts';
import { ImageKnowledge } from '../../../src/server/bus/image-knowledge.ts';
import { Ingest } from '../../../src/server/bus/ingest.ts';
import { ServicesPublisher } from '../../../src/server/bus/services-publisher.ts';
import { VolumeReports } from '../../../src/server/bus/volume-reports.ts';
import { EmbeddedBroker } from '../../../src/wire/embedded-broker.ts';
import { LocalBus } from '../../../src/wire/local-bus.ts';
import type { StreamRequest } from '../../../src/wire/messages.ts';
import { MqttClientBus } from '../../../src/wire/mqtt-client.ts';
import { topics } from '../../../src/wire/topics.ts';
import { duplexPair } from '../../support/duplex-pair.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { MemoryJournal } from '../../support/memory-journal.ts';
import { waitFor } from '../../support/wait.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const logger = silentLogger;
const until = (condition: () => unknown): Promise<unknown> =>
  waitFor(String(condition), condition, { timeoutMs: 5_000, intervalMs: 2 });

/** Everything of src/server/bus over a broker; a restart is a new one over the same client. */
class Server {
  readonly broker = new EmbeddedBroker({ logger });
  readonly bus = new LocalBus({ broker: this.broker, logger });
  readonly boards = new BoardState({ clock });
  readonly informers: InformerSet;
  readonly ingest: Ingest;
  readonly desired: DesiredPublisher;
  readonly services: ServicesPublisher;
  readonly images = new ImageArchitectures();
  private readonly events: EventWriter;

  constructor(client: FakeClient) {
    this.informers = new InformerSet({ client, logger });
    this.events = new EventWriter({ client, clock, logger });
    const common = { bus: this.bus, informers: this.informers, clock, logger };
    this.ingest = new Ingest({
      ...common,
      client,
      events: this.events,
      boards: this.boards,
      volumes: new VolumeReports({ ...common, client, events: this.events }),
      images: new ImageKnowledge(this.images),
    });
    this.desired = new DesiredPublisher(common);
    const cluster = {
      serviceCidr: '10.43.0.0/16',
      clusterCidr: '10.42.0.0/16',
      clusterDns: '10.43.0.10',
      clusterDomain: 'cluster.local',
    };
    this.services = new ServicesPublisher({ ...common, cluster });
  }

  async start(): Promise<void> {
    await this.informers.start();
    await this.events.start();
    await this.broker.start();
    await this.ingest.start();
    await this.desired.start();
    await this.services.start();
    await this.bus.start();
  }

  async stop(): Promise<void> {
    await this.services.stop();
    await this.desired.stop();
    await this.ingest.stop();
    await this.events.stop();
    await this.bus.stop();
    await this.broker.stop();
    await this.informers.stop();
  }
}

const facts: NodeFacts = {
  labels: { disk: 'ssd' },
  taints: [],
  addresses: [{ type: 'InternalIP', address: '10.0.0.5' }],
  capacity: { cpu: '4', memory: '1000Mi', pods: '110' },
  allocatable: { cpu: '4', memory: '900Mi', pods: '110' },
  nodeInfo: {
    architecture: 'arm64',
    bootID: 'b',
    containerRuntimeVersion: 'docker://20.10.24',
    kernelVersion: '6.1',
    kubeProxyVersion: '',
    kubeletVersion: 'v1.36.0',
    machineID: 'm',
    operatingSystem: 'linux',
    osImage: 'Debian',
    systemUUID: 's',
  },
};
const measurements = {
  cpu: 0.25,
  load: 1,
  memTotal: 1e9,
  memAvailable: 5e8,
  diskTotal: 1e10,
  diskAvailable: 5e9,
};

class Agent {
  readonly desired: DesiredStore;
  readonly reporter: StatusReporter;
  readonly connection: AgentConnection;
  readonly journal: MemoryJournal;
  readonly streams: StreamRequest[] = [];
  readonly conditions: Record<string, string> = {};
  readonly heartbeat: HeartbeatSender;
  readonly bus: MqttClientBus;
  cut: () => void = () => {};

  constructor(server: () => Server, name: string, journal = new MemoryJournal()) {
    this.journal = journal;
    const boot = random.uuid();
    const bus = new MqttClientBus({
      clock,
      random,
      logger,
      clientId: name,
      will: AgentConnection.lastWill(name, boot),
      backOff: { baseMs: 5, maxMs: 50 },
      dial: () => {
        const [near, far] = duplexPair();
        this.cut = () => far.destroy();
        server().broker.handle(far, { node: name });
        return near;
      },
    });
    this.bus = bus;
    this.desired = new DesiredStore({ node: name, journal, logger });
    this.desired.load();
    const isDesired = (uid: string): boolean => this.desired.pod(uid) !== undefined;
    this.reporter = new StatusReporter({ node: name, bus, clock, random, logger, journal, isDesired });
    this.heartbeat = new HeartbeatSender({
      node: name,
      bus,
      clock,
      random,
      logger,
      measure: async () => measurements,
      conditions: () => this.conditions,
    });
    this.connection = new AgentConnection({
      node: name,
      boot,
      bus,
      desired: this.desired,
      reporter: this.reporter,
      heartbeat: this.heartbeat,
      facts: async () => facts,
      onStream: (request) => this.streams.push(request),
      clock,
      logger,
    });
  }
}

let client: FakeClient;
let server: Server;
const agents: Agent[] = [];

async function agent(name: string, journal?: MemoryJournal): Promise<Agent> {
  const made = new Agent(() => server, name, journal);
  agents.push(made);
  await made.connection.start();
  return made;
}

const ready = (name: string): string | undefined =>
  client.peek(NODES, undefined, name)?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;

async function bind(name: string, node: string, spec: object = {}): Promise<Pod> {
  const pod = await client.create(PODS, 'd', {
    metadata: { name, namespace: 'd' },
    spec: { nodeName: node, containers: [{ name: 'c', image: 'i' }], ...spec },
  });
  return pod;
}
const uidOf = (pod: Pod): string => pod.metadata.uid ?? '';

beforeEach(async () => {
  client = new FakeClient({ clock, random });
  await client.create(NAMESPACES, undefined, { metadata: { name: 'd' } });
  await client.create(NAMESPACES, undefined, { metadata: { name: 'kube-node-lease' } });
  server = new Server(client);
  await server.start();
});

afterEach(async () => {
  for (const each of agents.splice(0)) await each.connection.stop();
  await server.stop();
});

describe('server and agent over the bus', () => {
  it('makes a Node that is Ready, with a lease and measurements', async () => {
    await agent('pi');
    await until(() => ready('pi') === 'True');
    const node = client.peek(NODES, undefined, 'pi');
    expect(node?.metadata.labels).toMatchObject({ disk: 'ssd', 'kubernetes.io/arch': 'arm64' });
    expect(node?.status).toMatchObject({ capacity: facts.capacity, nodeInfo: facts.nodeInfo });
    expect(server.boards.readings.of('pi')).toMatchObject({ cpu: 0.25 });
    expect(server.boards.liveness.of('pi')).toMatchObject({ connected: true });
    await until(() => client.peek(LEASES, 'kube-node-lease', 'pi'));
    expect(client.peek(LEASES, 'kube-node-lease', 'pi')?.spec).toMatchObject({
      holderIdentity: 'pi',
      leaseDurationSeconds: 40,
    });
  });

  it('writes nothing for a heartbeat that changes nothing', async () => {
    const pi = await agent('pi');
    await until(() => ready('pi') === 'True' && client.peek(LEASES, 'kube-node-lease', 'pi'));
    await until(() => server.ingest.idle);
    const { length } = client.writes;
    for (let beat = 0; beat < 5; beat += 1) await pi.heartbeat.now();
    await until(() => server.ingest.idle);
    expect(client.writes.slice(length)).toEqual([]);
    pi.conditions.Ready = 'docker is down';
    await pi.heartbeat.now();
    await until(() => ready('pi') === 'False');
  });

  it('takes what a board says of its images, and once only', async () => {
    const pi = await agent('pi');
    await until(() => ready('pi') === 'True');
    const images = [{ names: ['web:1'], sizeBytes: 5 }];
    const report = { v: 1, images, architecture: 'arm64', lacking: ['amd64-only:1'] };
    const tell = () => pi.bus.publish(topics.images('pi'), JSON.stringify(report), { qos: 1, retain: true });
    await tell();
    await until(() => client.peek(NODES, undefined, 'pi')?.status?.images?.length === 1);
    expect(client.peek(NODES, undefined, 'pi')?.status).toMatchObject({ images, capacity: facts.capacity });
    expect([...(server.images.lacking('docker.io/library/amd64-only:1') ?? [])]).toEqual(['arm64']);
    await until(() => server.ingest.idle);
    const { length } = client.writes;
    await tell();
    await until(() => server.ingest.idle);
    expect(client.writes.slice(length)).toEqual([]);
    await client.delete(NODES, undefined, 'pi');
    await until(() => server.images.lacking('amd64-only:1')?.size === 0);
  });

  it('brings a pod, its configs and its status there and back', async () => {
    await client.create(CONFIG_MAPS, 'd', { metadata: { name: 'conf', namespace: 'd' }, data: { k: '1' } });
    const pi = await agent('pi');
    const other = await agent('other');
    const pod = await bind('web', 'pi', {
      volumes: [
        { name: 'v', configMap: { name: 'conf' } },
        { name: 's', secret: { secretName: 'later' } },
      ],
    });
    const uid = uidOf(pod);
    await until(() => pi.desired.pod(uid) && pi.desired.complete && other.desired.complete);
    expect(pi.desired.configMap('d', 'conf')?.data).toEqual({ k: '1' });
    expect(other.desired.pods()).toEqual([]);
    expect(other.desired.configMap('d', 'conf')).toBeUndefined();

    await client.create(SECRETS, 'd', { metadata: { name: 'later', namespace: 'd' }, data: { p: 'eA==' } });
    await until(() => pi.desired.secret('d', 'later'));
    expect(other.desired.secret('d', 'later')).toBeUndefined();

    let echoes = 0;
    pi.desired.onChange(() => {
      echoes += 1;
    });
    pi.reporter.podStatus(pod, {
      phase: 'Running',
      podIP: '10.42.0.7',
      conditions: [{ type: 'Ready', status: 'True' }],
    });
    await until(
      () => client.peek(PODS, 'd', 'web')?.status?.phase === 'Running' && pi.reporter.unacknowledged === 0,
    );
    await until(() => server.desired.idle);
    expect(echoes).toBe(0);

    await client.patch(CONFIG_MAPS, 'd', 'conf', { type: 'merge', body: { data: { k: '2' } } });
    await until(() => pi.desired.configMap('d', 'conf')?.data?.k === '2');

    await client.delete(PODS, 'd', 'web', { gracePeriodSeconds: 30 });
    await until(() => pi.desired.pod(uid)?.metadata.deletionTimestamp);
    pi.reporter.podGone(pod, { phase: 'Succeeded' });
    await until(() => client.peek(PODS, 'd', 'web') === undefined);
    await until(() => pi.desired.pod(uid) === undefined && pi.desired.configMap('d', 'conf') === undefined);
    await until(() => pi.reporter.unacknowledged === 0);
    expect(pi.reporter.lastStatus(uid)).toBeUndefined();
    expect(server.broker.retained.topics('copepod/v1/nodes/pi/desired/#')).toEqual([
      topics.desiredDigest('pi'),
    ]);
  });

  it('does not delete a pod that nobody asked to end', async () => {
    const pi = await agent('pi');
    const pod = await bind('job', 'pi');
    await until(() => pi.desired.pod(uidOf(pod)));
    pi.reporter.podGone(pod, { phase: 'Succeeded' });
    await until(() => pi.reporter.unacknowledged === 0);
    expect(client.peek(PODS, 'd', 'job')?.status?.phase).toBe('Succeeded');
  });

  it('lets no node speak for another’s pods', async () => {
    const pi = await agent('pi');
    const pod = await bind('web', 'other');
    await until(() => ready('pi') === 'True');
    pi.reporter.podStatus(pod, { phase: 'Failed' });
    await until(() => pi.reporter.unacknowledged === 0);
    expect(client.peek(PODS, 'd', 'web')?.status?.phase).not.toBe('Failed');
  });

  it('forgets a report of a pod that is gone or was replaced under its name', async () => {
    const pi = await agent('pi');
    const old = await bind('web', 'pi');
    await client.delete(PODS, 'd', 'web', { gracePeriodSeconds: 0 });
    const fresh = await bind('web', 'pi');
    expect(uidOf(fresh)).not.toBe(uidOf(old));
    pi.reporter.podGone(old, { phase: 'Failed' });
    await until(() => pi.reporter.unacknowledged === 0 && pi.desired.pod(uidOf(fresh)));
    expect(client.peek(PODS, 'd', 'web')?.metadata.uid).toBe(uidOf(fresh));
  });

  it('acknowledges only what was written, and tries again when the store fails', async () => {
    const pi = await agent('pi');
    const pod = await bind('web', 'pi');
    await until(() => pi.desired.pod(uidOf(pod)));
    let failures = 0;
    const mend = client.intercept(({ verb }) => {
      if (verb !== 'updateStatus') return;
      failures += 1;
      throw new Error('disk is full');
    });
    pi.reporter.podStatus(pod, { phase: 'Running' });
    await until(() => failures >= 2);
    expect(pi.reporter.unacknowledged).toBe(1);
    mend();
    await until(() => pi.reporter.unacknowledged === 0);
    expect(client.peek(PODS, 'd', 'web')?.status?.phase).toBe('Running');
  });

  it('notices a dead board at once, and its return', async () => {
    const pi = await agent('pi');
    await until(() => ready('pi') === 'True');
    const seen: (boolean | undefined)[] = [];
    server.boards.liveness.onChange((node) => seen.push(server.boards.liveness.of(node)?.connected));
    pi.cut();
    await until(() => seen.length >= 2);
    expect(seen.slice(0, 2)).toEqual([false, true]);
  });

  it('goes through a restart of the server without a flap or a false deletion', async () => {
    const pi = await agent('pi');
    await until(() => ready('pi') === 'True');
    const pod = await bind('web', 'pi');
    await until(() => pi.desired.pod(uidOf(pod)));
    pi.reporter.podStatus(pod, { phase: 'Running' });
    await until(() => pi.reporter.unacknowledged === 0);
    const lost: string[] = [];
    pi.desired.onChange((change) => lost.push(change.kind));
    await server.stop();
    await client.delete(PODS, 'd', 'web', { gracePeriodSeconds: 0 });
    const fresh = await bind('fresh', 'pi');
    server = new Server(client);
    await server.start();
    expect(server.boards.liveness.listeningSince).toBeGreaterThan(0);
    await until(() => pi.desired.pod(uidOf(fresh)) && !pi.desired.pod(uidOf(pod)));
    expect(lost).toEqual(['pod', 'pod']);
    await until(() => server.boards.liveness.of('pi')?.connected);
    expect(ready('pi')).toBe('True');
    pi.reporter.podStatus(fresh, { phase: 'Running' });
    await until(() => client.peek(PODS, 'd', 'fresh')?.status?.phase === 'Running');
  });

  it('tells a restarted agent what it missed, from its journal and the digest', async () => {
    const first = await agent('pi');
    const kept = await bind('kept', 'pi');
    const gone = await bind('gone', 'pi');
    await until(
      () => first.desired.pod(uidOf(kept)) && first.desired.pod(uidOf(gone)) && first.desired.complete,
    );
    await first.connection.stop();
    await client.delete(PODS, 'd', 'gone', { gracePeriodSeconds: 0 });
    const second = new Agent(() => server, 'pi', first.journal.reopened());
    agents.push(second);
    expect(second.desired.complete).toBe(true);
    expect(second.desired.pods()).toHaveLength(2);
    await second.connection.start();
    await until(() => second.desired.pods().length === 1);
    expect(second.desired.pod(uidOf(kept))).toBeDefined();
  });

  it('shares Services, nodes and the cluster, and withdraws them', async () => {
    const pi = await agent('pi');
    await until(() => pi.desired.cluster());
    await client.create(SERVICES, 'd', {
      metadata: { name: 'web', namespace: 'd' },
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.43.0.9',
        clusterIPs: ['10.43.0.9'],
        ports: [{ port: 80, targetPort: 8080 }],
      },
    });
    await client.create(ENDPOINT_SLICES, 'd', {
      metadata: { name: 'web-1', namespace: 'd', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.42.0.7'], nodeName: 'pi' }],
      ports: [{ port: 8080 }],
    });
    await until(() => pi.desired.services()[0]?.ports[0]?.endpoints.length === 1);
    const node = client.peek(NODES, undefined, 'pi');
    await client.patch(NODES, undefined, 'pi', {
      type: 'merge',
      body: { spec: { ...node?.spec, podCIDR: '10.42.0.0/24' } },
    });
    await until(() => pi.desired.nodes()[0]?.podCIDR === '10.42.0.0/24');
    await client.delete(ENDPOINT_SLICES, 'd', 'web-1');
    await until(() => pi.desired.services()[0]?.ports[0]?.endpoints.length === 0);
    pi.cut();
    await client.delete(SERVICES, 'd', 'web');
    await until(() => pi.desired.services().length === 0);
  });

  it('tells a board the volumes of its pods, and which directories have to go until it says that they are gone', async () => {
    const pi = await agent('pi');
    const other = await agent('other');
    const claim = await client.create(PERSISTENT_VOLUME_CLAIMS, 'd', {
      metadata: { name: 'data' },
      spec: { volumeName: 'v' },
      status: { phase: 'Bound' },
    });
    const { uid = '' } = await client
      .create(PERSISTENT_VOLUMES, undefined, {
        metadata: {
          name: 'v',
          annotations: { [PROVISIONED_BY]: LOCAL_PATH_PROVISIONER, [VOLUME_NODE]: 'pi' },
        },
        spec: {
          claimRef: { namespace: 'd', name: 'data', uid: claim.metadata.uid ?? '' },
          hostPath: { path: '/storage/v_d_data' },
          persistentVolumeReclaimPolicy: 'Delete',
        },
        status: { phase: 'Bound' },
      })
      .then(({ metadata }) => metadata);
    const names = (of: Agent): (string | undefined)[] =>
      of.desired.volumes().map(({ metadata }) => metadata.name);
    const pod = await bind('db', 'pi', {
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
    });
    await until(() => pi.desired.pod(uidOf(pod)));
    expect([names(pi), names(other)]).toEqual([['v'], []]);
    await client.delete(PODS, 'd', 'db', { gracePeriodSeconds: 0 });
    await until(() => names(pi).length === 0);
    const volume = client.peek(PERSISTENT_VOLUMES, undefined, 'v');
    if (!volume) throw new Error('no volume');
    await client.updateStatus(PERSISTENT_VOLUMES, { ...volume, status: { phase: 'Released' } });
    await until(() => names(pi).length === 1);
    const says = (of: Agent, node: string, report: object) =>
      of.bus.publish(topics.volumes(node), JSON.stringify({ v: 1, name: 'v', ...report }), { qos: 1 });
    const removed = () =>
      client.peek(PERSISTENT_VOLUMES, undefined, 'v')?.metadata.annotations?.[DIRECTORY_REMOVED];
    await says(other, 'other', { uid });
    await says(pi, 'pi', { uid: 'of another volume' });
    await says(pi, 'pi', { uid, error: 'still mounted' });
    await until(() =>
      client.everything().some((object) => (object as Event).reason === 'VolumeFailedDelete'),
    );
    expect(removed()).toBeUndefined();
    await says(pi, 'pi', { uid });
    await until(() => removed() !== undefined && names(pi).length === 0);
  });

  it('records events with the node they come from', async () => {
    const pi = await agent('pi');
    const pod = await bind('web', 'pi');
    const event = {
      namespace: 'd',
      name: 'web',
      uid: uidOf(pod),
      kind: 'Pod',
      type: 'Normal',
      reason: 'Pulled',
      message: 'ok',
      fieldPath: 'spec.containers{c}',
    } as const;
    pi.reporter.event(event);
    pi.reporter.event(event);
    const events = (): Event[] => client.everything().filter(({ kind }) => kind === 'Event') as Event[];
    await until(() => events()[0]?.count === 2);
    expect(events()).toHaveLength(1);
    expect(events()[0]).toMatchObject({
      involvedObject: {
        kind: 'Pod',
        name: 'web',
        namespace: 'd',
        uid: uidOf(pod),
        fieldPath: 'spec.containers{c}',
      },
      source: { component: 'kubelet', host: 'pi' },
      reason: 'Pulled',
    });
  });

  it('keeps a deleted Node deleted until its agent registers again', async () => {
    const pi = await agent('pi');
    await until(() => ready('pi') === 'True');
    await client.delete(NODES, undefined, 'pi');
    await pi.heartbeat.now();
    await until(() => server.ingest.idle);
    expect(client.peek(NODES, undefined, 'pi')).toBeUndefined();
    pi.cut();
    await until(() => ready('pi') === 'True');
  });

  it('hands on stream requests once', async () => {
    const pi = await agent('pi');
    await until(() => ready('pi') === 'True');
    const request: StreamRequest = {
      v: 1,
      id: 'x',
      path: '/copepod/v1/streams/x',
      timeoutMs: 1000,
      request: { type: 'portforward', podUid: 'u', port: 80 },
    };
    await server.bus.publish(topics.streams('pi'), JSON.stringify(request), { qos: 1 });
    await server.bus.publish(topics.streams('pi'), JSON.stringify(request), { qos: 1 });
    await server.bus.publish(topics.streams('pi'), JSON.stringify({ ...request, id: 'y' }), { qos: 1 });
    await until(() => pi.streams.length === 2);
    expect(pi.streams.map(({ id }) => id)).toEqual(['x', 'y']);
  });
});
