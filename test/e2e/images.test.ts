import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, it } from 'vitest';
import { DockerImages } from '../../src/agent/docker/images.ts';
import { tarOf } from '../../src/agent/docker/pause/tar.ts';
import { pauseImage } from '../../src/agent/docker/pause.ts';
import type { Container, Node, Pod, PodSpec } from '../../src/api/types/core-v1.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { dockerArchive, ociArchive } from '../support/image-archive.ts';
import { BUSYBOX, busybox, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';
import { TestRegistry } from '../support/registry.ts';

// A real engine pulls from a real registry, both on a board of their own.
const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64';
/** No machine has an emulator for it by chance. */
const FOREIGN = 's390x';
const folder = mkdtempSync(join(tmpdir(), 'copepod-images-'));
const registries = join(folder, 'registries.yaml');
let registry: TestRegistry;
let mirror: TestRegistry;
const {
  boards: [board],
  cluster,
  kubectl,
  apply,
  getPod,
  podsOf,
  until,
  eventsOf,
} = onBoards(['one'], {
  flags: [`--private-registry=${registries}`, '--image-pull-progress-deadline=3s'],
  async prepare() {
    registry = new TestRegistry({ board, port: 5000 });
    mirror = new TestRegistry({ board, port: 5001 });
    await Promise.all([registry.start(), mirror.start()]);
  },
  async end() {
    await mirror?.stop();
    await registry?.stop();
  },
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Its program waits until it is stopped; `text` makes it another image. */
function image(text: string, architecture = ARCHITECTURE) {
  const { tar, entrypoint } = pauseImage(process.arch === 'arm64' ? 'arm64' : 'x64');
  const extra = tarOf([{ name: 'text', mode: 0o644, data: Buffer.from(text) }]);
  return { layers: [tar, extra], architecture, entrypoint };
}

async function run(name: string, image: string, spec: Partial<PodSpec> = {}, policy = 'IfNotPresent') {
  const container = { name: 'main', image, imagePullPolicy: policy };
  await apply(podOf(name, { containers: [container as Container], ...spec }));
}

async function waitingFor(name: string): Promise<{ reason: string; message: string } | undefined> {
  const pod = await getPod(name);
  const { reason = '', message = '' } = pod.status?.containerStatuses?.[0]?.state?.waiting ?? {};
  return { reason, message };
}

const running = (name: string): Promise<Pod> =>
  until('to run', name, ({ status }) => status?.containerStatuses?.[0]?.state?.running);

it('pulls, tells of it in the kubelet’s words, and lists the image on the Node', async () => {
  registry.push('app', '1', image('app'));
  const name = `${registry.host}/app:1`;
  await run('app', name);
  const pod = await running('app');
  expect(pod.status?.containerStatuses?.[0]?.imageID).toMatch(
    new RegExp(`^docker-pullable://${registry.host}/app@sha256:`),
  );
  await cluster.eventually('its events', async () =>
    (await eventsOf('app')).some((each) => each.startsWith('Started')),
  );
  const events = await eventsOf('app');
  expect(events).toContain(`Pulling: Pulling image "${name}"`);
  expect(events.find((each) => each.startsWith('Pulled'))).toMatch(
    /^Pulled: Successfully pulled image ".*" in \d.*s \(\d.*s including waiting\)\. Image size: \d+ bytes\.$/,
  );
  await run('again', name);
  await running('again');
  expect(registry.pulls('app')).toBe(
    registry.requests.filter(
      (each) => each.startsWith('GET /v2/app/manifests') || each.startsWith('HEAD /v2/app/manifests'),
    ).length,
  );
  await cluster.eventually('the Node to list it', async () => {
    const node = await kubectl.get<Node>('node', 'one');
    return node.status?.images?.some(({ names }) => names?.includes(name));
  });
});

it('logs in with the Secret of the pod, and keeps the image from pods without it', async () => {
  registry.auth = 'bearer';
  registry.accounts.set('private/', { username: 'me', password: 'pass:word' });
  registry.push('private/app', '1', image('private'));
  const name = `${registry.host}/private/app:1`;
  await run('without', name);
  const refused = await cluster.eventually('the pull to be refused', async () => {
    const waiting = await waitingFor('without');
    return waiting?.reason === 'ImagePullBackOff' && waiting;
  });
  expect(refused.message).toContain(`Back-off pulling image "${name}": ErrImagePull: `);
  expect(refused.message).toMatch(/unauthorized|denied/i);
  const docker = JSON.stringify({ auths: { [registry.host]: { username: 'me', password: 'pass:word' } } });
  await apply({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'regcred' },
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': Buffer.from(docker).toString('base64') },
  });
  await run('with', name, { imagePullSecrets: [{ name: 'regcred' }] });
  await running('with');
  // It is on the board now, and yet not for everybody (KEP-2535).
  const asked = registry.requests.length;
  await run('still-without', name);
  await cluster.eventually('the second pull to be refused', async () =>
    (await waitingFor('still-without'))?.reason.includes('ImagePull'),
  );
  expect(registry.requests.slice(asked).join('\n')).toContain('token repository:private/app:pull');
  // With it nobody is asked: the same Secret has had access.
  const before = registry.requests.length;
  await run('with-too', name, { imagePullSecrets: [{ name: 'regcred' }] });
  await running('with-too');
  const since = registry.requests.slice(before).filter((each) => each.includes('as me:pass:word'));
  expect(since).toEqual([]);
});

it('takes an image from the mirror of its registry, and says which field of a bad file is wrong', async () => {
  mirror.push('cache/library/far', '1', image('far'));
  writeFileSync(registries, 'mirrors:\n  docker.io:\n    endpoints: ["http://127.0.0.1:5001"]\n');
  await run('mirrored', 'far:1');
  const bad = await cluster.eventually('the bad file to be told', async () => {
    const waiting = await waitingFor('mirrored');
    return waiting?.reason.includes('ImagePull') && waiting;
  });
  expect(bad.message).toContain(`${registries}: mirrors.docker.io.endpoints: unknown field`);
  await kubectl.ok(['delete', 'pod', 'mirrored', '--wait=true']);
  const good = `mirrors:
  docker.io:
    endpoint: ["http://${mirror.host}"]
    rewrite:
      "^library/(.*)": "cache/library/$1"
`;
  writeFileSync(registries, good);
  await run('mirrored', 'far:1');
  const pod = await running('mirrored');
  expect(mirror.pulls('cache/library/far')).toBeGreaterThan(0);
  expect(pod.status?.containerStatuses?.[0]?.image).toBe('far:1');
  expect(pod.status?.containerStatuses?.[0]?.imageID).toMatch(/^docker-pullable:\/\/far@sha256:/);
  const listed = (await board.docker.call('GET', '/images/json')) as { RepoTags: string[] | null }[];
  const tags = listed.flatMap(({ RepoTags }) => RepoTags ?? []);
  expect(tags).toContain('far:1');
  expect(tags.filter((tag) => tag.includes('cache/library'))).toEqual([]);
});

it('loads archives when they are put there, and pods that wait for them go on at once', async () => {
  const images = join(cluster.dataDir, 'images');
  await run('offline', 'copepod.test/offline:1', {}, 'Never');
  await cluster.eventually(
    'it to wait',
    async () => (await waitingFor('offline'))?.reason === 'ErrImageNeverPull',
  );
  const put = (name: string, content: Buffer): void => {
    // As somebody copies it: half of it, then all.
    writeFileSync(join(images, name), content.subarray(0, 700));
    writeFileSync(join(images, name), content);
  };
  const oci = ociArchive('copepod.test/offline:1', [image('other', FOREIGN), image('offline')]);
  put('offline.tar.gz', gzipSync(oci));
  await running('offline');
  put('saved.tar', dockerArchive([{ name: 'copepod.test/saved:1', image: image('saved') }]));
  writeFileSync(join(folder, 'bad'), 'no tar at all');
  renameSync(join(folder, 'bad'), join(images, 'bad.tar'));
  await cluster.eventually('the other archive', async () =>
    ((await board.docker.call('GET', '/images/json')) as { RepoTags: string[] | null }[]).some(
      ({ RepoTags }) => RepoTags?.includes('copepod.test/saved:1'),
    ),
  );
  await cluster.eventually('the bad archive to be told', async () =>
    (await eventsOf('one')).some((each) => each.includes('bad.tar')),
  );
});

it('gives up a pull that hangs, and ends one that no pod wants', async () => {
  registry.push('hangs', '1', image('hangs'));
  registry.misbehaving.set('hangs', 'hangs');
  const name = `${registry.host}/hangs:1`;
  await run('hangs', name);
  await cluster.eventually('the pull to be given up', async () =>
    (await waitingFor('hangs'))?.message.includes('made no progress for 3 s'),
  );
  registry.push('never', '1', image('never'));
  registry.misbehaving.set('never', 'hangs');
  await run('never', `${registry.host}/never:1`);
  await cluster.eventually('the pull to begin', async () =>
    registry.requests.some((each) => each.includes('/v2/never/blobs/')),
  );
  await kubectl.ok(['delete', 'pod', 'never', '--wait=true']);
  // A pull that was given up would have said so.
  expect((await eventsOf('never')).filter((each) => each.startsWith('Failed'))).toEqual([]);
});

it('keeps pods off boards that an image is not made for', async () => {
  const digest = registry.push('foreign', '1', image('foreign', FOREIGN));
  const name = `${registry.host}/foreign:1`;
  await run('bare', name);
  await cluster.eventually('the bare pod to say so', async () =>
    (await waitingFor('bare'))?.message.includes(
      `is made for ${FOREIGN}, not for this node's CPU architecture`,
    ),
  );
  const other = registry.push('foreign', '2', image('foreign two', FOREIGN));
  expect(other).not.toBe(digest);
  const template = {
    metadata: { labels: { app: 'web' } },
    spec: { containers: [{ name: 'main', image: `${registry.host}/foreign:2` }] },
  };
  await apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: { replicas: 1, selector: { matchLabels: { app: 'web' } }, template },
  });
  const pods = await cluster.eventually('a new pod to wait for a board that fits', async () => {
    const found = await podsOf('app=web');
    const failed = found.filter(({ status }) => status?.phase === 'Failed');
    const waits = found.filter(({ status }) =>
      status?.conditions?.some(
        ({ type, message }) =>
          type === 'PodScheduled' && message?.includes("architecture that the pod's images"),
      ),
    );
    return failed.length > 0 && waits.length > 0 ? { failed, waits } : undefined;
  });
  expect(pods.failed).toHaveLength(1);
  expect(pods.failed[0]?.status?.reason).toBe('ImageArchitecture');
  expect(pods.waits[0]?.spec?.nodeName).toBeUndefined();
});

