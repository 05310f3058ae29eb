import type { JsonObject } from '../../api/object.ts';
import type { RequestContext, Target } from '../registry/port.ts';

export type AdmissionOperation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

/** One request on its way through admission. */
export interface AdmissionRequest {
  readonly operation: AdmissionOperation;
  readonly target: Target;
  /** The object's bucket in the store, whatever version the request is in. */
  readonly bucket: string;
  /** What is to be stored; `admit` may change it. For DELETE undefined; for binding, eviction, token: the posted body. */
  readonly object: JsonObject | undefined;
  /** The stored object: for UPDATE and DELETE. Never change it. */
  readonly old: JsonObject | undefined;
  readonly context: RequestContext;
  readonly dryRun: boolean;
}

/**
 * One rule about requests. `admit` may change the object, `validate` only refuses; both throw StatusError. They are
 * synchronous where they can be: a write's path has as few turns of the event loop as possible.
 */
export interface AdmissionPlugin {
  readonly name: string;
  admit?(request: AdmissionRequest): void | Promise<void>;
  validate?(request: AdmissionRequest): void | Promise<void>;
}

/** All plugins in Kubernetes' order: first everyone's `admit`, and after validation everyone's `validate`. */
export class AdmissionChain {
  private readonly admitting: readonly AdmissionPlugin[];
  private readonly validating: readonly AdmissionPlugin[];

  constructor(plugins: readonly AdmissionPlugin[]) {
    this.admitting = plugins.filter((plugin) => plugin.admit !== undefined);
    this.validating = plugins.filter((plugin) => plugin.validate !== undefined);
  }

  async admit(request: AdmissionRequest): Promise<void> {
    for (const plugin of this.admitting) {
      const pending = plugin.admit?.(request);
      if (pending) await pending;
    }
  }

  async validate(request: AdmissionRequest): Promise<void> {
    for (const plugin of this.validating) {
      const pending = plugin.validate?.(request);
      if (pending) await pending;
    }
  }
}
