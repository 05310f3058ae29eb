// What the server adds to the rules of CustomResourceDefinitions because it serves them.
import type { JsonObject } from '../../../api/object.ts';
import { listAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';
import { timestamp } from '../../../lib/clock.ts';
import type { Strategy } from '../strategy.ts';
import { CLEANUP_FINALIZER, terminating, withCondition } from './conditions.ts';

/** `problems`: patterns and rules that do not compile. */
export function definitionStrategy(
  base: Strategy,
  problems: (definition: JsonObject) => ReturnType<NonNullable<Strategy['validate']>>,
): Strategy {
  return {
    ...base,
    anyFinalizer: true,
    prepareForCreate: (object, now) => {
      base.prepareForCreate?.(object, now);
      const storage = listAt(objectAt(object, 'spec'), 'versions').find(
        (version) => version.storage === true,
      );
      object.status = {
        conditions: null,
        acceptedNames: { plural: '', kind: '' },
        storedVersions: storage ? [stringAt(storage, 'name')] : [],
      };
    },
    // The cleanup of its objects holds a definition that is deleted.
    prepareForDelete: (object, now) => {
      const metadata = objectAt(object, 'metadata');
      const finalizers = stringsAt(metadata, 'finalizers');
      if (!finalizers.includes(CLEANUP_FINALIZER)) metadata.finalizers = [...finalizers, CLEANUP_FINALIZER];
      const condition = terminating(
        'True',
        'InstanceDeletionPending',
        'CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon',
      );
      const status = objectAt(object, 'status');
      object.status = withCondition(status, condition, timestamp(now)) ?? status;
    },
    validate: (object) => {
      const errors = base.validate?.(object) ?? [];
      // Where the form is wrong already, there is nothing more to say.
      const told = new Set(errors.map(({ field }) => field));
      return [...errors, ...problems(object).filter(({ field }) => !told.has(field))];
    },
    // Accepted names decide who may have them after a crash.
    isDecision: () => true,
  };
}
