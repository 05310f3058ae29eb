import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Board, BoardNetwork } from '../support/boards.ts';
import { Cluster } from '../support/cluster.ts';

// Names as pods see them: busybox's own resolver and nslookup, through the board's rules, to the board's own server.
const network = new BoardNetwork();
let board: Board;
let cluster: Cluster;

const busybox = (command: string) => ({
  name: 'main',
  image: 'copepod.local/busybox',
  imagePullPolicy: 'IfNotPresent',
  command: ['sh', '-c', command],
});

beforeAll(async () => {
  await network.start();
  board = await network.board('names');
  cluster = await Cluster.start({ board });
  await cluster.kubectl.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'client' },
    spec: { terminationGracePeriodSeconds: 1, containers: [busybox('sleep 1000000')] },
  });
  await cluster.kubectl.apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'pets' },
    spec: { clusterIP: 'None', selector: { app: 'pets' }, ports: [{ name: 'http', port: 80 }] },
  });
  await cluster.kubectl.apply({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'pet' },
    spec: {
      serviceName: 'pets',
      replicas: 2,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: { app: 'pets' } },
      template: {
        metadata: { labels: { app: 'pets' } },
        spec: { terminationGracePeriodSeconds: 1, containers: [busybox('httpd -f -p 80')] },
      },
    },
  });
  await cluster.kubectl.line('wait --for=condition=Ready pod/client pod/pet-0 pod/pet-1 --timeout=90s');
});
afterAll(async () => {
  await cluster?.dispose();
  await network.stop();
});

const inPod = (command: string) => cluster.kubectl.line(`exec client -- ${command}`);

it('gives pods the cluster’s resolver', async () => {
  expect(await inPod('cat /etc/resolv.conf')).toMatch(
    /^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local.*\nnameserver 10\.43\.0\.10\noptions ndots:5\n$/,
  );
  expect(await cluster.kubectl.line('get events')).not.toContain('MissingClusterDNS');
  expect(
    await cluster.kubectl.line('get service -n kube-system kube-dns -o jsonpath={.spec.clusterIP}'),
  ).toBe('10.43.0.10');
});

it('resolves Services by their short and long names, and back', async () => {
  for (const name of ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc.cluster.local']) {
    // Nobody answers the ping; its first line tells the address.
    const { stdout } = await cluster.kubectl.run(['exec', 'client', '--', 'ping', '-c1', '-W1', name]);
    expect(stdout).toContain(`PING ${name} (10.43.0.1)`);
  }
  expect(await inPod('nslookup 10.43.0.1')).toContain('kubernetes.default.svc.cluster.local');
});

it('resolves a StatefulSet’s pods by name, over which they answer', async () => {
  const address = await cluster.kubectl.line('get pod pet-1 -o jsonpath={.status.podIP}');
  expect(await inPod('nslookup pet-1.pets.default.svc.cluster.local')).toContain(address);
  expect(await inPod(`nslookup ${address}`)).toContain('pet-1.pets.default.svc.cluster.local');
  expect(await inPod('wget -q -O - http://pet-1.pets/none').catch(String)).toContain('404');
});

it('answers the board too', async () => {
  const lookup = (): string =>
    board.run('busybox', 'nslookup', 'kubernetes.default.svc.cluster.local', '10.43.0.10');
  expect(lookup()).toContain('10.43.0.1');
});

it('denies what is not there', async () => {
  await expect(inPod('nslookup nobody.default.svc.cluster.local')).rejects.toThrow(/NXDOMAIN|can't find/i);
});
