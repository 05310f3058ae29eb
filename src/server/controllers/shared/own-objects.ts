import { isNotFound } from '../../../api/errors.ts';
import type { KubeObject } from '../../../api/object.ts';
import type { ResourceType } from '../../../api/resource.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';

/** What the server's first start is known by in managedFields. */
const MADE_BY = 'copepod';

/** Did the server make it itself, on its start? One of the same name that a user applied is the user's. */
export const madeByServer = ({ metadata }: KubeObject): boolean =>
  (metadata.managedFields ?? []).some(
    ({ manager, operation }) => manager === MADE_BY && operation === 'Update',
  );

/** Takes away what an earlier start of the server has made of this type: what it is now told to do without. */
export function removalOf<T extends KubeObject>(
  context: ControllerContext,
  options: { name: string; type: ResourceType<T>; isOurOwn: (object: T) => boolean },
): Controller {
  const { client, informers } = context;
  const { name, type, isOurOwn } = options;
  const objects = informers.of(type);
  return new Controller({
    name,
    clock: context.clock,
    logger: context.logger,
    watches: [watch(objects, (one) => (isOurOwn(one) ? one.metadata.name : undefined))],
    reconcile: async (key) => {
      const present = objects.get(undefined, key);
      if (!present || !isOurOwn(present)) return undefined;
      try {
        await client.delete(type, undefined, key, { preconditions: { uid: present.metadata.uid ?? '' } });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return undefined;
    },
  });
}
