import { expect, it } from 'vitest';
import type { Pod } from '../../src/api/types/core-v1.ts';
import type { Board } from '../support/boards.ts';
import { busybox, service, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// Three boards on one segment: every pod reaches every other, and a Service answers everywhere by every pod.
const { boards, cluster, kubectl, apply, podsOf } = onBoards(['alpha', 'beta', 'gamma'], {
  async begin() {
    const web = busybox('mkdir /www; echo "$NODE" > /www/index.html; exec httpd -f -p 80 -h /www', {
      env: [{ name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
      readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 },
    });
    await apply(
      workload('DaemonSet', 'web', { containers: [web] }),
      service('web', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }),
    );
    await kubectl.line('rollout status daemonset/web --timeout=90s');
  },
});
const [alpha, , gamma] = boards;
const NAMES = boards.map(({ name }) => name);

const pods = (): Promise<Pod[]> => podsOf('app=web');
const fetchFrom = async (pod: Pod, url: string): Promise<string> =>
  (await kubectl.line(`exec ${pod.metadata.name} -- wget -q -O - ${url}`)).trim();

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
  const { spec } = await kubectl.get<{ spec: { clusterIP: string } }>('service', 'web');
  const wget = (board: Board, url: string): string =>
    board.run('busybox', 'wget', '-q', '-O', '-', url).trim();
  for (const board of boards) {
    expect(await answers(() => wget(board, `http://${spec.clusterIP}/`))).toEqual(NAMES);
    expect(await answers(() => wget(board, `http://${board.ip}:30080/`))).toEqual(NAMES);
  }
  for (const pod of await pods()) {
    expect(await answers(() => fetchFrom(pod, 'http://web/'))).toEqual(NAMES);
  }
});

it('makes every board a load balancer, and says so in the status', async () => {
  await kubectl.ok(['patch', 'service', 'web', '-p', '{"spec":{"type":"LoadBalancer"}}']);
  const wanted = boards.map(({ ip }) => ip).join(' ');
  const path = 'jsonpath={.status.loadBalancer.ingress[*].ip}';
  await cluster.eventually(
    'the boards’ addresses in the status',
    async () => (await kubectl.line(`get service web -o ${path}`)) === wanted,
  );
  await cluster.eventually('the balancers to answer', async () => {
    for (const { ip } of boards) {
      if (!NAMES.includes(alpha.run('busybox', 'wget', '-q', '-O', '-', `http://${ip}/`).trim()))
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
    kubectl
      .run(['exec', from.metadata.name ?? '', '--', 'timeout', '2', 'wget', '-q', '-O', '-', url])
      .then(({ code }) => code);
  const policy = (ingress: object[]) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'guard' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'], ingress },
  });
  await apply(policy([]));
  await cluster.eventually('the pod to be closed', async () => (await call(here)) !== 0);
  // Its own board, which probes it, still may.
  expect(gamma.run('busybox', 'wget', '-q', '-O', '-', url).trim()).toBe('gamma');
  await kubectl.apply(
    policy([
      {
        from: [{ podSelector: { matchLabels: { role: 'friend' } } }],
        ports: [{ protocol: 'TCP', port: 80 }],
      },
    ]),
  );
  await kubectl.line(`label pod ${here.metadata.name} role=friend`);
  await cluster.eventually('the friend to be let in', async () => (await call(here)) === 0);
  expect(await call(at('alpha'))).not.toBe(0);
  await kubectl.line('delete networkpolicy guard');
  await cluster.eventually('the pod to be open again', async () => (await call(at('alpha'))) === 0);
  expect(gamma.run('nft', 'list', 'table', 'ip', 'copepod')).not.toContain('chain policy-ingress');
});

it('resolves names on a board that is cut off from its server', async () => {
  gamma.cutOff();
  try {
    const { podIP } = (await pods()).find(({ spec }) => spec?.nodeName === 'gamma')?.status ?? {};
    expect(gamma.run('busybox', 'nslookup', 'web.default.svc.cluster.local', '10.43.0.10')).toMatch(
      /10\.43\./,
    );
    expect(gamma.run('busybox', 'wget', '-q', '-O', '-', `http://${podIP}/`).trim()).toBe('gamma');
  } finally {
    gamma.bringBack();
  }
});
