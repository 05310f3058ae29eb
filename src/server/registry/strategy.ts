import type { FieldError } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';

/**
 * What is peculiar to one resource type; everything uniform is in the schemas and the pipeline (pipeline.ts fixes the
 * order). All functions are pure but for the object they may change, which is a private copy. `object` is plain JSON of
 * which the schema has already checked the types.
 */
export interface Strategy {
  /** Sets defaults that the schema cannot express (SetDefaults_* of Kubernetes). Also run on what is read from a patch. */
  applyDefaults?(object: JsonObject): void;
  /** Before a create: drop what a user may not set (status), set what the server owns. metadata is done by the pipeline. */
  prepareForCreate?(object: JsonObject, now: number): void;
  /** Before an update of the main resource: status is already carried over; e.g. ignore fields that are the server's. */
  prepareForUpdate?(object: JsonObject, old: JsonObject, now: number): void;
  /** Before an update of the status subresource: spec and metadata are already carried over. */
  prepareForStatusUpdate?(object: JsonObject, old: JsonObject, now: number): void;
  /** A delete of an object that lives: may add finalizers, or say in the status what comes. */
  prepareForDelete?(object: JsonObject, now: number): void;
  /** Every violated rule, in Kubernetes' order and wording. `apiVersion`: that of the request. */
  validate?(object: JsonObject, apiVersion?: string): FieldError[];
  /** Rules that hold for an object when it is made, after those of `validate`. */
  validateCreate?(object: JsonObject, apiVersion?: string): FieldError[];
  /**
   * Rules about the change (immutable fields). The pipeline runs `validate` on the new object first; `validatesUpdates`
   * false says that validateUpdate covers it (pods, whose stored fields need not satisfy today's rules).
   */
  readonly validatesUpdates?: boolean;
  validateUpdate?(object: JsonObject, old: JsonObject, apiVersion?: string): FieldError[];
  validateStatusUpdate?(object: JsonObject, old: JsonObject): FieldError[];
  /** A status write leaves metadata alone; for most kinds labels and annotations may be written along with it. */
  readonly statusKeepsMetadata?: boolean;
  /** Deprecation and pitfall warnings for the Warning header. */
  warnings?(object: JsonObject, old: JsonObject | undefined): string[];
  /** For field selectors of custom conversions, whose error is worded differently. */
  readonly fieldLabelError?: (field: string) => string;
  /** Warned about with every request for the type. */
  readonly deprecation?: string;
  /** Fields that a field selector may name besides metadata.name and metadata.namespace, with their values. */
  readonly selectableFields?: Readonly<Record<string, (object: JsonObject) => string>>;
  /** By version that calls them otherwise: the fields that can be selected there, and which of these each one is. */
  readonly fieldNames?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Table cells of a row, in the order of data/table-columns.json; absent: name and age (and what the columns say). */
  cells?(object: JsonObject, now: number): (string | number | boolean | null)[];
  /** PUT creates when the object does not exist (leases, endpoints, …). */
  readonly allowCreateOnUpdate?: boolean;
  /** A PUT must carry metadata.resourceVersion. */
  readonly requireResourceVersionOnUpdate?: boolean;
  /** metadata.generation is kept (1 on create, +1 when the spec changes). */
  readonly hasGeneration?: boolean;
  /** Finalizers need no path: kinds that Kubernetes' core does not define. */
  readonly anyFinalizer?: boolean;
  /** How names are checked: default is a DNS subdomain. */
  readonly nameRule?: 'dns-subdomain' | 'dns-label' | 'dns-1035-label' | 'path-segment';
  /**
   * Grace period in seconds for a delete that asked for `requested` (or nothing); absent or undefined: deleted at once.
   * Pods only, in Kubernetes.
   */
  gracePeriod?(object: JsonObject, requested: number | undefined): number | undefined;
  /** A DELETE answers with the last state of the object instead of a Status. */
  readonly returnsDeleted?: boolean;
  /** Durability of a write of the main resource (default durable). Status writes are coalesced, but for isDecision. */
  readonly durability?: 'durable' | 'coalesced' | 'volatile';
  /**
   * Does this change of the status record what can be found nowhere else, once its controller has acted on it (a run that
   * was started, a pod that was counted and let go)? Then it is durable: a crash must not make it happen again.
   */
  isDecision?(object: JsonObject, old: JsonObject): boolean;
}
