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
  /**
   * The last word, after everyone's `validate`: no turn of the event loop lies between this and the commit, so that what
   * was counted (quota) is still true then. May be asked again for one request, before each attempt to write.
   */
  reserve?(request: AdmissionRequest): void;
}

/** All plugins in Kubernetes' order: first everyone's `admit`, and after validation everyone's `validate`. */
export class AdmissionChain {
  private readonly admitting: readonly AdmissionPlugin[];
  private readonly validating: readonly AdmissionPlugin[];
  private readonly reserving: readonly AdmissionPlugin[];

  constructor(plugins: readonly AdmissionPlugin[]) {
    this.admitting = plugins.filter((plugin) => plugin.admit !== undefined);
    this.validating = plugins.filter((plugin) => plugin.validate !== undefined);
    this.reserving = plugins.filter((plugin) => plugin.reserve !== undefined);
  }

  /**
   * Undefined when all plugins answered at once. Callers must not await then: between reading an object and writing it
   * back there is no turn of the event loop, so no race to lose.
   */
  admit(request: AdmissionRequest): Promise<void> | undefined {
    return inTurn(this.admitting, (plugin) => plugin.admit?.(request));
  }

  validate(request: AdmissionRequest): Promise<void> | undefined {
    return inTurn(this.validating, (plugin) => plugin.validate?.(request));
  }

  reserve(request: AdmissionRequest): void {
    for (const plugin of this.reserving) plugin.reserve?.(request);
  }
}

function inTurn(
  plugins: readonly AdmissionPlugin[],
  ask: (plugin: AdmissionPlugin) => void | Promise<void>,
  from = 0,
): Promise<void> | undefined {
  for (let index = from; index < plugins.length; index += 1) {
    const pending = ask(plugins[index] as AdmissionPlugin);
    if (pending) return pending.then(() => inTurn(plugins, ask, index + 1));
  }
  return undefined;
}
