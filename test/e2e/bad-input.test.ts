import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { importImage } from '../../scripts/lib/docker-api.mjs';
import type { Container, Event, Pod, PodSpec } from '../../src/api/types/core-v1.ts';
import { DockerDoor } from '../support/docker-door.ts';
import { KubeSocket } from '../support/kube-socket.ts';
import { isReady } from '../support/look-at.ts';
import { BUSYBOX, busybox, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';
import { waitFor } from '../support/wait.ts';

// Everything that can be wrong with a pod, at once: each says so in Kubernetes' words, none holds up another, and each
// goes on by itself when its cause is gone.
const PODS = '/api/v1/namespaces/default/pods';
/** Of a machine that does other things as well. */
const PATIENCE_MS = 120_000;
const folder = mkdtempSync(join(tmpdir(), 'copepod-bad-'));
let door: DockerDoor;
let api: KubeSocket;
const {
  boards: [board],
  cluster,
  kubectl,
} = onBoards(['pi'], {
  flags: () => [`--docker-host=${door.dockerHost}`],
  async prepare() {
    door = new DockerDoor(board.docker.socket);
    await door.open();
  },
  async begin() {
    api = new KubeSocket({ kubeconfig: cluster.kubeconfig, enter: board.enter });
    await api.start();
    await image('copepod.local/odd-user', ['USER nosuchuser', 'CMD ["sleep", "1000000"]']);
  },
  end: async () => door?.close(),
});
afterAll(async () => {
  await api?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Another image with the files of the busybox one. */
async function image(name: string, changes: string[] = []): Promise<void> {
  const tar = board.docker.exportImage(BUSYBOX);
  await importImage(board.docker.socket, tar, name, ['ENV PATH=/bin', ...changes]);
}

const sleeper = (name = 'main', more: Partial<Container> = {}): Container => ({
  ...busybox('', more),
  name,
  command: more.command ?? ['sleep', '1000000'],
});
const pod = (name: string, spec: Partial<PodSpec> = {}): Pod =>
  podOf(name, { containers: [sleeper()], ...spec });
const create = async (object: object): Promise<void> => {
  const { status, body } = await api.send('POST', PODS, object);
  expect(status, JSON.stringify(body)).toBe(201);
};
const plain = async (plural: string, object: object): Promise<void> => {
  const { status, body } = await api.send('POST', `/api/v1/namespaces/default/${plural}`, object);
  expect(status, JSON.stringify(body)).toBe(201);
};
const get = async (name: string): Promise<Pod | undefined> => {
  const { status, body } = await api.send('GET', `${PODS}/${name}`);
  return status === 200 ? (body as Pod) : undefined;
};
const remove = (name: string, grace = 1) =>
  api.insist('DELETE', `${PODS}/${name}`, {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: grace,
  });
const events = async (name: string): Promise<Event[]> =>
  (await api.send('GET', `/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D${name}`))
    .body.items as Event[];
/** What of a pod the cases look at, as one text: it is what a failure shows. */
async function tells(name: string): Promise<string> {
  const found = await get(name);
  if (!found) return 'gone';
  const { phase, reason, message, containerStatuses = [] } = found.status ?? {};
  const [container] = containerStatuses;
  const waiting = container?.state?.waiting;
  const last = (container?.state?.terminated ?? container?.lastState?.terminated)?.reason;
  const lines = [
    `phase ${phase}${reason ? ` ${reason}` : ''}${message ? `: ${message}` : ''}`,
    ...(waiting ? [`waits ${waiting.reason}: ${waiting.message ?? ''}`] : []),
    ...(last ? [`ended ${last}`] : []),
    ...(isReady(found) ? ['Ready'] : []),
    ...(await events(name)).map((event) => `${event.type} ${event.reason}: ${event.message}`),
  ];
  return lines.join('\n');
}

/** Waits until what the pod tells matches each of these. */
async function says(name: string, ...wanted: RegExp[]): Promise<void> {
  let text = '';
  await waitFor(
    `${name} to say so`,
    async () => {
      text = await tells(name);
      return wanted.every((pattern) => pattern.test(text));
    },
    {
      timeoutMs: PATIENCE_MS,
      intervalMs: 300,
      details: () =>
        `${wanted.filter((pattern) => !pattern.test(text)).join('\n')}\nin\n${text}\n${cluster.process.logTail(30)}`,
    },
  );
}
const ready = (name: string): Promise<void> => says(name, /^Ready$/m);
const gone = (name: string): Promise<void> => says(name, /^gone$/);

describe.concurrent('a pod', () => {
  // Long, and no reason for the others to wait.
  it('of a hundred containers', async () => {
    const containers = Array.from({ length: 100 }, (_, index) => sleeper(`c${index}`));
    await create(pod('hundred', { containers }));
    await ready('hundred');
    const found = await get('hundred');
    expect(found?.status?.containerStatuses?.filter(({ ready: is }) => is)).toHaveLength(100);
    await remove('hundred');
    await gone('hundred');
  });

  it('whose image cannot be had', async () => {
    await create(pod('no-image', { containers: [sleeper('main', { image: '127.0.0.1:1/late:1' })] }));
    await says(
      'no-image',
      /^phase Pending$/m,
      /^waits ImagePullBackOff: Back-off pulling image "127.0.0.1:1\/late:1"/m,
      /^Normal Pulling: Pulling image "127.0.0.1:1\/late:1"$/m,
      /^Warning Failed: Failed to pull image "127.0.0.1:1\/late:1": /m,
      /^Warning Failed: Error: ErrImagePull$/m,
      /^Warning Failed: Error: ImagePullBackOff$/m,
    );
    await image('127.0.0.1:1/late:1');
    await ready('no-image');
  });

  it('whose ConfigMap does not exist, in its environment', async () => {
    const env = [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'late-env', key: 'a' } } }];
    await create(pod('no-config', { containers: [sleeper('main', { env })] }));
    await says(
      'no-config',
      /^phase Pending$/m,
      /^waits CreateContainerConfigError: configmap "late-env" not found$/m,
      /^Warning Failed: Error: configmap "late-env" not found$/m,
    );
    await plain('configmaps', { metadata: { name: 'late-env' }, data: { a: 'b' } });
    await ready('no-config');
  });

  it('whose ConfigMap does not exist, as a volume', async () => {
    await create(
      pod('no-config-volume', {
        containers: [sleeper('main', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })],
        volumes: [{ name: 'v', configMap: { name: 'late-volume' } }],
      }),
    );
    await says(
      'no-config-volume',
      /^phase Pending$/m,
      /^waits ContainerCreating: $/m,
      /^Warning FailedMount: MountVolume.SetUp failed for volume "v" : configmap "late-volume" not found$/m,
    );
    await plain('configmaps', { metadata: { name: 'late-volume' }, data: { a: 'b' } });
    await ready('no-config-volume');
  });

  it('whose Secret lacks the key', async () => {
    await plain('secrets', { metadata: { name: 'half' }, stringData: { other: 'x' } });
    const env = [{ name: 'A', valueFrom: { secretKeyRef: { name: 'half', key: 'a' } } }];
    await create(pod('no-key', { containers: [sleeper('main', { env })] }));
    await says(
      'no-key',
      /^waits CreateContainerConfigError: couldn't find key a in Secret default\/half$/m,
      /^Warning Failed: Error: couldn't find key a in Secret default\/half$/m,
    );
    await kubectl.ok(['patch', 'secret', 'half', '-p', '{"stringData":{"a":"b"}}']);
    await ready('no-key');
  });

  it('whose claim does not exist', async () => {
    await create(
      pod('no-claim', {
        containers: [sleeper('main', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })],
        volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'late-claim' } }],
      }),
    );
    await says(
      'no-claim',
      /^phase Pending$/m,
      /^Warning FailedScheduling: .*persistentvolumeclaim "late-claim" not found/m,
    );
    await plain('persistentvolumeclaims', {
      metadata: { name: 'late-claim' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
    });
    await ready('no-claim');
  });

  it('whose device does not exist', async () => {
    const path = join(folder, 'gpio');
    await create(
      pod('no-device', {
        containers: [sleeper('main', { volumeMounts: [{ name: 'v', mountPath: '/dev/gpio' }] })],
        volumes: [{ name: 'v', hostPath: { path, type: 'CharDevice' } }],
      }),
    );
    await says(
      'no-device',
      /^waits ContainerCreating: $/m,
      /^Warning FailedMount: MountVolume.SetUp failed for volume "v" : hostPath type check failed: \S+ is not a character device$/m,
    );
    board.run('mknod', path, 'c', '1', '3');
    await ready('no-device');
  });

  it('whose host file does not exist', async () => {
    const path = join(folder, 'file');
    await create(
      pod('no-file', {
        containers: [sleeper('main', { volumeMounts: [{ name: 'v', mountPath: '/file' }] })],
        volumes: [{ name: 'v', hostPath: { path, type: 'File' } }],
      }),
    );
    await says('no-file', /^Warning FailedMount: .*hostPath type check failed: \S+ is not a file$/m);
    writeFileSync(path, 'here');
    await ready('no-file');
  });

  it('whose command does not exist', async () => {
    await create(pod('no-command', { containers: [sleeper('main', { command: ['/nope'] })] }));
    await says(
      'no-command',
      /^waits (RunContainerError|CrashLoopBackOff): /m,
      /^ended ContainerCannotRun$/m,
      /^Warning Failed: Error: failed to start container "main": Error response from daemon: .*exec: "\/nope": stat \/nope: no such file or directory/m,
    );
  });

  it('whose image names a user that it does not have', async () => {
    const container: Container = {
      name: 'main',
      image: 'copepod.local/odd-user',
      imagePullPolicy: 'Never',
    };
    await create(pod('no-user', { containers: [container] }));
    await says(
      'no-user',
      /^Warning Failed: .*unable to find user nosuchuser: no matching entries in passwd file/m,
    );
    await create(
      pod('no-user-nonroot', { containers: [{ ...container, securityContext: { runAsNonRoot: true } }] }),
    );
    await says(
      'no-user-nonroot',
      /^waits CreateContainerConfigError: container has runAsNonRoot and image has non-numeric user \(nosuchuser\), cannot verify user is non-root/m,
    );
  });

  it('whose subPathExpr lacks a variable', async () => {
    await create(
      pod('no-variable', {
        containers: [
          sleeper('main', { volumeMounts: [{ name: 'v', mountPath: '/v', subPathExpr: '$(NOPE)' }] }),
        ],
        volumes: [{ name: 'v', emptyDir: {} }],
      }),
    );
    await says('no-variable', /^waits CreateContainerConfigError: /m, /^Warning Failed: Error: .*NOPE/m);
  });

  it('whose environment is too large for the kernel', async () => {
    const env = [{ name: 'HUGE', value: 'x'.repeat(200_000) }];
    await create(pod('huge', { containers: [sleeper('main', { env })] }));
    // runc finds out when it has started the container.
    await says('huge', /^waits CrashLoopBackOff: /m, /^ended Error$/m);
    expect(await kubectl.line('logs huge')).toContain('argument list too long');
    const { status, body } = await api.send('POST', PODS, {
      ...pod('annotated'),
      metadata: { name: 'annotated', annotations: { a: 'x'.repeat(300_000) } },
    });
    expect([status, body.message]).toEqual([
      422,
      expect.stringContaining('metadata.annotations: Too long: may not be more than 262144 bytes'),
    ]);
  });

  it('whose security context this engine cannot have', async () => {
    const securityContext = { capabilities: { add: ['NOPE'] } };
    await create(pod('no-capability', { containers: [sleeper('main', { securityContext })] }));
    await says(
      'no-capability',
      /^waits CreateContainerError: .*[Uu]nknown capability.*NOPE/m,
      /^Warning Failed: Error: .*NOPE/m,
    );
    await create(pod('no-userns', { hostUsers: false }));
    await says('no-userns', /user namespaces \(hostUsers: false\) are not supported/m);
  });

  it('whose RuntimeClass does not exist is refused', async () => {
    const { status, body } = await api.send('POST', PODS, pod('no-runtime', { runtimeClassName: 'gvisor' }));
    expect([status, body.message]).toEqual([
      403,
      'pods "no-runtime" is forbidden: pod rejected: RuntimeClass "gvisor" not found',
    ]);
  });

  it('whose hostPort is taken waits for it; put there by hand it fails', async () => {
    const ports = [{ containerPort: 80, hostPort: 18080 }];
    await create(pod('port-first', { containers: [sleeper('main', { ports })] }));
    await ready('port-first');
    await create(pod('port-second', { containers: [sleeper('main', { ports })] }));
    await create(pod('port-by-hand', { nodeName: 'pi', containers: [sleeper('main', { ports })] }));
    const text = "node\\(s\\) didn't have free ports for the requested pod ports";
    await says(
      'port-second',
      /^phase Pending$/m,
      new RegExp(`^Warning FailedScheduling: 0/1 nodes are available: 1 ${text}`, 'm'),
    );
    const message = `Predicate NodePorts failed: ${text}$`;
    await says(
      'port-by-hand',
      new RegExp(`^phase Failed NodePorts: Pod was rejected: ${message}`, 'm'),
      new RegExp(`^Warning NodePorts: ${message}`, 'm'),
    );
    await remove('port-by-hand');
    await gone('port-by-hand');
    await remove('port-first');
    await ready('port-second');
  });

  it('put by hand where it does not fit fails as the kubelet says it', async () => {
    const resources = (requests: Record<string, string>) => ({
      nodeName: 'pi',
      containers: [sleeper('main', { resources: { requests } })],
    });
    await create(pod('much-cpu', resources({ cpu: '999' })));
    await create(pod('much-memory', resources({ memory: '900Gi' })));
    await create(pod('other-node', { nodeName: 'pi', nodeSelector: { disk: 'ssd' } }));
    const lacks = "Node didn't have enough resource";
    await says(
      'much-cpu',
      new RegExp(`^phase Failed OutOfcpu: Pod was rejected: ${lacks}: cpu, requested: 999000, used: `, 'm'),
      new RegExp(`^Warning OutOfcpu: ${lacks}: cpu, `, 'm'),
    );
    await says('much-memory', new RegExp(`^phase Failed OutOfmemory: .*${lacks}: memory, requested: `, 'm'));
    await says(
      'other-node',
      /^phase Failed NodeAffinity: Pod was rejected: Predicate NodeAffinity failed: node\(s\) didn't match Pod's node affinity\/selector$/m,
    );
  });

  it('put by hand on a node that does not exist waits for it, and is collected', async () => {
    await create(pod('nowhere', { nodeName: 'nowhere' }));
    await says('nowhere', /^phase Pending$/m);
    await remove('nowhere', 0);
    await gone('nowhere');
  });

  it('on whose container Docker hangs waits alone, and goes on when Docker answers', async () => {
    const hold = door.hold((method, path) => method === 'POST' && path.includes('name=k8s_main_hung_'));
    await create(pod('hung'));
    await waitFor('Docker to hang', () => hold.held() > 0, { timeoutMs: PATIENCE_MS });
    await create(pod('beside'));
    await ready('beside');
    // Still.
    expect(await tells('hung')).toMatch(/^phase Pending$/m);
    hold.release();
    await ready('hung');
  });

  it('of whose container Docker tells nothing any more holds up no other', async () => {
    await create(pod('mute'));
    await ready('mute');
    const id =
      (await get('mute'))?.status?.containerStatuses?.[0]?.containerID?.replace('docker://', '') ?? '';
    const hold = door.hold((_method, path) => path.includes(id));
    await remove('mute');
    await waitFor('Docker to hang', () => hold.held() > 0, { timeoutMs: PATIENCE_MS });
    await create(pod('beside-mute'));
    await ready('beside-mute');
    expect(await tells('mute')).toMatch(/^phase Running$/m);
    hold.release();
    await gone('mute');
  });

  it('deleted while its image is pulled is gone', async () => {
    const hold = door.hold((method, path) => method === 'POST' && path.includes('/images/create'));
    await create(pod('del-pull', { containers: [sleeper('main', { image: '127.0.0.1:1/slow:1' })] }));
    await says('del-pull', /^Normal Pulling: /m);
    await remove('del-pull');
    await gone('del-pull');
    hold.release();
  });

  it.each(['create', 'start'])('deleted while Docker hangs on its %s leaves nothing', async (what) => {
    const name = `del-${what}`;
    const hold = door.hold(async (method, path) => {
      if (method !== 'POST') return false;
      if (what === 'create') return path.includes(`name=k8s_main_${name}_`);
      const [, id] = /^\/containers\/([0-9a-f]+)\/start/.exec(path) ?? [];
      if (!id) return false;
      const container = (await board.docker.call('GET', `/containers/${id}/json`)) as { Name: string };
      return container.Name.startsWith(`/k8s_main_${name}_`);
    });
    await create(pod(name));
    await waitFor('Docker to hang', () => hold.held() > 0, { timeoutMs: PATIENCE_MS });
    await remove(name);
    hold.release();
    await gone(name);
    await waitFor(
      'its containers to be gone',
      async () => (await board.docker.containers({ 'io.kubernetes.pod.name': name }, true)).length === 0,
      { timeoutMs: PATIENCE_MS },
    );
  });

  it('deleted in its postStart hook ends within its grace period', async () => {
    const exec = { command: ['sleep', '1000'] };
    await create(pod('del-post', { containers: [sleeper('main', { lifecycle: { postStart: { exec } } })] }));
    await says('del-post', /^Normal Started: /m);
    await remove('del-post');
    await gone('del-post');
  });

  it('deleted whose preStop hook does not end is killed with its grace period', async () => {
    const exec = { command: ['sleep', '1000'] };
    await create(pod('del-pre', { containers: [sleeper('main', { lifecycle: { preStop: { exec } } })] }));
    await ready('del-pre');
    await remove('del-pre', 2);
    await gone('del-pre');
    expect((await events('del-pre')).map(({ reason }) => reason)).toContain('FailedPreStopHook');
  });
});

describe('a full disk', () => {
  it('keeps new pods waiting, and they go on when there is room', async () => {
    const pods = join(cluster.dataDir, 'pods');
    for (const { metadata } of await api.items<Pod>(PODS)) await remove(metadata.name ?? '');
    await waitFor('the others to be gone', async () => (await api.items<Pod>(PODS)).length === 0, {
      timeoutMs: PATIENCE_MS,
    });
    // A card that has no room for one file more, under the pods that come from now on.
    await cluster.process.stop();
    board.run('mount', '-t', 'tmpfs', '-o', 'size=1m,nr_inodes=64', 'tmpfs', pods);
    await cluster.start();
    board.run('sh', '-c', `i=0; while touch ${pods}/fill$i 2>/dev/null; do i=$((i+1)); done`);
    await create(
      pod('full', {
        containers: [sleeper('main', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })],
        volumes: [{ name: 'v', emptyDir: {} }],
      }),
    );
    await says(
      'full',
      /^waits ContainerCreating: $/m,
      /^Warning FailedMount: MountVolume.SetUp failed for volume "v" : .*no space left on device/m,
    );
    board.run('sh', '-c', `rm ${pods}/fill*`);
    await ready('full');
  });
});
