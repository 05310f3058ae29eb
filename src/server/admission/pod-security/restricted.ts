// What the profile `restricted` demands besides: good practice.

import type { JsonObject } from '../../../api/object.ts';
import { listAt, objectAt, stringsAt } from '../../../api/validation.ts';
import { added, seccompBaseline, seccompOf } from './baseline.ts';
import {
  containersOf,
  named,
  nameOf,
  type PodUnderCheck,
  plural,
  quoted,
  securityOf,
  setters,
  sorted,
  type Violation,
} from './subjects.ts';

export function capabilitiesRestricted(pod: PodUnderCheck): Violation | undefined {
  const keeping = containersOf(pod)
    .filter(
      (container) => !stringsAt(objectAt(securityOf(container), 'capabilities'), 'drop').includes('ALL'),
    )
    .map(nameOf);
  const { containers, names } = added(pod, ['NET_BIND_SERVICE']);
  const details: string[] = [];
  if (keeping.length > 0) {
    details.push(`${named(keeping)} must set securityContext.capabilities.drop=["ALL"]`);
  }
  if (containers.length > 0) {
    details.push(
      `${named(containers)} must not include ${quoted(names)} in securityContext.capabilities.add`,
    );
  }
  if (details.length === 0) return undefined;
  return { reason: 'unrestricted capabilities', detail: details.join('; ') };
}

export function seccompRestricted(pod: PodUnderCheck): Violation | undefined {
  const { silent } = seccompOf(pod);
  const explicit = seccompBaseline(pod);
  if (explicit || silent.length === 0) return explicit;
  return {
    reason: 'seccompProfile',
    detail: `pod or ${named(silent)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
  };
}

export function escalation(pod: PodUnderCheck): Violation | undefined {
  const containers = containersOf(pod)
    .filter((container) => securityOf(container).allowPrivilegeEscalation !== false)
    .map(nameOf);
  if (containers.length === 0) return undefined;
  return {
    reason: 'allowPrivilegeEscalation != false',
    detail: `${named(containers)} must set securityContext.allowPrivilegeEscalation=false`,
  };
}

const PORTABLE_VOLUMES =
  'configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret'.split(' ');

export function restrictedVolumes({ spec }: PodUnderCheck): Violation | undefined {
  const kinds: string[] = [];
  const volumes = listAt(spec, 'volumes')
    .filter((volume) => {
      const sources = Object.keys(volume).filter((field) => field !== 'name');
      if (sources.some((source) => PORTABLE_VOLUMES.includes(source))) return false;
      kinds.push(sources[0] ?? 'unknown');
      return true;
    })
    .map(nameOf);
  if (volumes.length === 0) return undefined;
  const list = sorted(kinds);
  return {
    reason: 'restricted volume types',
    detail: `${plural(volumes.length, 'volume', 'volumes')} ${quoted(volumes)} ${plural(volumes.length, 'uses', 'use')} ${plural(list.length, 'restricted volume type', 'restricted volume types')} ${quoted(list)}`,
  };
}

export function runAsNonRoot(pod: PodUnderCheck): Violation | undefined {
  const reason = 'runAsNonRoot != true';
  const own = securityOf(pod.spec).runAsNonRoot;
  const containers = containersOf(pod);
  const says = (container: JsonObject): unknown => securityOf(container).runAsNonRoot;
  const subject = setters(own === false, containers.filter((one) => says(one) === false).map(nameOf));
  if (subject !== '') {
    return { reason, detail: `${subject} must not set securityContext.runAsNonRoot=false` };
  }
  const silent = own === true ? [] : containers.filter((one) => says(one) === undefined).map(nameOf);
  if (silent.length === 0) return undefined;
  return { reason, detail: `pod or ${named(silent)} must set securityContext.runAsNonRoot=true` };
}

export function runAsUser(pod: PodUnderCheck): Violation | undefined {
  const isRoot = (holder: JsonObject): boolean => securityOf(holder).runAsUser === 0;
  const subject = setters(isRoot(pod.spec), containersOf(pod).filter(isRoot).map(nameOf));
  if (subject === '') return undefined;
  return { reason: 'runAsUser=0', detail: `${subject} must not set runAsUser=0` };
}
