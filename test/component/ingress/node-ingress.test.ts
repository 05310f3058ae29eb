import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NodeIngress } from '../../../src/agent/ingress/node-ingress.ts';
import type { DesiredChange, Reporter } from '../../../src/agent/ports.ts';
import type { Pod as KubePod } from '../../../src/api/types/core-v1.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import type { SharedIngress, SharedService } from '../../../src/wire/messages.ts';
import { freePort } from '../../support/cluster.ts';
import { ask, Pod, sharedIngress, sharedService } from '../../support/ingress.ts';
import { waitFor } from '../../support/wait.ts';

// What the agent is told, and which ports it takes for it.
class Told {
  ingressList: SharedIngress[] = [];
  serviceList: SharedService[] = [];
  podList: KubePod[] = [];
  private readonly listeners: ((change: DesiredChange) => void)[] = [];

  ingresses = () => this.ingressList;
  services = () => this.serviceList;
  pods = () => this.podList;
  secret = () => undefined;
  onChange(listener: (change: DesiredChange) => void): void {
    this.listeners.push(listener);
  }

  changed(change: DesiredChange): void {
    for (const listener of this.listeners) listener(change);
  }
}

let told: Told;
let events: Parameters<Reporter['event']>[0][];
let ingress: NodeIngress;
/** The node's condition, each time that it is another. */
let conditions: Record<string, string>[];
let pod: Pod;
let port = 0;

beforeEach(async () => {
  told = new Told();
  events = [];
  conditions = [];
  port = await freePort();
  pod = await new Pod((_request, response) => response.end('served')).start();
  ingress = new NodeIngress({
    node: 'n',
    desired: told,
    reporter: { event: (event) => events.push(event) },
    holderOf: async () => 'nginx (pid 812)',
    onCondition: () => conditions.push(ingress.condition),
    httpPort: port,
    httpsPort: 0,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logger: silentLogger,
  });
  await ingress.start();
});
afterEach(async () => {
  await ingress.stop();
  await pod.stop();
});

const show = (ingresses: SharedIngress[], services = [sharedService('web', [pod.port])]): void => {
  told.ingressList = ingresses;
  told.serviceList = services;
  told.changed({ kind: 'ingress' });
};
const web = () => sharedIngress('web', { 'web.test': { '/': 'web' } });
const body = async (): Promise<string> => (await ask(port, 'web.test', '/')).body;

it('has its port while there is an Ingress, and follows Services', async () => {
  told.changed({ kind: 'network' });
  await expect(body()).rejects.toThrow('ECONNREFUSED');
  show([web()]);
  await waitFor('the Ingress to be served', async () => (await body()) === 'served');
  told.serviceList = [sharedService('web', [])];
  told.changed({ kind: 'network' });
  await waitFor('the endpoints to be gone', async () => (await ask(port, 'web.test', '/')).status === 503);
  show([]);
  await waitFor('the port to be free', () =>
    body().then(
      () => false,
      () => true,
    ),
  );
  show([web()]);
  await waitFor('the Ingress to be served again', async () => (await body()) === 'served');
  expect(events).toEqual([]);
  expect(conditions).toEqual([]);
});

it('tells on its node that somebody else has the port, once', async () => {
  const other = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => other.listen(port, resolve));
  show([web()]);
  await waitFor('the event', () => events.length > 0);
  told.changed({ kind: 'network' });
  expect(events).toMatchObject([
    {
      kind: 'Node',
      name: 'n',
      uid: 'n',
      type: 'Warning',
      reason: 'IngressPortTaken',
      message: `Ingresses are not served at port ${port} of this node: nginx (pid 812) listens there`,
    },
  ]);
  const taken = { IngressUnavailable: `port ${port}: nginx (pid 812) listens there` };
  expect(conditions).toEqual([taken]);
  // Without an Ingress there is nothing that it could not do.
  show([]);
  await waitFor('the condition to go', () => conditions.length === 2);
  expect(conditions).toEqual([taken, {}]);
  await new Promise((resolve) => other.close(resolve));
});

it('tells who of the cluster gets what comes to its port', async () => {
  show([web()]);
  await waitFor('the Ingress to be served', async () => (await body()) === 'served');
  const balancer = { ...sharedService('lb', []), type: 'LoadBalancer', externalIPs: ['10.0.0.1'] };
  balancer.ports[0] = { name: '', protocol: 'TCP', port, endpoints: [] };
  told.serviceList = [...told.serviceList, balancer];
  for (let repeat = 0; repeat < 2; repeat += 1) told.changed({ kind: 'network' });
  await waitFor('the event', () => events.length > 0);
  expect(events.map(({ reason, message }) => `${reason}: ${message}`)).toEqual([
    `IngressPortShadowed: port ${port} of this node leads to Service d/lb of type LoadBalancer, not to Ingresses`,
  ]);
  expect(conditions).toEqual([
    { IngressUnavailable: `port ${port}: it leads to Service d/lb of type LoadBalancer` },
  ]);
  told.serviceList = told.serviceList.slice(0, 1);
  told.changed({ kind: 'network' });
  await waitFor('the port to be its own again', () => conditions.length === 2);
  expect(ingress.condition).toEqual({});
});
