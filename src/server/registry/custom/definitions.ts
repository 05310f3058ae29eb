// Follows CustomResourceDefinitions: gives them their names, puts their resources into the catalogue and takes them out
// again, removes the objects of those that are deleted.
import type { Catalogue, ResourceInfo } from '../../../api/catalogue.ts';
import { isConflict, isNotFound } from '../../../api/errors.ts';
import { cloneJson, type JsonObject, type KubeObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { groupResource, type ResourceRef } from '../../../api/resource.ts';
import type { Schemas } from '../../../api/schema.ts';
import { asObject, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';
import { type Clock, type Timer, timestamp } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { AdmissionPlugin } from '../../admission/port.ts';
import type { Store } from '../../store/port.ts';
import type { Registry, RequestContext, Target } from '../port.ts';
import type { Strategy } from '../strategy.ts';
import {
  CLEANUP_FINALIZER,
  type Condition,
  ESTABLISHED,
  isTrue,
  namesInUse,
  nextStatus,
  terminating,
  withCondition,
} from './conditions.ts';
import type { Serving } from './serving.ts';
import type { CustomType, CustomTypes } from './types.ts';

const DEFINITIONS: ResourceRef = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  resource: 'customresourcedefinitions',
};
export const DEFINITIONS_BUCKET = groupResource(DEFINITIONS);
const META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';
/** Objects with finalizers are looked for again after this long, and so is what failed. */
const LOOK_AGAIN_MS = 1000;

export interface DefinitionsOptions {
  store: Store;
  catalogue: Catalogue;
  schemas: Schemas;
  clock: Clock;
  logger: Logger;
}

interface Entry {
  readonly info: ResourceInfo;
  readonly version: JsonObject;
  readonly definition: JsonObject;
  type: CustomType | undefined;
}

export class Definitions implements CustomTypes {
  /** Loads what a definition needs before its rules are checked. */
  readonly admission: AdmissionPlugin;
  private readonly store: Store;
  private readonly catalogue: Catalogue;
  private readonly schemas: Schemas;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly context: RequestContext;
  private readonly entries = new WeakMap<ResourceInfo, Entry>();
  /** What is in the catalogue, by the definition's name. */
  private readonly offered = new Map<string, Entry[]>();
  private readonly waiting = new Set<string>();
  private readonly timers = new Map<string, Timer>();
  private loading: Promise<Serving> | undefined;
  private serving: Serving | undefined;
  private registry: Registry | undefined;
  private watch: { stop(): void } | undefined;
  private working: Promise<void> | undefined;

  constructor({ store, catalogue, schemas, clock, logger }: DefinitionsOptions) {
    this.store = store;
    this.catalogue = catalogue;
    this.schemas = schemas;
    this.clock = clock;
    this.logger = logger.child({ part: 'custom-resources' });
    this.context = {
      user: { name: 'system:apiserver', groups: ['system:masters'] },
      requestId: 'custom-resources',
      fieldManager: 'kube-apiserver',
      warn: (text) => this.logger.debug({ warning: text }, 'the API warned'),
    };
    this.admission = {
      name: 'CustomResourceDefinitions',
      admit: ({ bucket, object, target }) => {
        if (bucket !== DEFINITIONS_BUCKET || !object || target.subresource !== undefined) return undefined;
        return this.prepare(object);
      },
    };
  }

  /** What is stored is served again when this resolves; `registry` is where statuses are written and objects deleted. */
  async start(registry: Registry): Promise<void> {
    this.registry = registry;
    this.watch = this.store.watch(DEFINITIONS_BUCKET, undefined, ({ key, object, type }) =>
      this.changed(key, object, type === 'DELETED'),
    );
    for (const { object } of this.store.list(DEFINITIONS_BUCKET)) {
      const definition = object as unknown as JsonObject;
      if (isTrue(definition, 'Established')) {
        await this.prepare(definition);
        this.offer(definition);
      }
      this.enqueue(object.metadata.name ?? '');
    }
  }

  async stop(): Promise<void> {
    this.watch?.stop();
    this.registry = undefined;
    this.waiting.clear();
    for (const timer of this.timers.values()) timer.cancel();
    this.timers.clear();
    await this.working;
  }

  of(info: ResourceInfo): CustomType | undefined {
    const entry = this.entries.get(info);
    if (!entry || !this.serving) return undefined;
    entry.type ??= this.serving.compile(entry.definition, entry.version);
    return entry.type;
  }

  /** Of a definition, after admission. */
  problems(definition: JsonObject): ReturnType<NonNullable<Strategy['validate']>> {
    return this.serving?.problems(definition) ?? [];
  }

  private async prepare(definition: JsonObject): Promise<void> {
    const serving = await this.load();
    await serving.prepare(definition);
  }

  private load(): Promise<Serving> {
    this.loading ??= import('./serving.ts').then((loaded) => {
      this.entriesOf = loaded.entriesOf;
      this.serving = new loaded.Serving(this.schemas.struct(META));
      return this.serving;
    });
    return this.loading;
  }

  private entriesOf: typeof import('./serving.ts').entriesOf = () => [];

  private changed(name: string, object: KubeObject, deleted: boolean): void {
    if (deleted) this.withdraw(name);
    this.enqueue(name);
    // Names that became free may be what others wait for.
    const group = stringAt(objectAt(object as unknown as JsonObject, 'spec'), 'group');
    for (const other of this.group(group)) {
      if (!isTrue(other, 'NamesAccepted')) this.enqueue(nameOf(other));
    }
  }

  private group(group: string): JsonObject[] {
    return this.store
      .list(DEFINITIONS_BUCKET)
      .map(({ object }) => object as unknown as JsonObject)
      .filter((definition) => stringAt(objectAt(definition, 'spec'), 'group') === group);
  }

  private enqueue(name: string): void {
    if (!this.registry) return;
    this.waiting.add(name);
    this.working ??= this.work().finally(() => {
      this.working = undefined;
      if (this.waiting.size > 0) this.enqueue([...this.waiting][0] as string);
    });
  }

  private async work(): Promise<void> {
    for (const name of this.waiting) {
      this.waiting.delete(name);
      try {
        const again = await this.attend(name);
        if (again) this.later(name);
      } catch (error) {
        if (isNotFound(error)) continue;
        // Somebody else changed it: its event has queued it again.
        if (!isConflict(error)) this.logger.warn({ err: error, name }, 'a definition could not be served');
        this.later(name);
      }
    }
  }

  private later(name: string): void {
    if (!this.registry) return;
    this.timers.get(name)?.cancel();
    const timer = this.clock.after(LOOK_AGAIN_MS, () => {
      this.timers.delete(name);
      this.enqueue(name);
    });
    this.timers.set(name, timer);
  }

  /** True when it has to be looked at again in a while. */
  private async attend(name: string): Promise<boolean> {
    const stored = this.store.get(DEFINITIONS_BUCKET, name)?.object as unknown as JsonObject | undefined;
    if (!stored) {
      this.withdraw(name);
      return false;
    }
    await this.prepare(stored);
    const metadata = objectAt(stored, 'metadata');
    if (metadata.deletionTimestamp !== undefined) {
      return stringsAt(metadata, 'finalizers').includes(CLEANUP_FINALIZER) ? this.cleanUp(stored) : false;
    }
    const used = namesInUse(this.group(stringAt(objectAt(stored, 'spec'), 'group')));
    const status = nextStatus(stored, used, timestamp(this.clock.now()));
    const definition = status ? await this.writeStatus(stored, status) : stored;
    if (!isTrue(definition, 'NamesAccepted') && !isTrue(definition, 'Established')) {
      this.withdraw(name);
      return false;
    }
    this.offer(definition);
    await this.writeCondition(definition, ESTABLISHED);
    return false;
  }

  private offer(definition: JsonObject): void {
    const name = nameOf(definition);
    const before = this.offered.get(name) ?? [];
    const next: Entry[] = [];
    for (const { info, version } of this.entriesOf(definition)) {
      // What the server itself is made of cannot be redefined, nor its stored objects claimed.
      const taken = this.catalogue
        .all()
        .some((other) => !other.custom && groupResource(other) === groupResource(info));
      if (taken) continue;
      const known = before.find((entry) => entry.info.version === info.version);
      if (known && jsonEqual(known.info as never, info as never) && sameSchema(known, definition, version)) {
        next.push(known);
        continue;
      }
      // Watches end where the shape changes. That a definition is going changes nothing of what they show.
      if (
        known &&
        !(jsonEqual(known.info as never, info as never) && sameShape(known, definition, version))
      ) {
        this.catalogue.remove(known.info);
      }
      const entry: Entry = { info, version, definition, type: undefined };
      this.entries.set(info, entry);
      next.push(entry);
      this.catalogue.add(info);
    }
    for (const { info } of before) {
      if (!next.some((entry) => entry.info.version === info.version)) this.catalogue.remove(info);
    }
    this.offered.set(name, next);
  }

  private withdraw(name: string): void {
    for (const { info } of this.offered.get(name) ?? []) this.catalogue.remove(info);
    this.offered.delete(name);
  }

  /** Deletes the objects of a definition, and lets it go when none is left. */
  private async cleanUp(stored: JsonObject): Promise<boolean> {
    const registry = this.registry;
    if (!registry) return false;
    let definition = stored;
    if (isTrue(stored, 'Established')) {
      definition = await this.writeCondition(
        stored,
        terminating('True', 'InstanceDeletionInProgress', 'CustomResource deletion is in progress'),
      );
      this.offer(definition);
      const [entry] = this.offered.get(nameOf(stored)) ?? [];
      if (entry && (await this.deleteObjects(registry, entry.info)) > 0) return true;
    }
    definition = await this.writeCondition(
      definition,
      terminating('False', 'InstanceDeletionCompleted', 'removed all instances'),
    );
    const finalizers = stringsAt(objectAt(definition, 'metadata'), 'finalizers');
    await registry.patch(this.context, this.target(nameOf(definition)), {
      type: 'merge',
      body: { metadata: { finalizers: finalizers.filter((finalizer) => finalizer !== CLEANUP_FINALIZER) } },
    });
    return false;
  }

  /** How many are left: those that finalizers hold. */
  private async deleteObjects(registry: Registry, info: ResourceInfo): Promise<number> {
    const bucket = groupResource(info);
    for (const { object } of this.store.list(bucket)) {
      const { name, namespace, deletionTimestamp } = object.metadata;
      if (deletionTimestamp !== undefined) continue;
      try {
        await registry.delete(this.context, { info, name, namespace });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    return this.store.list(bucket).length;
  }

  private async writeCondition(definition: JsonObject, condition: Condition): Promise<JsonObject> {
    const status = withCondition(objectAt(definition, 'status'), condition, timestamp(this.clock.now()));
    return status ? this.writeStatus(definition, status) : definition;
  }

  private async writeStatus(definition: JsonObject, status: JsonObject): Promise<JsonObject> {
    if (!this.registry) return definition;
    const target = { ...this.target(nameOf(definition)), subresource: 'status' };
    const body = cloneJson({ ...definition, status }) as JsonObject;
    const { object } = await this.registry.update(this.context, target, body);
    return object as unknown as JsonObject;
  }

  private target(name: string): Target {
    const { group, version, resource } = DEFINITIONS;
    const info = this.catalogue.find(group, version, resource);
    if (!info) throw new Error('definitions are not served');
    return { info, name };
  }
}

function nameOf(definition: JsonObject): string {
  return stringAt(objectAt(definition, 'metadata'), 'name');
}

/** Whether what was compiled of an entry still holds. */
function sameSchema(known: Entry, definition: JsonObject, version: JsonObject): boolean {
  const ending = isTrue(known.definition, 'Terminating') === isTrue(definition, 'Terminating');
  return ending && sameShape(known, definition, version);
}

function sameShape(known: Entry, definition: JsonObject, version: JsonObject): boolean {
  return jsonEqual(known.version, version) && jsonEqual(commonOf(known.definition), commonOf(definition));
}

/** What each version takes from the rest of its definition. */
function commonOf(definition: JsonObject): JsonObject {
  const spec = objectAt(definition, 'spec');
  const versions = Array.isArray(spec.versions) ? spec.versions : [];
  const storage = versions.map(asObject).find((version) => version?.storage === true);
  return { storage: storage?.name, preserves: spec.preserveUnknownFields };
}
