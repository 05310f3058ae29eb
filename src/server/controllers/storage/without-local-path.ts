import { STORAGE_CLASSES } from '../../../api/kinds.ts';
import { LOCAL_PATH_CLASS, LOCAL_PATH_PROVISIONER } from '../../../api/local-path.ts';
import type { StorageClass } from '../../../api/types/storage-v1.ts';
import type { Controller } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';
import { madeByServer, removalOf } from '../shared/own-objects.ts';

/** A class of the same name that a user applied is the user's. */
export const isOurOwn = (found: StorageClass): boolean =>
  found.metadata.name === LOCAL_PATH_CLASS &&
  found.provisioner === LOCAL_PATH_PROVISIONER &&
  madeByServer(found);

/** With `--disable=local-storage`: takes away the StorageClass that an earlier start has made. */
export const withoutLocalPath = (context: ControllerContext): Controller =>
  removalOf(context, { name: 'local-storage-removal', type: STORAGE_CLASSES, isOurOwn });
