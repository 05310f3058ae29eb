// Everything the pipeline needs to know of one served resource, put together once and found by its catalogue entry.
import type { Catalogue, ResourceInfo } from '../../api/catalogue.ts';
import { notFound } from '../../api/errors.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import { apiVersionOf, groupResource } from '../../api/resource.ts';
import type { Schemas, StructNode } from '../../api/schema.ts';
import { type Conversion, conversionOf } from './conversion.ts';
import type { CustomType, CustomTypes } from './custom/types.ts';
import type { Strategy } from './strategy.ts';

export interface Served {
  readonly info: ResourceInfo;
  readonly apiVersion: string;
  readonly struct: StructNode;
  /** Where it is stored; several versions of a resource share one bucket. */
  readonly bucket: string;
  /** The strategy of the storage version, which all rules run on. */
  readonly strategy: Strategy;
  /** Between this version and the stored one; undefined when this one is stored. */
  readonly conversion: Conversion | undefined;
  /** The catalogue entry whose shape is stored. */
  readonly stored: ResourceInfo;
  /** Of a resource that a CustomResourceDefinition defines. */
  readonly custom: CustomType | undefined;
}

export type Strategies = ReadonlyMap<string, Strategy>;

const NO_STRATEGY: Strategy = {};

export class ServedResources {
  private readonly catalogue: Catalogue;
  private readonly schemas: Schemas;
  private readonly strategies: Strategies;
  private readonly customs: CustomTypes;
  /** Entries of definitions come and go. */
  private readonly known = new WeakMap<ResourceInfo, Served>();

  constructor(options: {
    catalogue: Catalogue;
    schemas: Schemas;
    strategies: Strategies;
    customs: CustomTypes;
  }) {
    this.catalogue = options.catalogue;
    this.schemas = options.schemas;
    this.strategies = options.strategies;
    this.customs = options.customs;
  }

  of(info: ResourceInfo): Served {
    const ready = this.known.get(info);
    if (ready) return ready;
    const served = info.custom ? this.custom(info) : this.builtIn(info);
    this.known.set(info, served);
    return served;
  }

  private custom(info: ResourceInfo): Served {
    const custom = this.customs.of(info);
    // Its definition went while the request was on its way.
    if (!custom) throw notFound(info, '');
    const { strategy, conversion } = custom;
    return {
      info,
      apiVersion: apiVersionOf(info),
      get struct() {
        return custom.struct;
      },
      bucket: groupResource(info),
      strategy,
      conversion,
      stored: info,
      custom,
    };
  }

  private builtIn(info: ResourceInfo): Served {
    const conversion = conversionOf(info);
    const stored = conversion
      ? (this.catalogue.find(
          conversion.storage.group,
          conversion.storage.version,
          conversion.storage.resource,
        ) ?? info)
      : info;
    if (info.schema === undefined) throw new Error(`no schema for ${groupResource(info)}`);
    return {
      info,
      apiVersion: apiVersionOf(info),
      struct: this.schemas.struct(info.schema),
      bucket: groupResource(stored),
      strategy: this.strategies.get(groupResource(stored)) ?? NO_STRATEGY,
      conversion,
      stored,
      custom: undefined,
    };
  }

  find(group: string, version: string, resource: string): Served | undefined {
    const info = this.catalogue.find(group, version, resource);
    return info && this.of(info);
  }
}

/** The stored object in the version that was asked for. */
export function toVersion(served: Served, object: KubeObject): KubeObject {
  return served.conversion ? served.conversion.fromStorage(object) : object;
}

/** Has the status an endpoint of its own, so that the object's own endpoint does not write it? */
export function statusIsApart({ stored, strategy }: Served): boolean {
  return (
    stored.subresources.some(({ name }) => name === 'status') || strategy.prepareForStatusUpdate !== undefined
  );
}

/** The strategy's defaults are those of the stored version; a converted version gets them after conversion. */
export function applyDefaults(served: Served, object: JsonObject): void {
  const { strategy, conversion } = served;
  if (!strategy.applyDefaults) return;
  if (!conversion) {
    strategy.applyDefaults(object);
    return;
  }
  const stored = conversion.toStorage(object);
  strategy.applyDefaults(stored);
  const back = conversion.fromStorage(stored as unknown as KubeObject) as unknown as JsonObject;
  for (const key of Object.keys(object)) delete object[key];
  Object.assign(object, back);
}
