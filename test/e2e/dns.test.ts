import { expect, it } from 'vitest';
import { busybox, podOf, service, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// Names as pods see them: busybox's own resolver and nslookup, through the board's rules, to the board's own server.
const {
  boards: [board],
  kubectl,
  apply,
} = onBoards(['names'], {
  async begin() {
    await apply(
      podOf('client'),
      service('pets', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
      workload(
        'StatefulSet',
        'pets',
        { containers: [busybox('httpd -f -p 80')] },
        { replicas: 2, podManagementPolicy: 'Parallel' },
      ),
    );
    await kubectl.line('rollout status statefulset/pets --timeout=90s');
    await kubectl.line('wait --for=condition=Ready pod/client --timeout=90s');
  },
});

const inPod = (command: string) => kubectl.line(`exec client -- ${command}`);

it('gives pods the cluster’s resolver', async () => {
  expect(await inPod('cat /etc/resolv.conf')).toMatch(
    /^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local.*\nnameserver 10\.43\.0\.10\noptions ndots:5\n$/,
  );
  expect(await kubectl.line('get events')).not.toContain('MissingClusterDNS');
  expect(await kubectl.line('get service -n kube-system kube-dns -o jsonpath={.spec.clusterIP}')).toBe(
    '10.43.0.10',
  );
});

it('resolves Services by their short and long names, and back', async () => {
  for (const name of ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc.cluster.local']) {
    // Nobody answers the ping; its first line tells the address.
    const { stdout } = await kubectl.run(['exec', 'client', '--', 'ping', '-c1', '-W1', name]);
    expect(stdout).toContain(`PING ${name} (10.43.0.1)`);
  }
  expect(await inPod('nslookup 10.43.0.1')).toContain('kubernetes.default.svc.cluster.local');
});

it('resolves a StatefulSet’s pods by name, over which they answer', async () => {
  const address = await kubectl.line('get pod pets-1 -o jsonpath={.status.podIP}');
  expect(await inPod('nslookup pets-1.pets.default.svc.cluster.local')).toContain(address);
  expect(await inPod(`nslookup ${address}`)).toContain('pets-1.pets.default.svc.cluster.local');
  expect(await inPod('wget -q -O - http://pets-1.pets/none').catch(String)).toContain('404');
});

it('answers the board too', async () => {
  const lookup = (): string =>
    board.run('busybox', 'nslookup', 'kubernetes.default.svc.cluster.local', '10.43.0.10');
  expect(lookup()).toContain('10.43.0.1');
});

it('denies what is not there', async () => {
  await expect(inPod('nslookup nobody.default.svc.cluster.local')).rejects.toThrow(/NXDOMAIN|can't find/i);
});