it('knows by its program an image that says the wrong architecture', async () => {
  const program = Buffer.alloc(4096);
  program.writeUInt32BE(0x7f454c46);
  // 64 bits, big-endian, version 1; an executable for S/390.
  program.set([2, 2, 1], 4);
  program.writeUInt16BE(2, 16);
  program.writeUInt16BE(22, 18);
  const layer = tarOf([{ name: 'app', mode: 0o755, data: program }]);
  registry.push('liar', '1', { layers: [layer], architecture: ARCHITECTURE, entrypoint: ['/app'] });
  await run('liar', `${registry.host}/liar:1`);
  await cluster.eventually('the pod to say so', async () =>
    (await eventsOf('liar')).some((each) =>
      each.includes(
        `ImageArchitecture: exec format error: the program of image "${registry.host}/liar:1" is made for s390x`,
      ),
    ),
  );
});

it('chooses the image for the board among those of a tag', async () => {
  const images = [FOREIGN, ARCHITECTURE].map((architecture) => ({
    architecture,
    digest: registry.push('many', architecture, image(`for ${architecture}`, architecture)),
  }));
  registry.pushIndex('many', '1', images);
  registry.pushIndex('many', '2', images.slice(0, 1));
  await run('many', `${registry.host}/many:1`);
  await running('many');
  await run('none', `${registry.host}/many:2`);
  await cluster.eventually('the other to say so', async () =>
    (await waitingFor('none'))?.message.includes('no matching manifest'),
  );
});

