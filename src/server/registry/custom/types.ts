// What the registry asks of the part that serves custom resources. Light: the rest is loaded with the first definition.
import type { ResourceInfo } from '../../../api/catalogue.ts';
import type { JsonObject, KubeObject } from '../../../api/object.ts';
import type { StructNode } from '../../../api/schema.ts';
import type { Decoded } from '../../../api/schema-decode.ts';
import type { Conversion } from '../conversion.ts';
import type { Strategy } from '../strategy.ts';

/** One served version of a CustomResourceDefinition, compiled. */
export interface CustomType {
  /** For patches and server-side apply; objects are decoded by `decode`. */
  readonly struct: StructNode;
  readonly strategy: Strategy;
  readonly conversion: Conversion;
  readonly scale: ScalePaths | undefined;
  readonly columns: readonly CustomColumn[];
  /** Prunes and defaults a private copy of what a client sent. Throws DecodeError. */
  decode(value: JsonObject, duplicateFields: readonly string[] | undefined): Decoded;
  cells(object: KubeObject, now: number): (string | number | boolean | null)[];
  /** The schema as OpenAPI publishes it. */
  openApi(): JsonObject;
}

export interface ScalePaths {
  readonly specReplicas: readonly string[];
  readonly statusReplicas: readonly string[];
  readonly labelSelector: readonly string[] | undefined;
}

export interface CustomColumn {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description?: string;
  readonly priority?: number;
}

export interface CustomTypes {
  /** Of an entry of the catalogue that is `custom`. */
  of(info: ResourceInfo): CustomType | undefined;
}
