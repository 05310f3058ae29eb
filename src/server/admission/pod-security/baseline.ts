// The rules of the profile `baseline`: what lets a pod out of its bounds.
import type { JsonObject } from '../../../api/object.ts';
import { listAt, numberAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';
import {
  containersOf,
  named,
  nameOf,
  type PodUnderCheck,
  plural,
  quoted,
  type Rule,
  securityOf,
  setters,
  sorted,
  type Violation,
} from './subjects.ts';

const APP_ARMOR_ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';
const PROFILES = ['RuntimeDefault', 'Localhost'];

export function appArmor(pod: PodUnderCheck): Violation | undefined {
  const values: string[] = [];
  const isBad = (holder: JsonObject): boolean => {
    const profile = securityOf(holder).appArmorProfile as JsonObject | undefined;
    const bad = profile !== undefined && !PROFILES.includes(stringAt(profile, 'type'));
    if (bad) values.push(stringAt(profile, 'type'));
    return bad;
  };
  const podIsBad = isBad(pod.spec);
  const containers = containersOf(pod).filter(isBad).map(nameOf);
  const annotations = Object.entries(objectAt(pod.metadata, 'annotations'))
    .filter(([key, value]) => {
      const text = String(value);
      const good = text === '' || text === 'runtime/default' || text.startsWith('localhost/');
      return key.startsWith(APP_ARMOR_ANNOTATION) && !good;
    })
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort();
  const subjects = [
    setters(podIsBad, containers),
    annotations.length > 0 ? plural(annotations.length, 'annotation', 'annotations') : '',
  ].filter((text) => text !== '');
  if (subjects.length === 0) return undefined;
  const all = [...sorted(values), ...annotations];
  return {
    reason: plural(all.length, 'forbidden AppArmor profile', 'forbidden AppArmor profiles'),
    detail: `${subjects.join(' and ')} must not set AppArmor profile type to ${quoted(all)}`,
  };
}

const DEFAULT_CAPABILITIES =
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT'.split(
    ' ',
  );

/** Containers that add capabilities beyond `allowed`, and those capabilities. */
export function added(
  pod: PodUnderCheck,
  allowed: readonly string[],
): { containers: string[]; names: string[] } {
  const names: string[] = [];
  const containers = containersOf(pod)
    .filter((container) => {
      const bad = stringsAt(objectAt(securityOf(container), 'capabilities'), 'add').filter(
        (name) => !allowed.includes(name),
      );
      names.push(...bad);
      return bad.length > 0;
    })
    .map(nameOf);
  return { containers, names: sorted(names) };
}

export function capabilitiesBaseline(pod: PodUnderCheck): Violation | undefined {
  const { containers, names } = added(pod, DEFAULT_CAPABILITIES);
  if (containers.length === 0) return undefined;
  return {
    reason: 'non-default capabilities',
    detail: `${named(containers)} must not include ${quoted(names)} in securityContext.capabilities.add`,
  };
}

export function hostNamespaces({ spec }: PodUnderCheck): Violation | undefined {
  const shared = ['hostNetwork', 'hostPID', 'hostIPC'].filter((field) => spec[field] === true);
  if (shared.length === 0) return undefined;
  return { reason: 'host namespaces', detail: shared.map((field) => `${field}=true`).join(', ') };
}

export function hostPathVolumes({ spec }: PodUnderCheck): Violation | undefined {
  const volumes = listAt(spec, 'volumes')
    .filter(({ hostPath }) => hostPath !== undefined)
    .map(nameOf);
  if (volumes.length === 0) return undefined;
  return {
    reason: 'hostPath volumes',
    detail: `${plural(volumes.length, 'volume', 'volumes')} ${quoted(volumes)}`,
  };
}

export function hostPorts(pod: PodUnderCheck): Violation | undefined {
  const ports: string[] = [];
  const containers = containersOf(pod)
    .filter((container) => {
      const own = listAt(container, 'ports').filter((port) => (numberAt(port, 'hostPort') ?? 0) !== 0);
      ports.push(...own.map((port) => String(port.hostPort)));
      return own.length > 0;
    })
    .map(nameOf);
  if (containers.length === 0) return undefined;
  const list = sorted(ports);
  return {
    reason: 'hostPort',
    detail: `${named(containers)} ${plural(containers.length, 'uses', 'use')} ${plural(list.length, 'hostPort', 'hostPorts')} ${list.join(', ')}`,
  };
}

export function probeHosts(pod: PodUnderCheck): Violation | undefined {
  const hosts: string[] = [];
  const bad = containersOf(pod)
    .filter((container) => {
      const lifecycle = objectAt(container, 'lifecycle');
      const handlers = [
        ...['livenessProbe', 'readinessProbe', 'startupProbe'].map((field) => objectAt(container, field)),
        ...['postStart', 'preStop'].map((field) => objectAt(lifecycle, field)),
      ];
      const own = handlers
        .flatMap((handler) => ['httpGet', 'tcpSocket'].map((kind) => objectAt(handler, kind)))
        .map((action) => stringAt(action, 'host'))
        .filter((host) => host !== '');
      hosts.push(...own);
      return own.length > 0;
    })
    .map(nameOf);
  const containers = sorted(bad);
  if (containers.length === 0) return undefined;
  const list = sorted(hosts);
  return {
    reason: 'probe or lifecycle host',
    detail: `${named(containers)} ${plural(containers.length, 'uses', 'use')} ${plural(list.length, 'probe or lifecycle host', 'probe or lifecycle hosts')} ${quoted(list)}`,
  };
}

export function privileged(pod: PodUnderCheck): Violation | undefined {
  const containers = containersOf(pod)
    .filter((container) => securityOf(container).privileged === true)
    .map(nameOf);
  if (containers.length === 0) return undefined;
  return {
    reason: 'privileged',
    detail: `${named(containers)} must not set securityContext.privileged=true`,
  };
}

