// The registry as HTTP, the in-process client and the bus see it: verbs are sorted to the parts that carry them out.

import type { Catalogue } from '../../api/catalogue.ts';
import { badRequest, invalid, StatusError } from '../../api/errors.ts';
import { isReset } from '../../api/managed-fields/entries.ts';
import { FieldsTable } from '../../api/managed-fields/fields-table.ts';
import { type JsonObject, type KubeObject, objectKey } from '../../api/object.ts';
import { groupResource } from '../../api/resource.ts';
import type { Schemas } from '../../api/schema.ts';
import type { Status } from '../../api/types/meta-v1.ts';
import { invalidValue, objectAt, stringAt } from '../../api/validation.ts';
import type { Patch } from '../../client/port.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import type { Service } from '../../lib/service.ts';
import { notHonoured } from '../admission/not-honoured.ts';
import type { Ask } from '../admission/policies/compiled.ts';
import { AdmissionPolicies } from '../admission/policies/plugin.ts';
import { AdmissionChain, type AdmissionPlugin } from '../admission/port.ts';
import type { Store } from '../store/port.ts';
import { ServiceAllocator } from './allocation.ts';
import { Applier } from './applying.ts';
import { type ComponentHealth, componentStatuses } from './component-statuses.ts';
import { type ComputedResource, computedList, computedObject } from './computed.ts';
import { definitionStrategy } from './custom/definition-strategy.ts';
import { DEFINITIONS_BUCKET, Definitions } from './custom/definitions.ts';
import { decodeBody, decodePatched } from './decoding.ts';
import { Deleter } from './deletion.ts';
import { EventLimits } from './event-limits.ts';
import { checkIdentity, checkUid, lockOf, notServed } from './identity-checks.ts';
import { mutationsOf } from './mutations.ts';
import { type Endpoint, Ownership, withoutOwners } from './ownership.ts';
import { applyPatch, patchesOwners } from './patching.ts';
import { type Allocator, missing, type Projection, WritePipeline } from './pipeline.ts';
import type {
  DeleteRequest,
  ListResult,
  ReadOptions,
  Registry,
  RequestContext,
  Target,
  WatchMessage,
  WatchRequest,
  WriteOptions,
  WriteResult,
} from './port.ts';
import type { Reviews, TokenIssuer } from './ports.ts';
import { asItself, projectionOf } from './projections.ts';
import { Reader } from './reading.ts';
import { answerReview, isReview } from './reviews.ts';
import { applyDefaults, type Served, ServedResources, type Strategies } from './served.ts';
import { Submissions } from './submissions.ts';
import { SubresourcePosts } from './subresource-posts.ts';
import { Watcher } from './watching.ts';

export interface ApiRegistryOptions {
  store: Store;
  catalogue: Catalogue;
  schemas: Schemas;
  /** By group resource (`deployments.apps`); see strategies/index.ts. */
  strategies: Strategies;
  /** In Kubernetes' order; see admission/index.ts. */
  admission: readonly AdmissionPlugin[];
  clock: Clock;
  random: Random;
  logger: Logger;
  /** IPv4 CIDR of ClusterIPs; its first address is that of the Service `kubernetes`. */
  serviceCidr: string;
  tokenIssuer?: TokenIssuer | undefined;
  reviews?: Reviews | undefined;
  /** Where sets of owned fields are shared; the store's is best, which reads them from disk. */
  fields?: FieldsTable | undefined;
  /** What `componentstatuses` shows. */
  components?: () => ComponentHealth[];
  /** Resources that are answered and not stored, by group resource (`pods.metrics.k8s.io`). */
  computed?: ReadonlyMap<string, ComputedResource>;
  /** `authorizer` in the expressions of admission policies. */
  authorize?: Ask | undefined;
}

