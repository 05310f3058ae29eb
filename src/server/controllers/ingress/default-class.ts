import { INGRESS_CLASS, INGRESS_CONTROLLER } from '../../../api/ingress.ts';
import { INGRESS_CLASSES } from '../../../api/kinds.ts';
import type { JsonObject } from '../../../api/object.ts';
import type { IngressClass } from '../../../api/types/networking-v1.ts';
import type { Controller } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';
import { madeByServer, removalOf } from '../shared/own-objects.ts';

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

/** A class of the same name that a user applied is the user's. */
const isOurOwn = (found: IngressClass): boolean =>
  found.metadata.name === INGRESS_CLASS &&
  found.spec?.controller === INGRESS_CONTROLLER &&
  madeByServer(found);

/** With `--disable=ingress`: takes away the IngressClass that an earlier start has made, lest it claim new Ingresses. */
export const withoutIngressClass = (context: ControllerContext): Controller =>
  removalOf(context, { name: 'ingress-class-removal', type: INGRESS_CLASSES, isOurOwn });
