import { rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { selfSigned, tlsSecret } from '../support/ingress.ts';
import { busybox, FOREVER, onNode, podOf, service, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';
import { waitFor } from '../support/wait.ts';

// A site that has lost its link, and with the lease its address and its default route: what its board goes on doing by
// itself, also when the agent is started again and when the power comes back before the link does.
const HOST = 'web.test';
const there = onNode('site');
const pages = (text: string): string => `mkdir /www; echo ${text} > /www/index.html; exec httpd -f -h /www`;

const OBJECTS = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'page' }, data: { 'index.html': 'the page' } },
  { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'word' }, stringData: { word: 'open sesame' } },
  workload(
    'Deployment',
    'web',
    {
      ...there,
      volumes: [
        { name: 'page', configMap: { name: 'page' } },
        { name: 'word', secret: { secretName: 'word' } },
      ],
      containers: [
        busybox('cat /word/word > /tmp/word; exec httpd -f -p 80 -h /page', {
          ports: [{ name: 'http', containerPort: 80 }],
          readinessProbe: { tcpSocket: { port: 'http' }, periodSeconds: 1 },
          volumeMounts: [
            { name: 'page', mountPath: '/page' },
            { name: 'word', mountPath: '/word' },
          ],
        }),
      ],
    },
    { replicas: 2 },
  ),
  service('web', { type: 'NodePort', ports: [{ port: 80, targetPort: 'http', nodePort: 30080 }] }),
  podOf('guarded', { ...there, containers: [busybox(pages('guarded'))] }, { labels: { app: 'guarded' } }),
  service('guarded', { clusterIP: 'None', ports: [{ port: 80 }] }),
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'guard' },
    spec: {
      podSelector: { matchLabels: { app: 'guarded' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'friend' } } }] }],
    },
  },
  ...['friend', 'stranger'].map((name) =>
    podOf(name, { ...there, containers: [busybox(FOREVER)] }, { labels: { app: name } }),
  ),
  podOf('host-port', {
    ...there,
    containers: [busybox(pages('by hostPort'), { ports: [{ containerPort: 80, hostPort: 8080 }] })],
  }),
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'web' },
    spec: {
      tls: [{ hosts: [HOST], secretName: 'web-tls' }],
      rules: [
        {
          host: HOST,
          http: {
            paths: [
              { path: '/', pathType: 'Prefix', backend: { service: { name: 'web', port: { number: 80 } } } },
            ],
          },
        },
      ],
    },
  },
];

const {
  cluster,
  apply,
  boards: [hub, site],
  agents: [agent],
} = onBoards(['hub', 'site'], {
  begin: async () => {
    const { metadata, ...secret } = tlsSecret('web-tls', selfSigned(HOST));
    await apply({ ...secret, metadata: { name: metadata.name } }, ...OBJECTS);
    await cluster.kubectl.line('rollout status deployment/web --timeout=90s');
    await cluster.kubectl.line('wait --for=condition=Ready pod --all --timeout=60s');
  },
});

/** By name, what runs of our pods at the site. */
async function running(): Promise<Record<string, string>> {
  const containers = await site.docker.containers({ 'io.kubernetes.pod.namespace': 'default' });
  return Object.fromEntries(containers.map(({ Names, Id }) => [Names[0] ?? '', Id]).sort());
}

/** A shell command in a pod, without the API: by the board's own engine. */
async function inPod(name: string, command: string, seconds = 5): Promise<string> {
  const labels = { 'io.kubernetes.pod.name': name, 'io.kubernetes.container.name': 'main' };
  const [found] = await site.docker.containers(labels);
  if (!found) throw new Error(`pod ${name} does not run`);
  const exec = [
    'docker',
    '-H',
    site.docker.dockerHost,
    'exec',
    found.Id,
    'timeout',
    String(seconds),
    'sh',
    '-c',
    command,
  ];
  return site.run(...exec).trim();
}

const client = (op: string, more: object = {}): unknown =>
  JSON.parse(
    site.run(
      process.execPath,
      `${root}/test/support/ingress-client.mjs`,
      JSON.stringify({ op, host: HOST, address: '127.0.0.1', ...more }),
    ),
  );

const said = (call: () => Promise<unknown> | unknown): Promise<unknown> =>
  Promise.resolve()
    .then(call)
    .catch(
      (error: Error) =>
        `failed: ${error.message.split('\n').slice(-3).join(' ')} ${(error as { status?: number }).status}`,
    );

/** Everything that the site does for its users, as they see it. */
async function served(): Promise<Record<string, unknown>> {
  const get =
    (url: string, ...flags: string[]) =>
    () =>
      site.run('timeout', '5', 'busybox', 'wget', '-q', '-O', '-', ...flags, url).trim();
  const wget = (pod: string, url: string) => () => inPod(pod, `wget -q -O - ${url}`);
  const checks: Record<string, () => unknown> = {
    'a name': async () =>
      /10\.43\.\d+\.\d+/.test(await inPod('friend', 'nslookup web.default.svc.cluster.local')),
    'a Service, from a pod': wget('friend', 'http://web/'),
    'a Service, from the board': get(`http://${clusterIP}/`),
    'a node port': get('http://127.0.0.1:30080/'),
    'a hostPort': get('http://127.0.0.1:8080/'),
    'an Ingress': get('http://127.0.0.1/', '--header', `Host: ${HOST}`),
    'an Ingress by TLS': () => (client('get', { tls: true }) as { text: string }).text.trim(),
    'its certificate': () => client('certificate'),
    'what a policy allows': wget('friend', 'http://guarded/'),
    'a secret in a volume': async () => inPod(await webPod(), 'cat /tmp/word'),
  };
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, call]) => [name, await said(call)] as const),
  );
  return Object.fromEntries(results);
}

