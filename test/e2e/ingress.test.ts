import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import type { Ingress, IngressClass } from '../../src/api/types/networking-v1.ts';
import { selfSigned, tlsSecret } from '../support/ingress.ts';
import { BUSYBOX, service, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// The ingress as a client outside the cluster meets it: from a namespace that has no route to the pods.
const {
  boards: [board],
  others: [outside],
  cluster,
  kubectl,
  apply,
} = onBoards(['gate'], {
  others: ['outside'],
  async begin() {
    await apply(...web('web', 2), ...web('other', 1));
    await kubectl.line('rollout status deployment/web deployment/other --timeout=90s');
  },
});

const CLIENT = `${root}/test/support/ingress-client.mjs`;

/** A Deployment of test/support/ingress-pod.mjs with its Service; Node and its libraries come from this machine. */
function web(name: string, replicas: number): object[] {
  const folder = (path: string, at = path) => ({ path, at, name: at.replaceAll('/', '-').slice(1) });
  const folders = [
    folder('/usr/lib'),
    folder('/usr/lib', '/lib'),
    folder('/lib64'),
    folder(root, '/repo'),
    folder(dirname(process.execPath), '/node'),
  ];
  const container = {
    name: 'main',
    image: BUSYBOX,
    imagePullPolicy: 'IfNotPresent' as const,
    command: ['/node/node', '/repo/test/support/ingress-pod.mjs', '8080'],
    ports: [{ name: 'web', containerPort: 8080 }],
    readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
    // A POST that reached a process about to exit cannot be sent again: docs/ingress.md says to wait like this.
    lifecycle: { preStop: { sleep: { seconds: 3 } } },
    volumeMounts: folders.map((one) => ({ name: one.name, mountPath: one.at, readOnly: true })),
  };
  const pod = {
    terminationGracePeriodSeconds: 20,
    containers: [container],
    volumes: folders.map((one) => ({ name: one.name, hostPath: { path: one.path } })),
  };
  return [
    workload('Deployment', name, pod, { replicas }),
    service(name, { ports: [{ name: 'http', port: 80, targetPort: 'web' }] }),
  ];
}

const backend = (name: string, port: object = { number: 80 }) => ({ service: { name, port } });
const path = (of: string, service: object, pathType = 'Prefix') => ({ path: of, pathType, backend: service });

const ingress = (name: string, spec: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'Ingress',
  metadata: { name },
  spec,
});

interface Got {
  status: number;
  text: string;
  length: number;
  hash: string;
  protocol?: string;
}

const client = <T = Got>(op: string, host: string, more: object = {}): T =>
  JSON.parse(
    outside.run(process.execPath, CLIENT, JSON.stringify({ op, host, address: board.ip, ...more })),
  ) as T;

const podOf = (got: Got): string => (JSON.parse(got.text) as { pod: string }).pod;

const listening = (): string => board.run('ss', '--no-header', '--listening', '--tcp', '--numeric');

it('takes no port without an Ingress, and has its class as the default one', async () => {
  expect(listening()).not.toMatch(/:(80|443)\s/);
  const { metadata, spec } = await kubectl.get<IngressClass>('ingressclass', 'copepod');
  expect(spec?.controller).toBe('copepod.io/ingress');
  expect(metadata.annotations).toEqual({ 'ingressclass.kubernetes.io/is-default-class': 'true' });
});

it('shows class and address, and serves hosts, paths and the default backend', async () => {
  await apply(
    ingress('web', {
      tls: [{ hosts: ['web.test'], secretName: 'web-tls' }],
      rules: [
        {
          host: 'web.test',
          http: {
            paths: [path('/', backend('web')), path('/other', backend('other', { name: 'http' }))],
          },
        },
        { host: '*.wild.test', http: { paths: [path('/exact', backend('web'), 'Exact')] } },
      ],
    }),
  );
  await apply(ingress('rest', { defaultBackend: backend('other') }));
  await cluster.eventually(
    'the address',
    async () =>
      (await kubectl.get<Ingress>('ingress', 'web')).status?.loadBalancer?.ingress?.[0]?.ip === board.ip,
  );
  expect(await kubectl.line('get ingress web --no-headers')).toMatch(
    new RegExp(`^web +copepod +web.test,\\*.wild.test +${board.ip} +80, 443 `),
  );
  await cluster.eventually('the port', async () => client('get', 'web.test').status === 200);
  const seen = JSON.parse(client('get', 'web.test', { path: '/x?y=1' }).text);
  expect(seen.pod).toMatch(/^web-/);
  expect(seen.url).toBe('/x?y=1');
  expect(seen.headers).toMatchObject({
    host: 'web.test',
    'x-forwarded-for': outside.ip,
    'x-forwarded-proto': 'http',
    'x-forwarded-port': '80',
  });
  expect(podOf(client('get', 'web.test', { path: '/other' }))).toMatch(/^other-/);
  expect(podOf(client('get', 'a.wild.test', { path: '/exact' }))).toMatch(/^web-/);
  expect(podOf(client('get', 'a.wild.test', { path: '/exact/' }))).toMatch(/^other-/);
  expect(podOf(client('get', 'unknown.test'))).toMatch(/^other-/);
});

