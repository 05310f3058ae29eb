import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { type Board, BoardNetwork } from '../support/boards.ts';
import { Cluster, JoinedAgent } from '../support/cluster.ts';

// Three boards on one segment: every pod reaches every other, and a Service answers everywhere by every pod.
const NAMES = ['alpha', 'beta', 'gamma'];
const network = new BoardNetwork();
const boards = new Map<string, Board>();
const agents: JoinedAgent[] = [];
let cluster: Cluster;

const busybox = (command: string) => ({
  name: 'main',
  image: 'copepod.local/busybox',
  imagePullPolicy: 'IfNotPresent',
  command: ['sh', '-c', command],
});

beforeAll(async () => {
  await network.start();
  for (const name of NAMES) boards.set(name, await network.board(name));
  const first = boards.get('alpha') as Board;
  cluster = await Cluster.start({ board: first });
  for (const name of NAMES.slice(1)) {
    const agent = new JoinedAgent({
      board: boards.get(name) as Board,
      server: `https://${first.ip}:6443`,
      token: cluster.token,
    });
    agents.push(agent);
    agent.process.start();
  }
  for (const name of NAMES) await cluster.nodeReady(name, 0);
  await cluster.kubectl.apply({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'web' },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              ...busybox('mkdir /www; echo "$NODE" > /www/index.html; exec httpd -f -p 80 -h /www'),
              env: [{ name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
              readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 },
            },
          ],
        },
      },
    },
  });
  await cluster.kubectl.apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web' },
    spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, nodePort: 30080 }] },
  });
  await cluster.kubectl.line('rollout status daemonset/web --timeout=90s');
});
afterAll(async () => {
  for (const agent of agents) await agent.dispose();
  await cluster?.dispose();
  await network.stop();
});

const pods = async (): Promise<Pod[]> =>
  (await cluster.kubectl.get<{ items: Pod[] }>('pods', '-l', 'app=web')).items;
const fetchFrom = async (pod: Pod, url: string): Promise<string> =>
  (await cluster.kubectl.line(`exec ${pod.metadata.name} -- wget -q -O - ${url}`)).trim();

/** What twenty calls were answered by; balancing is at random, three boards of three are all but certain. */
async function answers(call: () => Promise<string> | string): Promise<string[]> {
  const seen = new Set<string>();
  for (let turn = 0; turn < 60 && seen.size < NAMES.length; turn += 1) seen.add(await call());
  return [...seen].sort();
}

it('runs one pod on each board, each with an address of its board', async () => {
  const found = await pods();
  expect(found.map(({ spec }) => spec?.nodeName).sort()).toEqual(NAMES);
  expect(new Set(found.map(({ status }) => status?.podIP?.split('.').slice(0, 3).join('.'))).size).toBe(3);
});

it('lets every pod reach every other', async () => {
  const found = await pods();
  for (const from of found) {
    for (const to of found)
      expect(await fetchFrom(from, `http://${to.status?.podIP}/`)).toBe(to.spec?.nodeName);
  }
});

it('answers a Service by every pod, from every board and every pod, by address and by name', async () => {
  const { spec } = await cluster.kubectl.get<{ spec: { clusterIP: string } }>('service', 'web');
  const wget = (board: Board, url: string): string =>
    board.run('busybox', 'wget', '-q', '-O', '-', url).trim();
  for (const board of boards.values()) {
    expect(await answers(() => wget(board, `http://${spec.clusterIP}/`))).toEqual(NAMES);
    expect(await answers(() => wget(board, `http://${board.ip}:30080/`))).toEqual(NAMES);
  }
  for (const pod of await pods()) {
    expect(await answers(() => fetchFrom(pod, 'http://web/'))).toEqual(NAMES);
  }
});

it('makes every board a load balancer, and says so in the status', async () => {
  await cluster.kubectl.ok(['patch', 'service', 'web', '-p', '{"spec":{"type":"LoadBalancer"}}']);
  const wanted = [...boards.values()].map(({ ip }) => ip).join(' ');
  const path = 'jsonpath={.status.loadBalancer.ingress[*].ip}';
  await cluster.eventually(
    'the boards’ addresses in the status',
    async () => (await cluster.kubectl.line(`get service web -o ${path}`)) === wanted,
  );
  const outside = boards.get('alpha') as Board;
  await cluster.eventually('the balancers to answer', async () => {
    for (const { ip } of boards.values()) {
      if (!NAMES.includes(outside.run('busybox', 'wget', '-q', '-O', '-', `http://${ip}/`).trim()))
        return false;
    }
    return true;
  });
});

it('denies by NetworkPolicy what it should, and only that', async () => {
  const found = await pods();
  const at = (node: string): Pod => found.find(({ spec }) => spec?.nodeName === node) as Pod;
  const [here, there] = [at('beta'), at('gamma')];
  const url = `http://${there.status?.podIP}/`;
  const call = (from: Pod): Promise<number> =>
    cluster.kubectl
      .run(['exec', from.metadata.name ?? '', '--', 'timeout', '2', 'wget', '-q', '-O', '-', url])
      .then(({ code }) => code);
  const policy = (ingress: object[]) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'guard' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'], ingress },
  });
  await cluster.kubectl.apply(policy([]));
  await cluster.eventually('the pod to be closed', async () => (await call(here)) !== 0);
  // Its own board, which probes it, still may.
  const own = boards.get('gamma') as Board;
  expect(own.run('busybox', 'wget', '-q', '-O', '-', url).trim()).toBe('gamma');
  await cluster.kubectl.apply(
    policy([
      {
        from: [{ podSelector: { matchLabels: { role: 'friend' } } }],
        ports: [{ protocol: 'TCP', port: 80 }],
      },
    ]),
  );
  await cluster.kubectl.line(`label pod ${here.metadata.name} role=friend`);
  await cluster.eventually('the friend to be let in', async () => (await call(here)) === 0);
  expect(await call(at('alpha'))).not.toBe(0);
  await cluster.kubectl.line('delete networkpolicy guard');
  await cluster.eventually('the pod to be open again', async () => (await call(at('alpha'))) === 0);
  expect(own.run('nft', 'list', 'table', 'ip', 'copepod')).not.toContain('chain policy-ingress');
});

it('resolves names on a board that is cut off from its server', async () => {
  const board = boards.get('gamma') as Board;
  board.cutOff();
  try {
    const { podIP } = (await pods()).find(({ spec }) => spec?.nodeName === 'gamma')?.status ?? {};
    expect(board.run('busybox', 'nslookup', 'web.default.svc.cluster.local', '10.43.0.10')).toMatch(
      /10\.43\./,
    );
    expect(board.run('busybox', 'wget', '-q', '-O', '-', `http://${podIP}/`).trim()).toBe('gamma');
  } finally {
    board.bringBack();
  }
});
