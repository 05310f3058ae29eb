// The plugins in Kubernetes' order.
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { Store } from '../store/port.ts';
import { certificateRequester } from './certificate-requests.ts';
import { claimResize } from './claim-resize.ts';
import { defaultIngressClass, defaultStorageClass } from './default-classes.ts';
import { limitRanger } from './limit-ranger.ts';
import { namespaceLifecycle } from './namespaces.ts';
import { defaultTolerationSeconds, priority, runtimeClass, taintNewNodes } from './pod-scheduling.ts';
import { podSecurity } from './pod-security/plugin.ts';
import type { AdmissionPlugin } from './port.ts';
import { storageProtection } from './protection.ts';
import { resourceQuota } from './resource-quota.ts';
import { serviceAccount } from './service-account.ts';
import { tolerationRestriction } from './toleration-restriction.ts';

/** Plugins that are off unless asked for (--enable-admission-plugins). */
export const OPTIONAL_PLUGINS = ['PodTolerationRestriction'] as const;
export type OptionalPlugin = (typeof OPTIONAL_PLUGINS)[number];

/**
 * `before` run after NamespaceLifecycle and ServiceAccount (NodeRestriction); `after` run last but for quota.
 * ServiceAccount, Priority and the others see an object with its defaults.
 */
export function admissionPlugins(options: {
  store: Store;
  random: Random;
  clock: Clock;
  enabled?: readonly OptionalPlugin[];
  before?: readonly AdmissionPlugin[];
  after?: readonly AdmissionPlugin[];
}): AdmissionPlugin[] {
  const { store, random, clock, enabled = [], before = [], after = [] } = options;
  return [
    namespaceLifecycle(store),
    limitRanger(store),
    serviceAccount({ store, random }),
    ...before,
    taintNewNodes(),
    podSecurity(store),
    priority(store),
    defaultTolerationSeconds(),
    ...(enabled.includes('PodTolerationRestriction') ? [tolerationRestriction(store)] : []),
    defaultStorageClass(store),
    storageProtection(),
    runtimeClass(store),
    defaultIngressClass(store),
    certificateRequester(),
    claimResize(store),
    ...after,
    resourceQuota({ store, clock }),
  ];
}
