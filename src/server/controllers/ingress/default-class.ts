import { isNotFound } from '../../../api/errors.ts';
import { INGRESS_CLASS, INGRESS_CONTROLLER } from '../../../api/ingress.ts';
import { INGRESS_CLASSES } from '../../../api/kinds.ts';
import type { JsonObject } from '../../../api/object.ts';
import type { IngressClass } from '../../../api/types/networking-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';

/** The class of Ingresses that name none: every board serves them. */
export const DEFAULT_INGRESS_CLASS: JsonObject = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IngressClass',
  metadata: {
    name: INGRESS_CLASS,
    annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' },
  },
  spec: { controller: INGRESS_CONTROLLER },
};

/** What the server's first start is known by in managedFields. */
const MADE_BY = 'copepod';

/** Did the server make it itself, on its start? A class of the same name that a user applied is the user's. */
function isOurOwn({ metadata, spec }: IngressClass): boolean {
  return (
    metadata.name === INGRESS_CLASS &&
    spec?.controller === INGRESS_CONTROLLER &&
    (metadata.managedFields ?? []).some(
      ({ manager, operation }) => manager === MADE_BY && operation === 'Update',
    )
  );
}

/** With `--disable=ingress`: takes away the IngressClass that an earlier start has made, lest it claim new Ingresses. */
export function withoutIngressClass(context: ControllerContext): Controller {
  const { client, informers } = context;
  const classes = informers.of(INGRESS_CLASSES);
  return new Controller({
    name: 'ingress-class-removal',
    clock: context.clock,
    logger: context.logger,
    watches: [watch(classes, (one) => (isOurOwn(one) ? INGRESS_CLASS : undefined))],
    reconcile: async (name) => {
      const present = classes.get(undefined, name);
      if (!present || !isOurOwn(present)) return undefined;
      try {
        await client.delete(INGRESS_CLASSES, undefined, name, {
          preconditions: { uid: present.metadata.uid ?? '' },
        });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return undefined;
    },
  });
}
