import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import type { CronJob, Job } from '../../src/api/types/batch-v1.ts';
import type { Node, Pod } from '../../src/api/types/core-v1.ts';
import { isReady } from '../support/look-at.ts';
import { busybox, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// What README's first five minutes promise, by an unmodified kubectl on real Docker: the examples of the project.
const folder = mkdtempSync(join(tmpdir(), 'copepod-first-'));
const example = (name: string): string => join(root, 'examples', name);
const {
  boards: [board],
  cluster,
  kubectl,
  apply,
  list,
  getPod,
  podsOf,
} = onBoards(['pi'], {
  async begin() {
    await kubectl.ok(['apply', '-f', example('web.yaml')]);
    // Its minute comes while the others are tested.
    await kubectl.ok(['apply', '-f', example('cronjob.yaml')]);
    await kubectl.line('rollout status deployment/web --timeout=60s');
  },
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const podContainers = (pod: Pod, all = false) =>
  board.docker.containers({ 'io.kubernetes.pod.uid': pod.metadata?.uid ?? '' }, all);

/** The pods that are neither ending nor missing something. */
async function readyPods(selector: string, count: number): Promise<Pod[]> {
  return cluster.eventually(`${count} pods ${selector} to be Ready and no other`, async () => {
    const pods = await podsOf(selector);
    return pods.length === count && pods.every(isReady) ? pods : undefined;
  });
}

const curl = (url: string): string => board.httpGet(url);

describe('Deployment', () => {
  it('runs its pods, each in a sandbox, with the addresses that it reports', async () => {
    await kubectl.line('scale deployment/web --replicas=3');
    for (const pod of await readyPods('app=web', 3)) {
      expect(pod.status?.podIP).toMatch(/^10\.42\.\d+\.\d+$/);
      expect(pod.status?.hostIP).toBe(board.ip);
      expect(pod.spec?.nodeName).toBe('pi');
      const names = (await podContainers(pod)).map(({ Names }) => Names[0]);
      expect(names.filter((name) => name?.startsWith('/k8s_POD_'))).toHaveLength(1);
      expect(names.filter((name) => name?.startsWith('/k8s_httpd_'))).toHaveLength(1);
      expect(curl(`http://${pod.status?.podIP}:8080/`)).toContain('Hello from copepod');
    }
  });

  it('rolls a change out, and back', async () => {
    // A second name for the same image is a new image to Kubernetes.
    await board.docker.call(
      'POST',
      '/images/copepod.local%2Fbusybox/tag?repo=copepod.local%2Fbusybox&tag=second',
    );
    const before = await podsOf('app=web');
    await kubectl.line('set image deployment/web httpd=copepod.local/busybox:second');
    await kubectl.line('rollout status deployment/web --timeout=90s');
    const rolled = await readyPods('app=web', 3);
    for (const pod of rolled) {
      expect(pod.spec?.containers[0]?.image).toBe('copepod.local/busybox:second');
      expect(before.map(({ metadata }) => metadata?.uid)).not.toContain(pod.metadata?.uid);
    }
    expect(await kubectl.line('rollout history deployment/web')).toMatch(/\n1 +<none>\n2 +<none>\n/);

    await kubectl.line('rollout undo deployment/web');
    await kubectl.line('rollout status deployment/web --timeout=90s');
    for (const pod of await readyPods('app=web', 3)) {
      expect(pod.spec?.containers[0]?.image).toBe('copepod.local/busybox');
    }
    await kubectl.line('rollout restart deployment/web');
    await kubectl.line('rollout status deployment/web --timeout=90s');
  });

  it('counts the restart of a container that was killed by hand', async () => {
    const [pod] = await readyPods('app=web', 3);
    if (!pod) throw new Error('no pod');
    const victim = (await podContainers(pod)).find(({ Names }) => Names[0]?.startsWith('/k8s_httpd_'));
    await board.docker.call('POST', `/containers/${victim?.Id}/kill`);
    await cluster.eventually('the restart to be counted and the pod to be Ready', async () => {
      const now = await getPod(pod.metadata.name ?? '');
      const [status] = now.status?.containerStatuses ?? [];
      return status?.restartCount === 1 && status.lastState?.terminated?.exitCode === 137 && isReady(now);
    });
  });

  it('leaves no container when scaled to nothing', async () => {
    const pods = await podsOf('app=web');
    await kubectl.line('scale deployment/web --replicas=0');
    await readyPods('app=web', 0);
    await cluster.eventually('the containers to be gone', async () => {
      const left = await Promise.all(pods.map((pod) => podContainers(pod, true)));
      return left.flat().length === 0;
    });
    await kubectl.line('scale deployment/web --replicas=2');
    await readyPods('app=web', 2);
  });
});

describe('Service', () => {
  it('answers on its cluster IP and on its node port', async () => {
    await readyPods('app=web', 2);
    const ip = await kubectl.line('get service web -o jsonpath={.spec.clusterIP}');
    expect(ip).toMatch(/^10\.43\./);
    await cluster.eventually('the service to answer', async () => curl(`http://${ip}/`).includes('Hello'));
    expect(curl(`http://${board.ip}:30080/`)).toContain('Hello from copepod');
    const endpoints = await kubectl.line('get endpointslices -l kubernetes.io/service-name=web -o json');
    expect(
      JSON.parse(endpoints).items.flatMap((slice: { endpoints: unknown[] }) => slice.endpoints),
    ).toHaveLength(2);
  });

  it('answers from inside a pod', async () => {
    const ip = await kubectl.line('get service web -o jsonpath={.spec.clusterIP}');
    const [pod] = await readyPods('app=web', 2);
    // Without -T: Debian 12's busybox-static crashes with it.
    const out = await kubectl.ok([
      'exec',
      pod?.metadata?.name ?? '',
      '--',
      'wget',
      '-q',
      '-O-',
      `http://${ip}/`,
    ]);
    expect(out).toContain('Hello from copepod');
  });
});

describe('other workloads', () => {
  it('completes a Job', async () => {
    await kubectl.ok(['apply', '-f', example('job.yaml')]);
    await kubectl.line('wait --for=condition=complete job/sum --timeout=60s');
    expect((await kubectl.get<Job>('job', 'sum')).status?.succeeded).toBe(3);
    expect(await kubectl.line('logs -l job-name=sum')).toBe('500500\n500500\n500500\n');
    await kubectl.line('delete job sum');
    await cluster.eventually(
      'its pods to be collected',
      async () => (await podsOf('job-name=sum')).length === 0,
    );
  });

  it('runs a DaemonSet on the node', async () => {
    await kubectl.ok(['apply', '-f', example('daemonset.yaml')]);
    await kubectl.line('rollout status daemonset/board-load --timeout=60s');
    await readyPods('app=board-load', 1);
    await cluster.eventually('its log', async () =>
      (await kubectl.line('logs -l app=board-load --prefix')).includes('pi '),
    );
  });
});

describe('kubectl', () => {
  it('tells and explains', async () => {
    expect(await kubectl.line('get nodes')).toMatch(
      /^NAME +STATUS +ROLES +AGE +VERSION\npi +Ready +control-plane +\S+ +v1\.36\.0\+copepod/,
    );
    expect(await kubectl.line('get pods -o wide')).toMatch(/^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/);
    expect(await kubectl.line('get deploy,svc,ds -o name')).toContain('deployment.apps/web\n');
    expect(await kubectl.line('get deployment web -o yaml')).toContain('kind: Deployment');
    const described = await kubectl.line('describe pod -l app=web');
    for (const reason of ['Scheduled', 'Created', 'Started'])
      expect(described).toMatch(new RegExp(`Normal +${reason}`));
    expect(await kubectl.line('describe node pi')).toMatch(/Ready +True/);
    expect(await kubectl.line('describe deployment web')).toContain(
      '2 desired | 2 updated | 2 total | 2 available',
    );
    expect(await kubectl.line('explain deployment.spec.replicas')).toMatch(/FIELD: +replicas <integer>/);
    expect(await kubectl.line('api-resources')).toMatch(/deployments +deploy +apps\/v1 +true +Deployment/);
    expect(await kubectl.line('version')).toMatch(/Server Version: .*v1\.36\.0\+copepod/);
    expect(await kubectl.line('cluster-info')).toContain('is running at');
  });

  it('creates, edits, labels, annotates and deletes', async () => {
    await kubectl.line('create configmap settings --from-literal=colour=green');
    await kubectl.line('label configmap settings tier=front');
    await kubectl.line('annotate configmap settings note=here');
    expect(
      await kubectl.line('get configmap -l tier=front -o jsonpath={.items[0].metadata.annotations.note}'),
    ).toBe('here');
    const editor = join(folder, 'editor');
    writeFileSync(editor, '#!/bin/sh\nsed -i s/green/blue/ "$1"\n', { mode: 0o755 });
    await kubectl.ok(['patch', 'configmap', 'settings', '-p', '{"data":{"size":"1"}}']);
    process.env.KUBE_EDITOR = editor;
    try {
      await kubectl.line('edit configmap settings');
    } finally {
      delete process.env.KUBE_EDITOR;
    }
    expect(JSON.parse(await kubectl.line('get configmap settings -o jsonpath={.data}'))).toEqual({
      colour: 'blue',
      size: '1',
    });
    await kubectl.line('delete configmap settings');
    expect(await kubectl.run(['get', 'configmap', 'settings'])).toMatchObject({
      code: 1,
      stderr: 'Error from server (NotFound): configmaps "settings" not found\n',
    });
  });

  it('refuses a wrong field as Kubernetes does', async () => {
    const deployment = JSON.parse(await kubectl.line('get deployment web -o json'));
    deployment.spec.replicaz = 3;
    const { code, stderr } = await kubectl.run(['replace', '-f', '-'], { stdin: JSON.stringify(deployment) });
    expect(code).toBe(1);
    expect(stderr).toMatch(/unknown field "(spec\.)?replicaz"/);
  });

  it('watches', async () => {
    const watching = kubectl.spawn(['get', 'configmaps', '--watch-only', '--output-watch-events']);
    let seen = '';
    watching.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    try {
      await cluster.eventually('the watch to see a change', async () => {
        await kubectl.run(['create', 'configmap', 'seen']);
        await kubectl.run(['delete', 'configmap', 'seen']);
        return /ADDED +seen/.test(seen) && /DELETED +seen/.test(seen);
      });
    } finally {
      watching.kill();
    }
  });
});

describe('streams', () => {
  const running = (name: string, script: string): Pod => podOf(name, { containers: [busybox(script)] });

  beforeAll(async () => {
    await apply(running('talker', 'i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done'));
    await kubectl.line('wait --for=condition=Ready pod/talker --timeout=60s');
  });

  it('shows logs: all, the tail, those that come, those of the run before', async () => {
    await cluster.eventually('ten lines', async () =>
      (await kubectl.line('logs talker')).includes('line 10\n'),
    );
    expect(await kubectl.line('logs talker')).toMatch(/^line 1\nline 2\n/);
    expect((await kubectl.line('logs talker -c main --tail=2')).split('\n')).toHaveLength(3);
    const following = kubectl.spawn(['logs', '-f', '--tail=1', 'talker']);
    let followed = '';
    following.stdout.on('data', (chunk: Buffer) => {
      followed += chunk.toString();
    });
    try {
      await cluster.eventually('five lines that come', async () => followed.split('\n').length > 5);
    } finally {
      following.kill();
    }
    await apply(running('crasher', 'echo this was the run; exit 3'));
    try {
      await cluster.eventually('the log of the run before', async () =>
        (await kubectl.run(['logs', '--previous', 'crasher'])).stdout.includes('this was the run'),
      );
    } finally {
      await kubectl.line('delete pod crasher --now');
    }
  });

  it('executes, with input, output, exit code and terminal', async () => {
    expect(await kubectl.ok(['exec', 'talker', '--', 'sh', '-c', 'echo out; echo err >&2'])).toBe('out\n');
    expect(await kubectl.ok(['exec', '-i', 'talker', '--', 'wc', '-c'], { stdin: 'x'.repeat(100_000) })).toBe(
      '100000\n',
    );
    expect((await kubectl.run(['exec', 'talker', '--', 'sh', '-c', 'exit 7'])).code).toBe(7);
    const typed = await kubectl.runOnTerminal(['exec', '-it', 'talker', '--', 'sh'], {
      stdin: 'test -t 0 && echo on a $((6 * 7)) terminal; stty size; exit 5\n',
    });
    expect(typed.stdout).toContain('on a 42 terminal\r\n');
    expect(typed.code).toBe(5);
  });

  it('copies files in and out', async () => {
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 256));
    writeFileSync(from, bytes);
    await kubectl.ok(['cp', from, 'talker:/tmp/copied']);
    await kubectl.ok(['cp', 'talker:/tmp/copied', to]);
    expect(readFileSync(to).equals(bytes)).toBe(true);
  });

  it('forwards a port', async () => {
    const forwarding = kubectl.spawn(['port-forward', 'service/web', '18080:80']);
    let out = '';
    forwarding.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    try {
      await cluster.eventually('the port to be forwarded', async () =>
        out.includes('Forwarding from 127.0.0.1:18080'),
      );
      for (let round = 0; round < 3; round += 1)
        expect(curl('http://127.0.0.1:18080/')).toContain('Hello from copepod');
    } finally {
      forwarding.kill();
    }
  });

  it('deletes gracefully, and waits for it', async () => {
    await kubectl.line('delete pod talker --wait=true --timeout=30s');
    expect((await kubectl.run(['get', 'pod', 'talker'])).code).toBe(1);
  });
});

describe('CronJob', () => {
  it('fires a CronJob on its minute', async () => {
    // It stands already, unless this is the second try.
    await kubectl.ok(['apply', '-f', example('cronjob.yaml')]);
    const job = await cluster.eventually(
      'a job of the CronJob to complete',
      async () => {
        const jobs = await list<Job>('jobs');
        return jobs.find(
          ({ metadata, status }) => metadata?.name?.startsWith('clock-') && status?.succeeded === 1,
        );
      },
      100_000,
    );
    const cron = await kubectl.get<CronJob>('cronjob', 'clock');
    expect(cron.status?.lastScheduleTime).toMatch(/:00Z$/);
    // Kubernetes names the job by the minute that it was due.
    const minute = Date.parse(cron.status?.lastScheduleTime ?? '') / 60_000;
    expect([`clock-${minute}`, `clock-${minute - 1}`]).toContain(job.metadata?.name);
    await kubectl.line('delete cronjob clock');
  }, 120_000);
});

describe('node', () => {
  it('is cordoned, drained and taken back', async () => {
    await kubectl.line('drain pi --ignore-daemonsets --delete-emptydir-data --timeout=90s');
    expect((await kubectl.get<Node>('node', 'pi')).spec?.unschedulable).toBe(true);
    expect(await kubectl.line('get node pi')).toContain('Ready,SchedulingDisabled');
    const pending = await cluster.eventually('replacements to be Pending', async () => {
      const pods = await podsOf('app=web');
      return pods.length === 2 && pods.every(({ status }) => status?.phase === 'Pending') ? pods : undefined;
    });
    await cluster.eventually('the reason as an event', async () =>
      (await kubectl.line(`describe pod ${pending[0]?.metadata?.name}`)).includes(
        '0/1 nodes are available: 1 node(s) were unschedulable',
      ),
    );
    await kubectl.line('uncordon pi');
    await readyPods('app=web', 2);
  });
});
