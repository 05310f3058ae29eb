import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  STORAGE_CLASSES,
} from '../../../src/api/kinds.ts';
import { DIRECTORY_REMOVED, LOCAL_PATH_PROVISIONER } from '../../../src/api/local-path.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../src/api/types/core-v1.ts';
import { STORAGE_CONTROLLERS } from '../../../src/server/controllers/storage/index.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('storage on the %s API', (api) => {
  let plane: ControlPlane;
  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    plane.kubelet.binding = false;
    await plane.start(...STORAGE_CONTROLLERS);
  });
  afterEach(() => plane.stop());

  const volume = async (
    name: string,
    storage: string,
    spec: Partial<NonNullable<PersistentVolume['spec']>> = {},
    labels: Record<string, string> = {},
  ) => {
    await plane.client.create(PERSISTENT_VOLUMES, undefined, {
      metadata: { name, labels, finalizers: ['kubernetes.io/pv-protection'] },
      spec: {
        accessModes: ['ReadWriteOnce'],
        capacity: { storage },
        hostPath: { path: `/data/${name}` },
        persistentVolumeReclaimPolicy: 'Retain',
        ...spec,
      },
    });
    await plane.settle();
  };
  const claim = async (
    name: string,
    storage: string,
    spec: Partial<NonNullable<PersistentVolumeClaim['spec']>> = {},
    annotations: Record<string, string> = {},
  ) => {
    const made = await plane.client.create(PERSISTENT_VOLUME_CLAIMS, 'default', {
      metadata: { name, annotations, finalizers: ['kubernetes.io/pvc-protection'] },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        resources: { requests: { storage } },
        ...spec,
      },
    });
    await plane.settle();
    return made;
  };
  const storageClass = async (more: object = {}) => {
    await plane.client.create(STORAGE_CLASSES, undefined, {
      metadata: { name: 'local-path' },
      provisioner: LOCAL_PATH_PROVISIONER,
      reclaimPolicy: 'Delete',
      volumeBindingMode: 'WaitForFirstConsumer',
      allowVolumeExpansion: true,
      ...more,
    });
    await plane.settle();
  };
  const claimOf = (name: string) => plane.client.peek(PERSISTENT_VOLUME_CLAIMS, 'default', name);
  const volumeOf = (name: string) => plane.client.peek(PERSISTENT_VOLUMES, undefined, name);
  const phases = () =>
    Object.fromEntries(
      [...plane.client.all(PERSISTENT_VOLUMES), ...plane.client.all(PERSISTENT_VOLUME_CLAIMS)].map(
        (object) => [object.metadata.name, object.status?.phase],
      ),
    );
  const select = async (name: string, node: string) => {
    await plane.client.patch(PERSISTENT_VOLUME_CLAIMS, 'default', name, {
      type: 'merge',
      body: { metadata: { annotations: { 'volume.kubernetes.io/selected-node': node } } },
    });
    await plane.settle();
  };
  /** A claim that was served by the provisioner, and the name of its volume. */
  const served = async (more: object = {}): Promise<string> => {
    await plane.node('board');
    await storageClass(more);
    const { metadata } = await claim('data', '1Gi', { storageClassName: 'local-path' });
    await select('data', 'board');
    return `pvc-${metadata.uid}`;
  };

  it('binds a claim to the smallest volume that fits, whichever came first', async () => {
    await claim('data', '1Gi');
    expect(phases()).toEqual({ data: 'Pending' });
    expect(plane.events()).toContain(
      'FailedBinding: no persistent volumes available for this claim and no storage class is set',
    );
    await volume('tiny', '500Mi');
    await volume('shared', '2Gi', { accessModes: ['ReadOnlyMany'] });
    await volume('other', '2Gi', { storageClassName: 'fast' });
    expect(phases()).toMatchObject({ data: 'Pending', tiny: 'Available' });
    await volume('right', '2Gi');
    expect(phases()).toMatchObject({ data: 'Bound', right: 'Bound', other: 'Available' });
    expect(claimOf('data')).toMatchObject({
      metadata: {
        annotations: {
          'pv.kubernetes.io/bind-completed': 'yes',
          'pv.kubernetes.io/bound-by-controller': 'yes',
        },
      },
      spec: { volumeName: 'right' },
      status: { capacity: { storage: '2Gi' }, accessModes: ['ReadWriteOnce'] },
    });
    expect(volumeOf('right')?.spec?.claimRef).toMatchObject({
      name: 'data',
      uid: claimOf('data')?.metadata.uid,
    });
  });

  it('chooses by selector, and never gives one volume to two claims', async () => {
    await claim('slow', '1Gi', { selector: { matchLabels: { tier: 'slow' } } });
    await claim('one', '1Gi');
    await claim('two', '1Gi');
    await volume('a', '1Gi', {}, { tier: 'fast' });
    await volume('b', '1Gi', {}, { tier: 'slow' });
    expect(claimOf('slow')?.spec?.volumeName).not.toBe('a');
    await volume('c', '1Gi', {}, { tier: 'slow' });
    expect(claimOf('slow')?.status?.phase).toBe('Bound');
    expect(Object.values(phases()).filter((phase) => phase !== 'Bound')).toEqual([]);
    const given = plane.client.all(PERSISTENT_VOLUME_CLAIMS).map(({ spec }) => spec?.volumeName);
    expect(given.sort()).toEqual(['a', 'b', 'c']);
  });

  it('keeps a volume for the claim that it names, and gives a claim the volume that it names', async () => {
    await volume('kept', '1Gi', { claimRef: { namespace: 'default', name: 'mine' } });
    await claim('other', '1Gi');
    expect(phases()).toMatchObject({ kept: 'Available', other: 'Pending' });
    await claim('mine', '1Gi');
    expect(phases()).toMatchObject({ kept: 'Bound', mine: 'Bound' });
    await claim('named', '1Gi', { volumeName: 'later' });
    await volume('later', '500Mi');
    expect(plane.events()).toContain(
      'VolumeMismatch: Cannot bind to requested volume "later": requested PV is too small',
    );
    expect(phases()).toMatchObject({ named: 'Pending' });
  });

  it('calls a claim lost when its volume is gone', async () => {
    await volume('v', '1Gi');
    await claim('data', '1Gi');
    await plane.client.patch(PERSISTENT_VOLUMES, undefined, 'v', {
      type: 'merge',
      body: { metadata: { finalizers: null } },
    });
    await plane.client.delete(PERSISTENT_VOLUMES, undefined, 'v');
    await plane.settle();
    expect(phases()).toEqual({ data: 'Lost' });
    expect(plane.events()).toContain(
      'ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!',
    );
  });

  it('keeps a released volume from everybody until its claimRef is taken away', async () => {
    await volume('v', '1Gi');
    await claim('data', '1Gi');
    await plane.client.delete(PERSISTENT_VOLUME_CLAIMS, 'default', 'data');
    await plane.settle();
    expect(phases()).toEqual({ v: 'Released' });
    await claim('data', '1Gi');
    expect(phases()).toEqual({ v: 'Released', data: 'Pending' });
    await plane.client.patch(PERSISTENT_VOLUMES, undefined, 'v', {
      type: 'merge',
      body: { spec: { claimRef: null } },
    });
    await plane.settle();
    expect(phases()).toEqual({ v: 'Bound', data: 'Bound' });
  });

  it('says that nobody deletes a volume that nobody provisioned', async () => {
    await volume('v', '1Gi', { persistentVolumeReclaimPolicy: 'Delete' });
    await claim('data', '1Gi');
    await plane.client.delete(PERSISTENT_VOLUME_CLAIMS, 'default', 'data');
    await plane.settle();
    expect(phases()).toEqual({ v: 'Failed' });
    expect(volumeOf('v')?.status?.message).toContain('no deletable volume plugin matched');
  });

  it('protects claims in use by pods and volumes in use by claims', async () => {
    await volume('v', '1Gi');
    await claim('data', '1Gi');
    await plane.client.create(PODS, 'default', {
      metadata: { name: 'user' },
      spec: {
        nodeName: 'board',
        containers: [{ name: 'c', image: 'i' }],
        volumes: [{ name: 'd', persistentVolumeClaim: { claimName: 'data' } }],
      },
    });
    await plane.client.delete(PERSISTENT_VOLUMES, undefined, 'v');
    await plane.client.delete(PERSISTENT_VOLUME_CLAIMS, 'default', 'data');
    await plane.settle();
    expect(phases()).toEqual({ v: 'Bound', data: 'Bound' });
    await plane.client.delete(PODS, 'default', 'user', { gracePeriodSeconds: 0 });
    await plane.settle();
    expect(phases()).toEqual({});
  });

  it('waits for the first consumer, then makes a volume on the node that the scheduler chose', async () => {
    await plane.node('board');
    await storageClass();
    const { metadata } = await claim('data', '1Gi', { storageClassName: 'local-path' });
    expect(plane.events()).toEqual([
      'WaitForFirstConsumer: waiting for first consumer to be created before binding',
    ]);
    await select('data', 'board');
    const name = `pvc-${metadata.uid}`;
    expect(phases()).toEqual({ [name]: 'Bound', data: 'Bound' });
    expect(volumeOf(name)?.spec).toMatchObject({
      capacity: { storage: '1Gi' },
      hostPath: { path: `/var/lib/copepod/storage/${name}_default_data`, type: 'DirectoryOrCreate' },
      persistentVolumeReclaimPolicy: 'Delete',
      storageClassName: 'local-path',
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['board'] }] },
          ],
        },
      },
    });
    expect(plane.events()).toEqual(
      expect.arrayContaining([
        'Provisioning: External provisioner is provisioning volume for claim "default/data"',
        `ProvisioningSucceeded: Successfully provisioned volume ${name}`,
      ]),
    );
  });

  it('asks the scheduler again when the chosen node is gone, and refuses what a directory cannot be', async () => {
    await storageClass();
    await claim('data', '1Gi', { storageClassName: 'local-path' });
    await select('data', 'nowhere');
    expect(claimOf('data')?.metadata.annotations).not.toHaveProperty(['volume.kubernetes.io/selected-node']);
    await plane.node('board');
    await claim('many', '1Gi', { storageClassName: 'local-path', accessModes: ['ReadWriteMany'] });
    await select('many', 'board');
    expect(phases()).toEqual({ data: 'Pending', many: 'Pending' });
    expect(plane.events()).toContain(
      'ProvisioningFailed: failed to provision volume with StorageClass "local-path": NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes',
    );
  });

  it('deletes a volume when its node has removed the directory, not before', async () => {
    const name = await served();
    await plane.client.delete(PERSISTENT_VOLUME_CLAIMS, 'default', 'data');
    await plane.settle();
    expect(phases()).toEqual({ [name]: 'Released' });
    // Impatience does not help: the directory is still there.
    await plane.client.delete(PERSISTENT_VOLUMES, undefined, name);
    await plane.clock.advance(600_000);
    expect(phases()).toEqual({ [name]: 'Released' });
    await plane.client.patch(PERSISTENT_VOLUMES, undefined, name, {
      type: 'merge',
      body: { metadata: { annotations: { [DIRECTORY_REMOVED]: 'yes' } } },
    });
    await plane.settle();
    expect(phases()).toEqual({});
  });

  it('keeps the volume with reclaim policy Retain; its object may be deleted', async () => {
    const name = await served({ reclaimPolicy: 'Retain' });
    await plane.client.delete(PERSISTENT_VOLUME_CLAIMS, 'default', 'data');
    await plane.settle();
    expect(phases()).toEqual({ [name]: 'Released' });
    await plane.client.delete(PERSISTENT_VOLUMES, undefined, name);
    await plane.settle();
    expect(phases()).toEqual({});
  });

  it('grows a claim with its volume', async () => {
    const name = await served();
    await plane.client.patch(PERSISTENT_VOLUME_CLAIMS, 'default', 'data', {
      type: 'merge',
      body: { spec: { resources: { requests: { storage: '3Gi' } } } },
    });
    await plane.settle();
    expect(volumeOf(name)?.spec?.capacity).toEqual({ storage: '3Gi' });
    expect(claimOf('data')?.status?.capacity).toEqual({ storage: '3Gi' });
  });

  // The fake admits everything.
  if (api === 'registry') {
    it('refuses to grow what is not bound, or whose class does not allow it', async () => {
      const grow = (name: string) =>
        plane.client.patch(PERSISTENT_VOLUME_CLAIMS, 'default', name, {
          type: 'merge',
          body: { spec: { resources: { requests: { storage: '3Gi' } } } },
        });
      await served({ allowVolumeExpansion: false });
      await expect(grow('data')).rejects.toThrow(
        'persistentvolumeclaims "data" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
      );
      await claim('pending', '1Gi', { storageClassName: 'local-path' });
      await expect(grow('pending')).rejects.toThrow('spec is immutable after creation');
    });
  }

  it('gives a claim without a class the default one as soon as there is one', async () => {
    await plane.client.create(PERSISTENT_VOLUME_CLAIMS, 'default', {
      metadata: { name: 'early' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    });
    await claim('none', '1Gi');
    await storageClass({
      metadata: {
        name: 'local-path',
        annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
      },
    });
    expect(claimOf('early')?.spec?.storageClassName).toBe('local-path');
    expect(claimOf('none')?.spec?.storageClassName).toBe('');
  });

  it('does not wait for a node that was taken out of the cluster', async () => {
    await served();
    await plane.client.delete(PERSISTENT_VOLUME_CLAIMS, 'default', 'data');
    await plane.settle();
    expect(plane.client.all(PERSISTENT_VOLUMES)).toHaveLength(1);
    await plane.client.delete(NODES, undefined, 'board');
    await plane.settle();
    expect(plane.client.all(PERSISTENT_VOLUMES)).toHaveLength(0);
  });

  it('makes the claims of ephemeral volumes', async () => {
    const pod = await plane.client.create(PODS, 'default', {
      metadata: { name: 'user' },
      spec: {
        containers: [{ name: 'c', image: 'i' }],
        volumes: [
          {
            name: 'scratch',
            ephemeral: {
              volumeClaimTemplate: {
                metadata: { labels: { a: 'b' } },
                spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
              },
            },
          },
        ],
      },
    });
    await plane.settle();
    expect(claimOf('user-scratch')?.metadata).toMatchObject({
      labels: { a: 'b' },
      ownerReferences: [{ kind: 'Pod', name: 'user', uid: pod.metadata.uid, controller: true }],
    });
  });
});