const ALL_WELL = {
  'a name': true,
  'a Service, from a pod': 'the page',
  'a Service, from the board': 'the page',
  'a node port': 'the page',
  'a hostPort': 'by hostPort',
  'an Ingress': 'the page',
  'an Ingress by TLS': 'the page',
  'its certificate': `DNS:${HOST}`,
  'what a policy allows': 'guarded',
  'a secret in a volume': 'open sesame',
};

async function webPod(): Promise<string> {
  const containers = await site.docker.containers({ 'io.kubernetes.container.name': 'main' });
  const names = containers.map(({ Labels }) => Labels['io.kubernetes.pod.name'] ?? '');
  return names.find((name) => name.startsWith('web-')) ?? '';
}

async function wellWithin(what: string, timeoutMs: number): Promise<void> {
  let seen: Record<string, unknown> = {};
  await waitFor(
    what,
    async () => {
      seen = await served();
      return JSON.stringify(seen) === JSON.stringify(ALL_WELL);
    },
    { timeoutMs, details: () => `${JSON.stringify(seen, null, 1)}\n${agent.process.logTail(20)}` },
  );
  // Only what works can be seen to be refused.
  expect(await said(() => inPod('stranger', 'wget -q -O - http://guarded/', 2))).toMatch(/^failed/);
}

let clusterIP = '';
let before: Record<string, string> = {};

/** As a DHCP client does it when the carrier goes. */
function losesLink(): void {
  site.cutOff();
  site.run('ip', 'address', 'flush', 'dev', 'eth0');
}

function getsLink(): void {
  site.run('nft', 'delete', 'table', 'ip', 'void');
  site.run('ip', 'route', 'replace', 'default', 'via', '10.77.0.254');
}

describe('a board that is cut off', () => {
  it('serves everything before', async () => {
    clusterIP = await cluster.kubectl.line('get service web -o jsonpath={.spec.clusterIP}');
    await wellWithin('the site to serve with its link', 60_000);
    before = await running();
  });

  it('goes on', async () => {
    losesLink();
    await wellWithin('the site to serve without its link', 20_000);
    expect(await running()).toEqual(before);
  });

  it('serves Services without its agent, and all with a new one that has never seen the server', async () => {
    await agent.process.stop();
    expect(site.httpGet('http://127.0.0.1:30080/').trim()).toBe('the page');
    expect(await running()).toEqual(before);
    agent.process.start();
    await wellWithin('the site to serve with another agent', 30_000);
    expect(await running()).toEqual(before);
  });

  it('restarts what ended while no agent was there to see it', async () => {
    await agent.process.kill();
    const victim = { 'io.kubernetes.pod.name': await webPod(), 'io.kubernetes.container.name': 'main' };
    const [found] = await site.docker.containers(victim);
    await site.docker.call('POST', `/containers/${found?.Id}/kill`);
    agent.process.start();
    await waitFor(
      'the container to run again',
      async () => (await site.docker.containers(victim)).length === 1,
      {
        timeoutMs: 30_000,
        details: () => agent.process.logTail(),
      },
    );
    await wellWithin('the site to serve with all its containers', 30_000);
  });

  it('starts everything again after a power cut, where nothing answers on a wire that is there', async () => {
    const count = Object.keys(await running()).length;
    await agent.process.kill();
    await site.docker.powerCut();
    losesItsMemory();
    site.run('ip', 'address', 'add', `${site.ip}/24`, 'dev', 'eth0');
    site.run(
      'nft',
      `table ip void { chain out { type filter hook output priority 0; ip daddr ${hub.ip} drop; }; }`,
    );
    site.bringBack();
    expect(site.run('ip', 'link')).not.toContain('cpod0');
    await site.docker.start();
    expect(await running()).toEqual({});
    agent.process.start();
    await wellWithin('the site to serve after a power cut', 60_000);
    expect(Object.keys(await running())).toHaveLength(count);
  });

  it('is the same node with the same pods when the link is back', async () => {
    const here = await running();
    const back = Date.now();
    getsLink();
    await cluster.nodeReady('site', back, 90_000);
    await cluster.kubectl.line('wait --for=condition=Ready pod --all --timeout=60s');
    expect(await running()).toEqual(here);
    const { items } = await cluster.kubectl.get<{ items: Pod[] }>('pods');
    expect(items.map(({ status }) => status?.hostIP)).toEqual(items.map(() => site.ip));
    expect(items.map(({ status }) => status?.containerStatuses?.[0]?.ready)).toEqual(items.map(() => true));
    await wellWithin('the site to serve with its link again', 30_000);
    expect(site.httpGet(`http://${site.ip}:30080/`).trim()).toBe('the page');
  });
});

/** What is in memory only: mounts, /run, the kernel's interfaces, routes and rules. */
function losesItsMemory(): void {
  const folders = [agent.directory, site.docker.dataRoot, site.docker.execRoot].join('|');
  const mounts = `cut -d' ' -f5 /proc/self/mountinfo | grep -E '^(${folders})/' | sort -r`;
  site.run('sh', '-c', `${mounts} | xargs -r umount --lazy`);
  rmSync(site.docker.execRoot, { recursive: true, force: true });
  site.run('nft', 'flush', 'ruleset');
  site.run('ip', 'link', 'delete', 'cpod0');
  site.run('ip', '-4', 'route', 'flush', 'proto', '79');
}
