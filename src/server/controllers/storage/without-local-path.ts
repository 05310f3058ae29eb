import { isNotFound } from '../../../api/errors.ts';
import { STORAGE_CLASSES } from '../../../api/kinds.ts';
import { LOCAL_PATH_CLASS, LOCAL_PATH_PROVISIONER } from '../../../api/local-path.ts';
import type { StorageClass } from '../../../api/types/storage-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';

/** What the server's first start is known by in managedFields. */
const MADE_BY = 'copepod';

/** Did the server make it itself, on its start? A class of the same name that a user applied is the user's. */
export function isOurOwn({ metadata, provisioner }: StorageClass): boolean {
  return (
    metadata.name === LOCAL_PATH_CLASS &&
    provisioner === LOCAL_PATH_PROVISIONER &&
    (metadata.managedFields ?? []).some(
      ({ manager, operation }) => manager === MADE_BY && operation === 'Update',
    )
  );
}

/** With `--disable=local-storage`: takes away the StorageClass that an earlier start has made. */
export function withoutLocalPath(context: ControllerContext): Controller {
  const { client, informers } = context;
  const classes = informers.of(STORAGE_CLASSES);
  return new Controller({
    name: 'local-storage-removal',
    clock: context.clock,
    logger: context.logger,
    watches: [watch(classes, (one) => (isOurOwn(one) ? LOCAL_PATH_CLASS : undefined))],
    reconcile: async (name) => {
      const present = classes.get(undefined, name);
      if (!present || !isOurOwn(present)) return undefined;
      try {
        await client.delete(STORAGE_CLASSES, undefined, name, {
          preconditions: { uid: present.metadata.uid ?? '' },
        });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return undefined;
    },
  });
}