it('serves certificates by name, says what is wrong with one, and takes a new one without a restart', async () => {
  await cluster.eventually('the event', async () =>
    /Warning +SecretNotFound +Ingress\/web|SecretNotFound/.test(
      await kubectl.line('get events --field-selector involvedObject.kind=Ingress'),
    ),
  );
  const certificate = (): string => client<string>('certificate', 'web.test');
  expect(certificate()).toBe('DNS:ingress.invalid');
  const apply = async (...names: string[]): Promise<void> => {
    const { metadata, ...secret } = tlsSecret('web-tls', selfSigned(...names));
    await kubectl.apply({ ...secret, metadata: { name: metadata.name } });
    await cluster.eventually(
      'the certificate',
      async () => certificate() === names.map((name) => `DNS:${name}`).join(', '),
    );
  };
  await apply('web.test');
  const seen = JSON.parse(client('get', 'web.test', { tls: true }).text);
  expect(seen.headers).toMatchObject({ 'x-forwarded-proto': 'https', 'x-forwarded-port': '443' });
  await apply('web.test', 'renewed.test');
});

it('carries WebSockets, HTTP/2, and 20 MB up and down', () => {
  expect(client<string>('websocket', 'web.test')).toBe('echo hello');
  expect(client<string>('websocket', 'web.test', { tls: true })).toBe('echo hello');
  expect(client('http2', 'web.test')).toMatchObject({ protocol: 'h2', status: 200 });
  const length = 20 * 1024 * 1024;
  expect(client('http2', 'web.test', { path: '/bulk' })).toMatchObject({ status: 200, length });
  const sent = createHash('sha256').update(Buffer.alloc(length, 7)).digest('hex');
  for (const tls of [false, true]) {
    const uploaded = JSON.parse(client('upload', 'web.test', { tls }).text);
    expect(uploaded).toMatchObject({ length, hash: sent });
  }
});

it('loses no request while the pods behind it are replaced', async () => {
  const [program = '', ...prefix] = outside.enter;
  const asked = JSON.stringify({ op: 'load', host: 'web.test', address: board.ip });
  const load = spawn(program, [...prefix, process.execPath, CLIENT, asked], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  load.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const ended = new Promise((resolve) => load.on('close', resolve));
  await kubectl.line('rollout restart deployment/web');
  await kubectl.line('rollout status deployment/web --timeout=90s');
  const terminating = async (): Promise<string> => kubectl.line('get pods -l app=web -o name');
  await cluster.eventually(
    'the old pods to be gone',
    async () => (await terminating()).trim().split('\n').length === 2,
  );
  load.stdin.end();
  await ended;
  const { count, pods, failures } = JSON.parse(output) as {
    count: number;
    pods: string[];
    failures: string[];
  };
  const said = cluster.process
    .log()
    .split('\n')
    .filter((line) => line.includes('failed a request'));
  // What can be asked again is; a POST that met a pod's very end cannot, and is answered 502.
  const repeatable = failures.filter((failure) => !failure.startsWith('POST'));
  expect({ repeatable, said: repeatable.length > 0 ? said : [] }).toEqual({ repeatable: [], said: [] });
  expect(failures.length, said.join('\n')).toBeLessThanOrEqual(2);
  expect(pods.length).toBeGreaterThanOrEqual(3);
  expect(count).toBeGreaterThan(50);
});

it('gives the ports back with the last Ingress', async () => {
  await kubectl.line('delete ingress --all');
  await cluster.eventually('the ports to be free', async () => !/:(80|443)\s/.test(listening()));
});
