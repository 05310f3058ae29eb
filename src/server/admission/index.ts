// The plugins in Kubernetes' order.
import type { Random } from '../../lib/random.ts';
import type { Store } from '../store/port.ts';
import { certificateRequester } from './certificate-requests.ts';
import { defaultIngressClass, defaultStorageClass } from './default-classes.ts';
import { namespaceLifecycle } from './namespaces.ts';
import { defaultTolerationSeconds, priority, runtimeClass, taintNewNodes } from './pod-scheduling.ts';
import type { AdmissionPlugin } from './port.ts';
import { storageProtection } from './protection.ts';
import { serviceAccount } from './service-account.ts';

/**
 * `before` run after NamespaceLifecycle and ServiceAccount (NodeRestriction); `after` run last (quota).
 * ServiceAccount, Priority and the others see an object with its defaults.
 */
export function admissionPlugins(options: {
  store: Store;
  random: Random;
  before?: readonly AdmissionPlugin[];
  after?: readonly AdmissionPlugin[];
}): AdmissionPlugin[] {
  const { store, random, before = [], after = [] } = options;
  return [
    namespaceLifecycle(store),
    serviceAccount({ store, random }),
    ...before,
    taintNewNodes(),
    priority(store),
    defaultTolerationSeconds(),
    defaultStorageClass(store),
    storageProtection(),
    runtimeClass(store),
    defaultIngressClass(store),
    certificateRequester(),
    ...after,
  ];
}