export class ApiRegistry implements Registry, Service {
  readonly catalogue: Catalogue;
  readonly served: ServedResources;
  readonly customs: Definitions;
  private readonly store: Store;
  private readonly schemas: Schemas;
  private readonly clock: Clock;
  private readonly admission: AdmissionChain;
  private readonly pipeline: WritePipeline;
  private readonly submissions: Submissions;
  private readonly applier: Applier;
  private readonly deleter: Deleter;
  private readonly reader: Reader;
  private readonly watcher: Watcher;
  private readonly eventLimits: EventLimits;
  private readonly services: ServiceAllocator;
  private readonly projections = new WeakMap<Served, Map<string, Projection | undefined>>();
  private readonly posts: SubresourcePosts;
  private readonly reviews: Reviews | undefined;
  private readonly computed: ReadonlyMap<string, ComputedResource>;

  constructor(options: ApiRegistryOptions) {
    const { store, catalogue, schemas, strategies, clock, random, logger } = options;
    this.catalogue = catalogue;
    this.store = store;
    this.schemas = schemas;
    this.clock = clock;
    this.customs = new Definitions({ store, catalogue, schemas, clock, logger });
    this.served = new ServedResources({
      catalogue,
      schemas,
      strategies: withDefinitions(strategies, this.customs),
      customs: this.customs,
    });
    this.admission = new AdmissionChain([
      ...options.admission,
      new AdmissionPolicies({
        store,
        catalogue,
        finish: mutationsOf(this.served, catalogue),
        ask: options.authorize,
      }),
      this.customs.admission,
      notHonoured({ store, catalogue }),
    ]);
    this.services = new ServiceAllocator({ store, random, logger, serviceCidr: options.serviceCidr });
    const allocators = new Map<string, Allocator>([['services', this.services]]);
    this.pipeline = new WritePipeline({ store, admission: this.admission, allocators, clock, random });
    const ownership = new Ownership({
      resources: this.served,
      fields: options.fields ?? new FieldsTable(),
    });
    this.submissions = new Submissions({ store, ownership, clock });
    this.applier = new Applier({
      catalogue,
      pipeline: this.pipeline,
      ownership,
      clock,
    });
    this.deleter = new Deleter({ store, admission: this.admission, allocators, clock });
    this.reader = new Reader(store);
    this.watcher = new Watcher({ store, clock });
    this.eventLimits = new EventLimits({ store, clock, logger });
    this.posts = new SubresourcePosts({
      store,
      catalogue,
      schemas,
      served: this.served,
      admission: this.admission,
      deleter: this.deleter,
      clock,
      random,
      tokenIssuer: options.tokenIssuer,
    });
    this.reviews = options.reviews;
    this.computed = new Map([
      ...(options.computed ?? []),
      ['componentstatuses', componentStatuses(options.components ?? (() => []))],
    ]);
  }

  /** After the store's start. */
  async start(): Promise<void> {
    this.services.rebuild();
    this.watcher.start();
    this.eventLimits.start();
    await this.customs.start(this);
  }

  async stop(): Promise<void> {
    await this.customs.stop();
    this.eventLimits.stop();
    this.watcher.stop();
  }

  async get(context: RequestContext, target: Target, options: ReadOptions = {}): Promise<KubeObject> {
    const computed = this.computed.get(groupResource(target.info));
    if (computed) return computedObject(computed, target);
    const served = this.resource(target, context);
    if (target.subresource === undefined) return this.reader.get(target, served, options);
    const projection = this.projection(served, target);
    const stored = this.store.get(served.bucket, objectKey(target.namespace, target.name ?? ''));
    if (!stored) throw missing(target);
    return projection.view(stored.object) as unknown as KubeObject;
  }

  async list(context: RequestContext, target: Target, options: ReadOptions = {}): Promise<ListResult> {
    const computed = this.computed.get(groupResource(target.info));
    if (computed) {
      return { items: computedList(computed, target, options), resourceVersion: String(this.store.revision) };
    }
    return this.reader.list(target, this.resource(target, context), options);
  }

