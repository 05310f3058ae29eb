// Server-side apply as a verb: of an object that is there, or is made by it.
import type { Catalogue } from '../../api/catalogue.ts';
import { badRequest, conflict, isAlreadyExists } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { Patch } from '../../client/port.ts';
import type { Clock } from '../../lib/clock.ts';
import { decodePatched } from './decoding.ts';
import { checkIdentity } from './identity-checks.ts';
import type { Endpoint, Ownership } from './ownership.ts';
import { mapOf } from './patching.ts';
import type { WritePipeline } from './pipeline.ts';
import type { RequestContext, Target, WriteOptions, WriteResult } from './port.ts';
import { applyDefaults } from './served.ts';

type ApplyPatch = Extract<Patch, { type: 'apply' }>;

/** Created by one, deleted by another, again and again: after so many rounds the client may try itself. */
const MOST_ROUNDS = 10;

export class Applier {
  private readonly catalogue: Catalogue;
  private readonly pipeline: WritePipeline;
  private readonly ownership: Ownership;
  private readonly clock: Clock;

  constructor(options: {
    catalogue: Catalogue;
    pipeline: WritePipeline;
    ownership: Ownership;
    clock: Clock;
  }) {
    this.catalogue = options.catalogue;
    this.pipeline = options.pipeline;
    this.ownership = options.ownership;
    this.clock = options.clock;
  }

  /** Undefined when there is no object and its subresource cannot make one. */
  async apply(
    context: RequestContext,
    target: Target,
    endpoint: Endpoint,
    patch: ApplyPatch,
    options: WriteOptions,
  ): Promise<WriteResult | undefined> {
    const config = mapOf(patch.body);
    const { served, projection } = endpoint;
    const act = (stored: JsonObject | undefined) => {
      const actor = {
        manager: patch.fieldManager,
        force: patch.force === true,
        now: this.clock.now(),
      };
      const { object, owners } = this.ownership.apply(endpoint, stored, config, actor);
      reportDuplicates(options, context);
      return { object: this.decode(context, target, endpoint, object, stored !== undefined), owners };
    };
    for (let round = 1; ; round += 1) {
      const changed = await this.pipeline.change(
        context,
        target,
        served,
        projection,
        (_view, stored) => {
          const { object, owners } = act(stored);
          return { object, owners: () => owners };
        },
        options,
      );
      if (changed || target.subresource !== undefined) return changed;
      const { object, owners } = act(undefined);
      checkNew(target, objectAt(object, 'metadata'));
      context.demandCreate?.();
      try {
        const created = await this.pipeline.create(context, target, served, object, owners, options);
        return { object: created, created: true };
      } catch (error) {
        if (!isAlreadyExists(error) || round >= MOST_ROUNDS) throw error;
      }
    }
  }

  private decode(
    context: RequestContext,
    target: Target,
    { served, projection }: Endpoint,
    object: JsonObject,
    nameMayBeAbsent: boolean,
  ): JsonObject {
    const merged = { ...object, metadata: { ...objectAt(object, 'metadata') } };
    checkIdentity(target, merged.metadata, nameMayBeAbsent);
    // The schema has been checked, strictly, before the merge.
    const decoded = decodePatched(
      this.catalogue,
      projection.as,
      merged,
      { fieldValidation: 'Ignore' },
      context,
    );
    if (projection.as.kind === served.info.kind) applyDefaults(served, decoded);
    return decoded;
  }
}

function checkNew(target: Target, metadata: JsonObject): void {
  const uid = stringAt(metadata, 'uid');
  if (uid === '') return;
  throw conflict(
    target.info,
    target.name ?? '',
    `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
  );
}

/** Fields that stand twice in the configuration. */
function reportDuplicates(
  { duplicateFields = [], fieldValidation }: WriteOptions,
  context: RequestContext,
): void {
  if (duplicateFields.length === 0 || fieldValidation === 'Ignore') return;
  const lines = duplicateFields.map((path) => {
    const name = path.split('.').pop() ?? path;
    return `  key ${JSON.stringify(name)} already set in map`;
  });
  const text = `error converting YAML to JSON: yaml: unmarshal errors:\n${lines.join('\n')}`;
  if (fieldValidation === 'Strict') throw badRequest(`error strict decoding YAML: ${text}`);
  context.warn(text.replaceAll('\n', ' '));
}