it('sees of the engine what garbage collection needs, and removes what nothing uses', async () => {
  const engine = new DockerImages({
    clock: new SystemClock(),
    socketPath: board.docker.socket,
    owner: 'test',
  });
  const name = `${registry.host}/app:1`;
  const find = async () => (await engine.list()).find(({ tags }) => tags.includes(name));
  const found = await find();
  expect(found?.digests[0]).toMatch(/app@sha256:/);
  expect((await engine.inUse()).has(found?.id ?? '')).toBe(true);
  expect(await engine.remove(name)).toBe(false);
  // What a board without overlay2 copies an image volume from.
  const { tar, done } = await engine.export(found?.id ?? '');
  const bytes: Buffer[] = [];
  for await (const chunk of tar) bytes.push(chunk as Buffer);
  await done();
  expect(Buffer.concat(bytes).includes('app')).toBe(true);
  expect(await engine.architectures(name, undefined)).toEqual([ARCHITECTURE]);
  expect(await engine.allowsInsecure(registry.host)).toBe(true);
  expect(await engine.allowsInsecure('registry.example:5000')).toBe(false);
  await kubectl.ok(['delete', 'pod', 'app', 'again', '--wait=true']);
  await cluster.eventually('it to be removed', async () => engine.remove(name));
  expect(await find()).toBeUndefined();
  expect(await engine.remove(name)).toBe(true);
  engine.close();
});

it('mounts an image as a volume', async () => {
  registry.push('data', '1', { ...image('the content'), architecture: FOREIGN });
  await run('reader', BUSYBOX, {
    volumes: [{ name: 'data', image: { reference: `${registry.host}/data:1`, pullPolicy: 'IfNotPresent' } }],
    containers: [
      busybox('sleep 1000000', {
        volumeMounts: [
          { name: 'data', mountPath: '/data' },
          { name: 'data', mountPath: '/text', subPath: 'text' },
        ],
      }),
    ],
  });
  await running('reader');
  const sh = (script: string) => kubectl.run(['exec', 'reader', '--', 'sh', '-c', script]);
  expect((await sh('cat /data/text /text; ls /data')).stdout).toBe('the contentthe contentpause\ntext\n');
  expect((await sh('echo x > /data/y')).stderr).toMatch(/Read-only file system/);
  await kubectl.ok(['delete', 'pod', 'reader', '--wait=true']);
  await cluster.eventually(
    'the mount to be gone',
    async () => !board.run('cat', '/proc/self/mountinfo').includes('kubernetes.io~image'),
  );
});
