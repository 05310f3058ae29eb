import { isReset } from '../../api/managed-fields/entries.ts';
import { type JsonObject, objectKey } from '../../api/object.ts';
import { objectAt } from '../../api/validation.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Store } from '../store/port.ts';
import { type Endpoint, type Ownership, ownersOf, withoutOwners } from './ownership.ts';
import type { Submission, WritePipeline } from './pipeline.ts';
import type { RequestContext, Target } from './port.ts';
import type { Served } from './served.ts';

/** What clients submit, with the managedFields that they send along and those that become of it. */
export class Submissions {
  private readonly store: Store;
  private readonly ownership: Ownership;
  private readonly clock: Clock;

  constructor(options: { store: Store; ownership: Ownership; clock: Clock }) {
    this.store = options.store;
    this.ownership = options.ownership;
    this.clock = options.clock;
  }

  /** The owners of an object that is created. */
  ownersOfNew(
    context: RequestContext,
    endpoint: Endpoint,
    object: JsonObject,
  ): Parameters<WritePipeline['create']>[4] {
    const given = objectAt(object, 'metadata').managedFields as unknown[] | undefined;
    return this.ownership.ofNew(endpoint, object, given, this.actor(context));
  }

  /** `reset`: the list with which the client wants to be rid of all owners, which decoding drops. */
  change(
    context: RequestContext,
    endpoint: Endpoint,
    object: JsonObject,
    reset: readonly unknown[] | undefined,
  ): Submission {
    const given = reset ?? (objectAt(object, 'metadata').managedFields as unknown[] | undefined);
    const actor = this.actor(context);
    return {
      object,
      owners: (old, next) =>
        this.ownership.afterChange(endpoint, { old, next, submitted: object, given }, actor),
    };
  }

  /** Whoever changes what was read sends its managedFields along; from inside the process the very same list. */
  withoutSameOwners(
    served: Served,
    target: Target,
    body: unknown,
  ): { body: unknown; given: readonly unknown[] | undefined } {
    const given = (body as { metadata?: { managedFields?: unknown } } | null)?.metadata?.managedFields;
    if (!Array.isArray(given)) return { body, given: undefined };
    const head = this.store.head(served.bucket, objectKey(target.namespace, target.name ?? ''));
    const same = head !== undefined && ownersOf(head.object as unknown as JsonObject) === given;
    return {
      body: same ? withoutOwners(body as JsonObject) : body,
      given: isReset(given) ? given : undefined,
    };
  }

  private actor({ fieldManager }: RequestContext): { manager: string; now: number } {
    return { manager: fieldManager, now: this.clock.now() };
  }
}
