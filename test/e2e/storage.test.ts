import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../src/api/types/core-v1.ts';
import { busybox, onNode, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// Claims of the default class, on a board that is not the server's.
const {
  boards: [, second],
  agents: [agent],
  cluster,
  kubectl,
  apply,
  list,
  getPod,
} = onBoards(['first', 'second']);

const stateful = workload(
  'StatefulSet',
  'db',
  {
    ...onNode('second'),
    terminationGracePeriodSeconds: 0,
    securityContext: { runAsUser: 1000 },
    containers: [
      busybox('hostname >> /data/starts; sleep 1000000', {
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
      }),
    ],
  },
  {
    replicas: 1,
    volumeClaimTemplates: [
      {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '64Mi' } } },
      },
    ],
  },
);

const claim = () => kubectl.get<PersistentVolumeClaim>('pvc', 'data-db-0');
const volumes = () => list<PersistentVolume>('pv');
const storage = (): string => join(cluster.dataDir, 'storage');
const directories = (): string[] => (existsSync(storage()) ? readdirSync(storage()) : []);
const starts = (): number =>
  directories()
    .map(
      (name) =>
        readFileSync(join(storage(), name, 'starts'), 'utf8')
          .trim()
          .split('\n').length,
    )
    .reduce((sum, count) => sum + count, 0);

it('has a default class that waits for the first consumer', async () => {
  const table = await kubectl.line('get storageclass');
  expect(table).toMatch(
    /local-path \(default\) +copepod\.io\/local-path +Delete +WaitForFirstConsumer +true/,
  );
});

it('gives a StatefulSet a directory on the board of its pod, writable for anyone', async () => {
  await apply(stateful);
  await kubectl.line('rollout status statefulset/db --timeout=90s');
  const { spec, status } = await claim();
  expect(status).toMatchObject({ phase: 'Bound', capacity: { storage: '64Mi' } });
  const [volume] = await volumes();
  expect(volume?.metadata.name).toBe(spec?.volumeName);
  expect(JSON.stringify(volume?.spec?.nodeAffinity)).toContain('"second"');
  const path = volume?.spec?.hostPath?.path ?? '';
  expect(directories()).toEqual([`${spec?.volumeName}_default_data-db-0`]);
  expect(statSync(path).mode & 0o7777).toBe(0o777);
  await cluster.eventually('the pod to have written', async () => starts() === 1);
});

it('keeps the data when the pod is deleted, and over a restart of its agent', async () => {
  const { uid } = (await getPod('db-0')).metadata;
  await agent.process.kill();
  await kubectl.line('delete pod db-0 --wait=false');
  agent.process.start();
  await cluster.eventually('another db-0', async () => {
    const pod = await getPod('db-0');
    return pod.metadata.uid !== uid && pod.status?.phase === 'Running';
  });
  await cluster.eventually('its second line', async () => starts() === 2);
  expect(await kubectl.line('exec db-0 -- cat /data/starts')).toBe('db-0\ndb-0\n');
});

it('grows a claim', async () => {
  await kubectl.line(`patch pvc data-db-0 -p {"spec":{"resources":{"requests":{"storage":"128Mi"}}}}`);
  await cluster.eventually('more', async () => (await claim()).status?.capacity?.storage === '128Mi');
});

it('keeps a deleted claim while a pod uses it; then the directory goes, once its board is back', async () => {
  await kubectl.line('delete pvc data-db-0 --wait=false');
  expect((await claim()).metadata.finalizers).toEqual(['kubernetes.io/pvc-protection']);
  second.cutOff();
  await kubectl.line('delete statefulset db --cascade=orphan');
  // Nobody else says that the pod has ended: its board cannot be asked.
  await kubectl.line('delete pod db-0 --force --grace-period=0');
  await cluster.eventually('the volume to be released', async () =>
    (await volumes()).every(({ status }) => status?.phase === 'Released'),
  );
  expect(directories()).toHaveLength(1);
  expect(await volumes()).toHaveLength(1);
  const back = Date.now();
  second.bringBack();
  await cluster.nodeReady('second', back, 90_000);
  await cluster.eventually('the volume to be gone', async () => (await volumes()).length === 0);
  expect(directories()).toEqual([]);
});