  async watch(
    context: RequestContext,
    target: Target,
    request: WatchRequest,
    onMessage: (message: WatchMessage) => void,
  ): Promise<{ stop(): void }> {
    this.resource(target, context);
    return this.watchNow(target, request, onMessage);
  }

  /** watch() without a turn of the event loop, for followers inside the process. */
  watchNow(
    target: Target,
    request: WatchRequest,
    onMessage: (message: WatchMessage) => void,
  ): { stop(): void } {
    return this.watcher.watch(target, this.served.of(target.info), request, onMessage);
  }

  /** list() without a turn of the event loop. */
  listNow(target: Target, options: ReadOptions): ListResult {
    return this.reader.list(target, this.served.of(target.info), options);
  }

  async create(
    context: RequestContext,
    target: Target,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<KubeObject> {
    if (target.subresource !== undefined) return this.posts.create(context, target, body, options);
    const served = this.resource(target, context);
    const object = decodeBody(this.catalogue, asItself(served), body, options, context);
    if (isReview(target)) {
      return answerReview(this.reviews, target, object, context, this.clock.now());
    }
    if (groupResource(target.info) === 'bindings') {
      const name = stringAt(objectAt(object, 'metadata'), 'name');
      return this.posts.bind(context, { ...target, name }, object, options);
    }
    requireNamespace(target);
    applyDefaults(served, object);
    return this.createOwned(context, target, served, object, options);
  }

  async admitConnect(context: RequestContext, target: Target, options: JsonObject): Promise<void> {
    const request = {
      operation: 'CONNECT' as const,
      target,
      bucket: groupResource(target.info),
      object: options,
      old: undefined,
      context,
      dryRun: false,
    };
    await this.admission.admit(request);
    await this.admission.validate(request);
  }

  async update(
    context: RequestContext,
    target: Target,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    const served = this.resource(target, context);
    const projection = this.projection(served, target);
    const { strategy } = served;
    const endpoint: Endpoint = { served, projection, subresource: target.subresource };
    const lean = this.submissions.withoutSameOwners(served, target, body);
    const submitted = decodeBody(this.catalogue, projection.as, lean.body, options, context);
    checkIdentity(target, objectAt(submitted, 'metadata'), target.subresource !== undefined);
    if (isWhole(projection, served)) applyDefaults(served, submitted);
    let attempts = 0;
    // An attempt changes what was submitted (conversion, defaults of the server): a second one starts afresh.
    const again = (): JsonObject => {
      const fresh = decodeBody(
        this.catalogue,
        projection.as,
        lean.body,
        { ...options, fieldValidation: 'Ignore' },
        context,
      );
      checkIdentity(target, objectAt(fresh, 'metadata'), true);
      if (isWhole(projection, served)) applyDefaults(served, fresh);
      return fresh;
    };
    const outcome = await this.pipeline.change(
      context,
      target,
      served,
      projection,
      (view) => {
        attempts += 1;
        const object = attempts === 1 ? submitted : again();
        checkUid(target, objectAt(object, 'metadata'), objectAt(view, 'metadata'));
        if (strategy.requireResourceVersionOnUpdate && lockOf(objectAt(object, 'metadata')) === '') {
          // Named by its resource here, as Kubernetes does.
          const { group, resource: kind } = target.info;
          throw invalid({ group, kind }, target.name ?? '', [
            invalidValue('metadata.resourceVersion', 0, 'must be specified for an update'),
          ]);
        }
        return this.submissions.change(context, endpoint, object, lean.given);
      },
      options,
    );
    if (outcome) return this.answer(projection, outcome);
    checkUid(target, objectAt(submitted, 'metadata'), {});
    if (!strategy.allowCreateOnUpdate || target.subresource !== undefined) throw missing(target);
    const metadata = objectAt(submitted, 'metadata');
    delete metadata.resourceVersion;
    context.demandCreate?.();
    return {
      object: await this.createOwned(context, target, served, submitted, options),
      created: true,
    };
  }

  async patch(
    context: RequestContext,
    target: Target,
    patch: Patch,
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    const served = this.resource(target, context);
    const projection = this.projection(served, target);
    const endpoint: Endpoint = { served, projection, subresource: target.subresource };
    if (patch.type === 'apply') {
      const applied = await this.applier.apply(context, target, endpoint, patch, options);
      if (!applied) throw missing(target);
      return applied.created ? applied : this.answer(projection, applied);
    }
    const withOwners = target.subresource === undefined && patchesOwners(patch);
    const outcome = await this.pipeline.change(
      context,
      target,
      served,
      projection,
      (view) => {
        const before = withOwners ? view : withoutOwners(view);
        const outcome = applyPatch(patch, before, projection.as.struct, target.info.custom);
        // What the patch left alone is shared with the stored object.
        const patched = { ...outcome, metadata: { ...objectAt(outcome, 'metadata') } };
        checkIdentity(target, patched.metadata, true);
        const submitted = decodePatched(this.catalogue, projection.as, patched, options, context);
        if (isWhole(projection, served)) applyDefaults(served, submitted);
        const given: unknown = patched.metadata.managedFields;
        const reset = Array.isArray(given) && isReset(given) ? given : undefined;
        return this.submissions.change(context, endpoint, submitted, reset);
      },
      options,
    );
    if (!outcome) throw missing(target);
    return this.answer(projection, outcome);
  }

  async delete(
    context: RequestContext,
    target: Target,
    request: DeleteRequest = {},
  ): Promise<KubeObject | Status> {
    return this.deleter.delete(context, target, this.resource(target, context), request);
  }

  async deleteCollection(
    context: RequestContext,
    target: Target,
    selection: ReadOptions,
    request: DeleteRequest = {},
  ): Promise<ListResult> {
    const served = this.resource(target, context);
    const found = this.reader.list(target, served, selection);
    const deletions = found.items.map(async ({ metadata }) => {
      try {
        const one = { ...target, name: metadata.name ?? '', namespace: metadata.namespace };
        await this.deleter.delete(context, one, served, request);
      } catch (error) {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
      }
    });
    const outcomes = await Promise.allSettled(deletions);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return found;
  }

  private createOwned(
    context: RequestContext,
    target: Target,
    served: Served,
    object: JsonObject,
    options: WriteOptions,
  ): Promise<KubeObject> {
    const main = { ...target, subresource: undefined };
    const endpoint = { served, projection: this.projection(served, main), subresource: undefined };
    const owners = this.submissions.ownersOfNew(context, endpoint, object);
    return this.pipeline.create(context, target, served, object, owners, options);
  }

  private answer(projection: Projection, outcome: WriteResult): WriteResult {
    const object = projection.view(outcome.object) as unknown as KubeObject;
    return { object, created: outcome.created };
  }

  private resource(target: Target, context: RequestContext): Served {
    const served = this.served.of(target.info);
    if (served.strategy.deprecation !== undefined) context.warn(served.strategy.deprecation);
    return served;
  }

  private projection(served: Served, target: Target): Projection {
    let known = this.projections.get(served);
    if (!known) {
      known = new Map();
      this.projections.set(served, known);
    }
    const name = target.subresource ?? '';
    if (!known.has(name)) known.set(name, projectionOf(served, target.subresource, this.schemas));
    const projection = known.get(name);
    if (!projection) throw notServed();
    return projection;
  }
}

/** Definitions are served here: their strategy knows what becomes of them. */
function withDefinitions(strategies: Strategies, customs: Definitions): Strategies {
  const base = strategies.get(DEFINITIONS_BUCKET);
  if (!base) return strategies;
  const strategy = definitionStrategy(base, (definition) => customs.problems(definition));
  return new Map([...strategies, [DEFINITIONS_BUCKET, strategy]]);
}

function isWhole(projection: Projection, served: Served): boolean {
  return projection.as.kind === served.info.kind;
}

function requireNamespace(target: Target): void {
  if (target.info.namespaced && !target.namespace) {
    throw badRequest('an empty namespace may not be set during creation');
  }
}
