import type { Service } from '../../../lib/service.ts';
import type { ControllerContext } from '../context.ts';
import { ingressController } from './controller.ts';
import { withoutIngressClass } from './default-class.ts';

/** While it is disabled the addresses that were written before are still taken away. */
export function ingressControllers(context: ControllerContext): Service[] {
  return context.disabled?.has('ingress')
    ? [ingressController(context), withoutIngressClass(context)]
    : [ingressController(context)];
}
