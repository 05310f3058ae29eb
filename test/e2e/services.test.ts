import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { busybox, podOf, service, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// A board without nftables, as the program is told: Services through userspace, and what `copepod cleanup` leaves.
const {
  boards: [board],
  cluster,
  kubectl,
  apply,
} = onBoards(['plain'], {
  flags: ['--proxy-mode=userspace', '--disable=servicelb,local-storage', '--disable=metrics,dashboard'],
  async begin() {
    const web = busybox('mkdir /www; hostname > /www/index.html; httpd -f -p 8080 -h /www', {
      ports: [{ name: 'http', containerPort: 8080 }],
      readinessProbe: { httpGet: { port: 'http', path: '/' }, periodSeconds: 1 },
    });
    const client = busybox('sleep 1000000', { ports: [{ containerPort: 9999, hostPort: 9999 }] });
    await apply(
      workload('Deployment', 'web', { containers: [web] }, { replicas: 2 }),
      service('web', {
        type: 'LoadBalancer',
        ports: [{ port: 80, targetPort: 'http', nodePort: 30080 }],
      }),
      podOf('client', { containers: [client] }),
    );
    await kubectl.line('rollout status deployment/web --timeout=90s');
    await kubectl.line('wait --for=condition=Ready pod/client --timeout=60s');
  },
});

describe('a board in userspace mode', () => {
  const inPod = (command: string) => kubectl.ok(['exec', 'client', '--', 'sh', '-c', command]);

  it('says what it does and what it cannot', async () => {
    expect(cluster.process.logTail(2000)).toContain('Services by the userspace proxy');
    const events = await kubectl.line(
      'get events -A --field-selector involvedObject.kind=Node -o jsonpath={.items[*].reason}',
    );
    expect(events).toContain('UserspaceProxy');
    expect(board.run('nft', 'list', 'tables')).not.toContain('copepod');
  });

  it('answers for Services by name, address and node port, from pods, the board and outside', async () => {
    const hosts = new Set<string>();
    expect(await inPod('nslookup web.default.svc.cluster.local')).toContain('10.43.');
    await cluster.eventually('both pods to answer a pod', async () => {
      hosts.add((await inPod('wget -q -O - http://web/')).trim());
      return hosts.size === 2;
    });
    const ip = await kubectl.line('get service web -o jsonpath={.spec.clusterIP}');
    for (const address of [`${ip}:80`, '127.0.0.1:30080', `${board.ip}:30080`]) {
      expect(hosts).toContain(board.httpGet(`http://${address}/`).trim());
    }
  });

  it('leads pods to the API', async () => {
    expect(await inPod('nc -w 3 kubernetes 443 </dev/null && echo reached')).toContain('reached');
  });

  it('follows its pods', async () => {
    await kubectl.line('scale deployment web --replicas=0');
    await cluster.eventually('nobody to answer', () =>
      inPod('wget -q -O - http://web/').then(
        () => false,
        (error: Error) => error.message.includes('refused'),
      ),
    );
  });

  it('does without what was disabled', async () => {
    expect(await kubectl.line('get service web -o jsonpath={.status.loadBalancer}')).toBe('{}');
    expect(await kubectl.line('get storageclass')).not.toContain('local-path');
    expect(await kubectl.line('api-versions')).not.toContain('metrics.k8s.io');
  });
});

describe('copepod cleanup', () => {
  const cleanup = (...flags: string[]): { text: string; code: number } => {
    const [file = '', ...args] = [
      ...board.enter,
      process.execPath,
      'dist/copepod.js',
      'cleanup',
      `--data-dir=${cluster.dataDir}`,
      `--node-name=${board.name}`,
      `--docker-host=${board.docker.dockerHost}`,
      ...flags,
    ];
    try {
      return { text: execFileSync(file, args, { encoding: 'utf8' }), code: 0 };
    } catch (error) {
      const { stdout, status } = error as { stdout: string; status: number };
      return { text: stdout, code: status };
    }
  };

  it('refuses while copepod runs, tells, and then leaves nothing behind', async () => {
    expect(cleanup('--yes')).toMatchObject({ code: 1, text: expect.stringContaining('stop copepod first') });
    await cluster.process.stop();
    expect(board.run('ip', 'addr')).toMatch(/cpod0|copepod-svc/);
    const told = cleanup();
    expect(told).toMatchObject({ code: 0, text: expect.stringContaining('--yes would remove') });
    expect(told.text).toMatch(/containers: [1-9]/);
    expect(board.run('ip', 'addr')).toContain('cpod0');

    expect(cleanup('--yes')).toMatchObject({ code: 0, text: expect.stringContaining('Removed:') });
    expect(await board.docker.call('GET', '/containers/json?all=true')).toEqual([]);
    expect(board.run('ip', 'addr')).not.toMatch(/cpod|vethcp|copepod|10\.4[23]\./);
    expect(board.run('ip', 'route')).not.toMatch(/10\.4[23]\./);
    expect(board.run('nft', 'list', 'tables')).not.toContain('copepod');
    expect(board.run('iptables-save')).not.toContain('COPEPOD');
    expect(board.run('cat', '/proc/self/mountinfo')).not.toContain(`${cluster.dataDir}/`);
    expect(board.run('ls', '/var/log')).not.toMatch(/pods|containers/);
    // Again: there is nothing.
    expect(cleanup('--yes').code).toBe(0);
  });
});
