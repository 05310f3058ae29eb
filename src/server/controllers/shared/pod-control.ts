import { isNotFound } from '../../../api/errors.ts';
import { PODS } from '../../../api/kinds.ts';
import type { KubeObject } from '../../../api/object.ts';
import type { Pod, PodTemplateSpec } from '../../../api/types/core-v1.ts';
import type { EventRecorder } from '../../../client/events.ts';
import type { Client } from '../../../client/port.ts';
import { isNamespaceTerminating } from '../../../client/reconcile.ts';
import { controllerRef } from './ownership.ts';

/** What differs between a template and one pod made from it. */
export interface PodShape {
  /** A fixed name; else `<owner>-` and a random suffix. */
  name?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: readonly string[];
  spec?: Partial<NonNullable<Pod['spec']>>;
}

/** Creates and deletes the pods of every controller, and tells about it in events on the owner. */
export class PodControl {
  private readonly client: Client;
  private readonly recorder: EventRecorder;

  constructor(options: { client: Client; recorder: EventRecorder }) {
    this.client = options.client;
    this.recorder = options.recorder;
  }

  async create(owner: KubeObject, template: PodTemplateSpec, shape: PodShape = {}): Promise<Pod> {
    const namespace = owner.metadata.namespace ?? '';
    const { labels, annotations, finalizers } = template.metadata ?? {};
    const allFinalizers = [...new Set([...(finalizers ?? []), ...(shape.finalizers ?? [])])];
    try {
      const pod = await this.client.create(PODS, namespace, {
        metadata: {
          namespace,
          ...(shape.name === undefined ? { generateName: `${owner.metadata.name}-` } : { name: shape.name }),
          labels: { ...labels, ...shape.labels },
          ...(annotations || shape.annotations
            ? { annotations: { ...annotations, ...shape.annotations } }
            : {}),
          ...(allFinalizers.length === 0 ? {} : { finalizers: allFinalizers }),
          ownerReferences: [controllerRef(owner)],
        },
        spec: { ...template.spec, ...shape.spec } as NonNullable<Pod['spec']>,
      });
      this.recorder.record(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
      return pod;
    } catch (error) {
      if (!isNamespaceTerminating(error)) {
        const message = error instanceof Error ? error.message : String(error);
        this.recorder.record(owner, 'Warning', 'FailedCreate', `Error creating: ${message}`);
      }
      throw error;
    }
  }

  /** Asks for the pod's deletion; one that is gone, or is another by now, is deleted already. */
  async delete(owner: KubeObject, pod: Pod): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    try {
      await this.client.delete(PODS, namespace, name ?? '', {
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      });
      this.recorder.record(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
    } catch (error) {
      if (isNotFound(error)) return;
      const message = error instanceof Error ? error.message : String(error);
      this.recorder.record(owner, 'Warning', 'FailedDelete', `Error deleting: ${message}`);
      throw error;
    }
  }
}

/**
 * Runs `work` count times: one, then two, then four at once, and stops after a batch that failed: a quota or a webhook
 * that refuses one refuses all. Returns how many succeeded and the first failure.
 */
export async function slowStart(
  count: number,
  work: (index: number) => Promise<unknown>,
): Promise<{ done: number; error?: unknown }> {
  let done = 0;
  for (let batch = 1; done < count; batch *= 2) {
    const begin = done;
    const size = Math.min(batch, count - begin);
    const outcomes = await Promise.allSettled(
      Array.from({ length: size }, (_, offset) => work(begin + offset)),
    );
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    done += outcomes.filter((outcome) => outcome.status === 'fulfilled').length;
    if (failure) return { done, error: failure.reason };
  }
  return { done };
}
