import { afterEach, beforeEach, expect, it } from 'vitest';
import { DesiredStore } from '../../../src/agent/desired.ts';
import { INGRESS_CLASSES, INGRESSES, NODES, SECRETS } from '../../../src/api/kinds.ts';
import type { Node, Secret } from '../../../src/api/types/core-v1.ts';
import type { Ingress, IngressClass } from '../../../src/api/types/networking-v1.ts';
import { InformerSet } from '../../../src/client/informer.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { ServiceGroup } from '../../../src/lib/service.ts';
import { DesiredPublisher } from '../../../src/server/bus/desired-publisher.ts';
import { IngressPublisher } from '../../../src/server/bus/ingress-publisher.ts';
import { IngressScope } from '../../../src/server/bus/ingress-scope.ts';
import { filters } from '../../../src/wire/topics.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { MemoryJournal } from '../../support/memory-journal.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SimulatedBroker } from '../../support/simulated-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

// From the objects of the API to what each board holds: rules everywhere, keys only where they are served.
const logger = silentLogger;
let clock: VirtualClock;
let random: SeededRandom;
let client: FakeClient;
let broker: SimulatedBroker;
let server: ServiceGroup;
let boards: Record<string, Board>;

class Board {
  readonly name: string;
  readonly journal: MemoryJournal;
  readonly desired: DesiredStore;
  readonly seen: string[] = [];

  constructor(name: string, journal = new MemoryJournal()) {
    this.name = name;
    this.journal = journal;
    this.desired = new DesiredStore({ node: name, journal, logger });
    this.desired.load();
  }

  async join(clientId = this.name): Promise<void> {
    const bus = broker.bus({ clientId, node: this.name });
    const note = (topic: string, payload: string): void => {
      if (payload.includes('tls.key')) this.seen.push(topic);
    };
    bus.subscribe(filters.desired(this.name), (topic, payload) => {
      note(topic, payload);
      this.desired.handleDesired(topic, payload);
    });
    bus.subscribe(filters.shared(), (topic, payload) => {
      note(topic, payload);
      this.desired.handleShared(topic, payload);
    });
    await bus.start();
  }

  get serves(): string[] {
    return this.desired.ingresses().map(({ name }) => name);
  }

  get secrets(): string[] {
    return ['cert', 'other'].filter((name) => this.desired.secret('d', name) !== undefined);
  }
}

const settle = (): Promise<void> => clock.advance(2000);

async function serve(enabled = true): Promise<void> {
  const informers = new InformerSet({ client, logger });
  const bus = broker.bus({ clientId: 'server' });
  const scope = new IngressScope({ informers, enabled });
  const parts = { bus, clock, logger, externalBroker: true };
  server = new ServiceGroup([
    informers,
    new DesiredPublisher({ ...parts, informers, ingress: scope }),
    new IngressPublisher({ ...parts, scope }),
    bus,
  ]);
  await server.start();
  await settle();
}

const node = (name: string, labels: Record<string, string> = {}) =>
  client.create(NODES, undefined, { metadata: { name, labels } } as Node);
const secret = (name: string, value: string) =>
  ({
    metadata: { name, namespace: 'd' },
    data: { 'tls.crt': 'eA==', 'tls.key': value },
  }) as unknown as Secret;
const ingress = (name: string, className = 'ours', secretName = 'cert') =>
  client.create(INGRESSES, 'd', {
    metadata: { name },
    spec: {
      ingressClassName: className,
      tls: [{ hosts: ['web.test'], secretName }],
      rules: [
        {
          host: 'web.test',
          http: {
            paths: [
              {
                path: '/',
                pathType: 'ImplementationSpecific',
                backend: { service: { name: 'web', port: { name: 'http' } } },
              },
              { path: '/x', pathType: 'Exact', backend: { resource: { kind: 'Bucket', name: 'b' } } },
            ],
          },
        },
      ],
    },
  } as Ingress);