export function procMount(pod: PodUnderCheck): Violation | undefined {
  const bad = containersOf(pod).filter((container) => {
    const given = securityOf(container).procMount;
    return given !== undefined && given !== 'Default';
  });
  if (bad.length === 0) return undefined;
  const kinds = sorted(bad.map((container) => stringAt(securityOf(container), 'procMount')));
  return {
    reason: 'procMount',
    detail: `${named(bad.map(nameOf))} must not set securityContext.procMount to ${quoted(kinds)}`,
  };
}

export function seLinux(types: readonly string[]): Rule {
  return (pod) => {
    const badTypes: string[] = [];
    let user = false;
    let role = false;
    const isBad = (holder: JsonObject): boolean => {
      const options = objectAt(securityOf(holder), 'seLinuxOptions');
      const type = stringAt(options, 'type');
      const badType = type !== '' && !types.includes(type);
      if (badType) badTypes.push(type);
      const setsUser = stringAt(options, 'user') !== '';
      const setsRole = stringAt(options, 'role') !== '';
      user ||= setsUser;
      role ||= setsRole;
      return badType || setsUser || setsRole;
    };
    const podIsBad = isBad(pod.spec);
    const subject = setters(podIsBad, containersOf(pod).filter(isBad).map(nameOf));
    if (subject === '') return undefined;
    const list = sorted(badTypes);
    const what = [
      ...(list.length > 0 ? [`${plural(list.length, 'type', 'types')} ${quoted(list)}`] : []),
      ...(user ? ['user may not be set'] : []),
      ...(role ? ['role may not be set'] : []),
    ];
    return {
      reason: 'seLinuxOptions',
      detail: `${subject} set forbidden securityContext.seLinuxOptions: ${what.join('; ')}`,
    };
  };
}

export const SE_LINUX_TYPES = ['container_t', 'container_init_t', 'container_kvm_t'];
const SECCOMP_POD = 'seccomp.security.alpha.kubernetes.io/pod';
const SECCOMP_CONTAINER = 'container.seccomp.security.alpha.kubernetes.io/';

/** Before there was a field for it. */
export function seccompAnnotations(pod: PodUnderCheck): Violation | undefined {
  const annotations = objectAt(pod.metadata, 'annotations');
  const keys = [
    SECCOMP_POD,
    ...containersOf(pod).map((container) => `${SECCOMP_CONTAINER}${nameOf(container)}`),
  ];
  const bad = sorted(
    keys
      .filter((key) => {
        const value = annotations[key];
        if (value === undefined) return false;
        const text = String(value);
        return text !== 'runtime/default' && text !== 'docker/default' && !text.startsWith('localhost/');
      })
      .map((key) => `${key}=${JSON.stringify(annotations[key])}`),
  );
  if (bad.length === 0) return undefined;
  return {
    reason: 'seccompProfile',
    detail: `forbidden ${plural(bad.length, 'annotation', 'annotations')} ${bad.join(', ')}`,
  };
}

interface Seccomp {
  subject: string;
  values: string[];
  /** Containers for which neither they nor the pod say anything. */
  silent: string[];
}

export function seccompOf(pod: PodUnderCheck): Seccomp {
  const values: string[] = [];
  const profileOf = (holder: JsonObject): string | undefined => {
    const profile = securityOf(holder).seccompProfile as JsonObject | undefined;
    return profile === undefined ? undefined : stringAt(profile, 'type');
  };
  const isBad = (type: string | undefined): boolean => {
    const bad = type !== undefined && !PROFILES.includes(type);
    if (bad) values.push(type);
    return bad;
  };
  const own = profileOf(pod.spec);
  const podIsBad = isBad(own);
  const podIsGood = own !== undefined && !podIsBad;
  const containers = containersOf(pod);
  const bad = containers.filter((container) => isBad(profileOf(container))).map(nameOf);
  const silent = podIsGood
    ? []
    : containers.filter((container) => profileOf(container) === undefined).map(nameOf);
  return { subject: setters(podIsBad, bad), values: sorted(values), silent };
}

export function seccompBaseline(pod: PodUnderCheck): Violation | undefined {
  const { subject, values } = seccompOf(pod);
  if (subject === '') return undefined;
  return {
    reason: 'seccompProfile',
    detail: `${subject} must not set securityContext.seccompProfile.type to ${quoted(values)}`,
  };
}

export function sysctls(allowed: readonly string[]): Rule {
  return ({ spec }) => {
    const bad = listAt(securityOf(spec), 'sysctls')
      .map(nameOf)
      .filter((name) => !allowed.includes(name));
    return bad.length === 0 ? undefined : { reason: 'forbidden sysctls', detail: bad.join(', ') };
  };
}

export const SYSCTLS_1_0 = [
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
];
export const SYSCTLS_1_27 = [...SYSCTLS_1_0, 'net.ipv4.ip_local_reserved_ports'];
export const SYSCTLS_1_29 = [
  ...SYSCTLS_1_27,
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
];
export const SYSCTLS_1_32 = [...SYSCTLS_1_29, 'net.ipv4.tcp_rmem', 'net.ipv4.tcp_wmem'];

export function windowsHostProcess(pod: PodUnderCheck): Violation | undefined {
  const isBad = (holder: JsonObject): boolean =>
    objectAt(securityOf(holder), 'windowsOptions').hostProcess === true;
  const subject = setters(isBad(pod.spec), containersOf(pod).filter(isBad).map(nameOf));
  if (subject === '') return undefined;
  return {
    reason: 'hostProcess',
    detail: `${subject} must not set securityContext.windowsOptions.hostProcess=true`,
  };
}
