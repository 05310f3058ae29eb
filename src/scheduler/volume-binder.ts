import { StatusError } from '../api/errors.ts';
import { CSI_NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES } from '../api/kinds.ts';
import { keyOf } from '../api/object.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../api/types/core-v1.ts';
import type { CSINode, StorageClass } from '../api/types/storage-v1.ts';
import type { Informer, InformerSet } from '../client/informer.ts';
import type { Client } from '../client/port.ts';
import type { Clock } from '../lib/clock.ts';
import type { PodInfo } from './pod-info.ts';
import {
  BOUND_BY_CONTROLLER,
  isBound,
  SELECTED_NODE,
  type VolumeObjects,
  type VolumePlan,
} from './volumes.ts';

/** How long a pod waits for its volumes once its node is chosen (bindTimeoutSeconds' default). */
const BIND_TIMEOUT_MS = 600_000;
const BY_CLASS = 'scheduler/class';

/**
 * The storage objects for decisions, and what a decision does about them: volumes that are there are claimed, others are
 * asked of their provisioner by naming the node, and the pod is bound when its claims are.
 */
export class VolumeBinder implements VolumeObjects {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly claims: Informer<PersistentVolumeClaim>;
  private readonly volumes: Informer<PersistentVolume>;
  private readonly classes: Informer<StorageClass>;
  private readonly csiNodes: Informer<CSINode>;
  private readonly promised = new Map<string, string>();
  /** Bindings that wait for their claims, by the pod's uid; called at each change of one. */
  private readonly waiting = new Map<string, () => void>();
  private readonly abandoned = new Set<string>();
  private detach: (() => void)[] = [];
  private stopped = false;

  constructor(options: { client: Client; informers: InformerSet; clock: Clock }) {
    this.client = options.client;
    this.clock = options.clock;
    const { informers } = options;
    this.claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
    this.volumes = informers
      .of(PERSISTENT_VOLUMES)
      .addIndex(BY_CLASS, ({ spec }) => spec?.storageClassName ?? '');
    this.classes = informers.of(STORAGE_CLASSES);
    this.csiNodes = informers.of(CSI_NODES);
  }

  get synced(): Promise<unknown> {
    return Promise.all([this.claims, this.volumes, this.classes, this.csiNodes].map(({ synced }) => synced));
  }

  /** `changed` is called at every change that may let a pod fit. */
  start(changed: () => void): void {
    this.stopped = false;
    const notify = (): void => {
      for (const look of [...this.waiting.values()]) look();
      changed();
    };
    const handlers = { onAdd: notify, onUpdate: notify, onDelete: notify };
    this.detach = [
      this.claims.handle(handlers),
      this.volumes.handle(handlers),
      this.classes.handle(handlers),
      this.csiNodes.handle(handlers),
    ];
  }

  /** Bindings that wait are given up. */
  stop(): void {
    this.stopped = true;
    for (const detach of this.detach) detach();
    this.detach = [];
    for (const look of [...this.waiting.values()]) look();
  }

  /** The pod is gone: nobody waits for its claims any more. */
  abandon(uid: string): void {
    const look = this.waiting.get(uid);
    if (!look) return;
    this.abandoned.add(uid);
    look();
  }

  claim(namespace: string, name: string): PersistentVolumeClaim | undefined {
    return this.claims.get(namespace, name);
  }

  volume(name: string): PersistentVolume | undefined {
    return name === '' ? undefined : this.volumes.get(undefined, name);
  }

  volumesOfClass(name: string): readonly PersistentVolume[] {
    return this.volumes.byIndex(BY_CLASS, name);
  }

  storageClass(name: string): StorageClass | undefined {
    return name === '' ? undefined : this.classes.get(undefined, name);
  }

  csiNode(name: string): CSINode | undefined {
    return this.csiNodes.get(undefined, name);
  }

  promisedTo(volume: string): string | undefined {
    return this.promised.get(volume);
  }

  /** Keeps the plan's volumes from other decisions until `release`. */
  promise(plan: VolumePlan): void {
    for (const { claim, volume } of plan.bind) this.promised.set(volume.metadata.name ?? '', keyOf(claim));
  }

  release(plan: VolumePlan): void {
    for (const { volume } of plan.bind) this.promised.delete(volume.metadata.name ?? '');
  }

  /** Resolves when all claims of the plan are bound; throws Timeout, or what the API says. */
  async bind(info: PodInfo, plan: VolumePlan, node: string): Promise<void> {
    for (const { claim, volume } of plan.bind) {
      const { namespace, name, uid, resourceVersion } = claim.metadata;
      await this.client.patch(PERSISTENT_VOLUMES, undefined, volume.metadata.name ?? '', {
        type: 'merge',
        body: {
          // Lost when another has claimed it meanwhile.
          metadata: {
            resourceVersion: volume.metadata.resourceVersion,
            ...(volume.spec?.claimRef ? {} : { annotations: { [BOUND_BY_CONTROLLER]: 'yes' } }),
          },
          spec: {
            claimRef: {
              apiVersion: 'v1',
              kind: 'PersistentVolumeClaim',
              namespace,
              name,
              uid,
              resourceVersion,
            },
          },
        },
      });
    }
    for (const { metadata } of plan.provision) {
      if (metadata.annotations?.[SELECTED_NODE] === node) continue;
      await this.client.patch(PERSISTENT_VOLUME_CLAIMS, metadata.namespace, metadata.name ?? '', {
        type: 'merge',
        body: { metadata: { annotations: { [SELECTED_NODE]: node } } },
      });
    }
    await this.bound(info, plan, node);
  }

  private bound(info: PodInfo, plan: VolumePlan, node: string): Promise<void> {
    const claims = [
      ...plan.bind.map(({ claim }) => ({ claim, provisioned: false })),
      ...plan.provision.map((claim) => ({ claim, provisioned: true })),
    ];
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        this.waiting.delete(info.uid);
        this.abandoned.delete(info.uid);
        timer.cancel();
        if (error) reject(error);
        else resolve();
      };
      const look = (): void => {
        if (this.stopped) {
          end(new StatusError('ServiceUnavailable', 503, 'the scheduler is stopping'));
          return;
        }
        if (this.abandoned.has(info.uid)) {
          end(new StatusError('NotFound', 404, `pods "${info.pod.metadata.name}" not found`));
          return;
        }
        for (const { claim, provisioned } of claims) {
          const { metadata } = claim;
          const current = this.claims.get(metadata.namespace, metadata.name ?? '');
          if (!current || current.metadata.uid !== metadata.uid) {
            end(new StatusError('NotFound', 404, `persistentvolumeclaim "${metadata.name}" not found`));
            return;
          }
          if (isBound(current)) continue;
          // The provisioner takes the annotation away when it cannot serve this node.
          if (provisioned && current.metadata.annotations?.[SELECTED_NODE] !== node) {
            end(new StatusError('Conflict', 409, 'provisioning failed on the selected node'));
          }
          return;
        }
        end();
      };
      const timer = this.clock.after(BIND_TIMEOUT_MS, () =>
        end(
          new StatusError(
            'Timeout',
            504,
            `binding volumes: timed out waiting for the condition (${info.key})`,
          ),
        ),
      );
      this.waiting.set(info.uid, look);
      look();
    });
  }
}