beforeEach(async () => {
  clock = new VirtualClock();
  random = new SeededRandom(1);
  client = new FakeClient({ clock, random });
  broker = new SimulatedBroker({ clock, random });
  await client.create(INGRESS_CLASSES, undefined, {
    metadata: { name: 'ours' },
    spec: { controller: 'copepod.io/ingress' },
  } as IngressClass);
  await node('one');
  await node('two', { 'ingress.copepod.io/enabled': 'false' });
  await client.create(SECRETS, 'd', secret('cert', 'MQ=='));
  await client.create(SECRETS, 'd', secret('other', 'MQ=='));
  boards = { one: new Board('one'), two: new Board('two') };
  for (const board of Object.values(boards)) await board.join();
  await serve();
});
afterEach(() => server.stop());

const board = (name: string): Board => boards[name] as Board;

it('gives rules to every board, and keys to those that serve them only', async () => {
  await ingress('web');
  await ingress('theirs', 'other-class', 'other');
  await settle();
  expect([board('one').serves, board('two').serves]).toEqual([['web'], []]);
  expect([board('one').secrets, board('two').secrets]).toEqual([['cert'], []]);
  // No key ever was where others can read it.
  expect(board('one').seen.every((topic) => topic.includes('/nodes/one/desired/secrets/'))).toBe(true);
  expect(board('two').seen).toEqual([]);
  expect(board('one').desired.ingresses()[0]).toMatchObject({
    namespace: 'd',
    rules: [
      {
        host: 'web.test',
        paths: [
          { path: '/', type: 'Prefix', backend: { service: 'web', port: 'http' } },
          { path: '/x', type: 'Exact', backend: {} },
        ],
      },
    ],
    tls: [{ hosts: ['web.test'], secret: 'cert' }],
  });
  expect(board('one').desired.missing()).toEqual([]);
});

it('follows Secrets, labels, classes and deletions', async () => {
  await ingress('web');
  await settle();
  const key = () => board('one').desired.secret('d', 'cert')?.data?.['tls.key'];
  expect(key()).toBe('MQ==');
  await client.patch(SECRETS, 'd', 'cert', { type: 'merge', body: { data: { 'tls.key': 'Mg==' } } });
  await settle();
  expect(key()).toBe('Mg==');

  const label = (name: string, value: string | null) =>
    client.patch(NODES, undefined, name, {
      type: 'merge',
      body: { metadata: { labels: { 'ingress.copepod.io/enabled': value } } },
    });
  await label('two', 'true');
  await settle();
  expect([board('one').serves, board('two').serves]).toEqual([[], ['web']]);
  expect([board('one').secrets, board('two').secrets]).toEqual([[], ['cert']]);

  await client.patch(INGRESSES, 'd', 'web', { type: 'merge', body: { spec: { ingressClassName: 'gone' } } });
  await settle();
  expect([board('two').serves, board('two').secrets]).toEqual([[], []]);

  await client.patch(INGRESSES, 'd', 'web', { type: 'merge', body: { spec: { ingressClassName: 'ours' } } });
  await settle();
  expect(board('two').serves).toEqual(['web']);
  await client.delete(INGRESSES, 'd', 'web');
  await settle();
  expect([board('two').serves, board('two').secrets]).toEqual([[], []]);
});

it('serves from the journal, keys included, and learns later what is gone', async () => {
  await ingress('web');
  await settle();
  const offline = new Board('one', board('one').journal);
  expect([offline.serves, offline.secrets]).toEqual([['web'], ['cert']]);
  await client.delete(INGRESSES, 'd', 'web');
  await settle();
  await offline.join('one-again');
  await settle();
  expect([offline.serves, offline.secrets]).toEqual([[], []]);
});

it('takes back what an earlier server had published, when it is disabled', async () => {
  await ingress('web');
  await settle();
  await server.stop();
  await serve(false);
  expect([board('one').serves, board('one').secrets]).toEqual([[], []]);
  expect(board('one').desired.missing()).toEqual([]);
});
