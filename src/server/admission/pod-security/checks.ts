// The Pod Security Standards, one entry a rule, in the order in which Kubernetes reports them: the profile `baseline`
// first, what `restricted` adds after it, each sorted by name. Pure.
import type { JsonObject } from '../../../api/object.ts';
import { listAt, numberAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';

export interface PodUnderCheck {
  metadata: JsonObject;
  spec: JsonObject;
}

export interface Violation {
  /** In a few words: `host namespaces`. */
  reason: string;
  /** What exactly, or nothing. */
  detail: string;
}

type Rule = (pod: PodUnderCheck) => Violation | undefined;

/** A rule as it is since a policy version (v1.<minor>). */
interface Revision {
  since: number;
  rule: Rule;
}

export interface Check {
  id: string;
  level: 'baseline' | 'restricted';
  /** Oldest first. */
  revisions: readonly Revision[];
  /** The baseline check that a restricted one stands in for. */
  replaces?: string;
}

const quoted = (values: Iterable<string>): string =>
  [...values].map((value) => JSON.stringify(value)).join(', ');
const sorted = (values: Iterable<string>): string[] => [...new Set(values)].sort();
const plural = (count: number, one: string, many: string): string => (count === 1 ? one : many);
const named = (containers: readonly string[]): string =>
  `${plural(containers.length, 'container', 'containers')} ${quoted(containers)}`;

/** In the order in which they start. */
function containersOf({ spec }: PodUnderCheck): JsonObject[] {
  return [
    ...listAt(spec, 'initContainers'),
    ...listAt(spec, 'containers'),
    ...listAt(spec, 'ephemeralContainers'),
  ];
}

const securityOf = (holder: JsonObject): JsonObject => objectAt(holder, 'securityContext');
const nameOf = (container: JsonObject): string => stringAt(container, 'name');
const isWindows = ({ spec }: PodUnderCheck): boolean => objectAt(spec, 'os').name === 'windows';
/** Root in a user namespace of its own is nobody outside of it. */
const hasUserNamespace = ({ spec }: PodUnderCheck): boolean => spec.hostUsers === false;

const unlessWindows =
  (rule: Rule): Rule =>
  (pod) =>
    isWindows(pod) ? undefined : rule(pod);
const unlessUserNamespace =
  (rule: Rule): Rule =>
  (pod) =>
    hasUserNamespace(pod) ? undefined : rule(pod);

/** The pod itself and its containers as the subject of a sentence: `pod and containers "a", "b"`. */
function setters(pod: boolean, containers: readonly string[]): string {
  return [...(pod ? ['pod'] : []), ...(containers.length > 0 ? [named(containers)] : [])].join(' and ');
}

const APP_ARMOR_ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';
const PROFILES = ['RuntimeDefault', 'Localhost'];

function appArmor(pod: PodUnderCheck): Violation | undefined {
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
function added(pod: PodUnderCheck, allowed: readonly string[]): { containers: string[]; names: string[] } {
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

function capabilitiesBaseline(pod: PodUnderCheck): Violation | undefined {
  const { containers, names } = added(pod, DEFAULT_CAPABILITIES);
  if (containers.length === 0) return undefined;
  return {
    reason: 'non-default capabilities',
    detail: `${named(containers)} must not include ${quoted(names)} in securityContext.capabilities.add`,
  };
}

function capabilitiesRestricted(pod: PodUnderCheck): Violation | undefined {
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

function hostNamespaces({ spec }: PodUnderCheck): Violation | undefined {
  const shared = ['hostNetwork', 'hostPID', 'hostIPC'].filter((field) => spec[field] === true);
  if (shared.length === 0) return undefined;
  return { reason: 'host namespaces', detail: shared.map((field) => `${field}=true`).join(', ') };
}

function hostPathVolumes({ spec }: PodUnderCheck): Violation | undefined {
  const volumes = listAt(spec, 'volumes')
    .filter(({ hostPath }) => hostPath !== undefined)
    .map(nameOf);
  if (volumes.length === 0) return undefined;
  return {
    reason: 'hostPath volumes',
    detail: `${plural(volumes.length, 'volume', 'volumes')} ${quoted(volumes)}`,
  };
}

function hostPorts(pod: PodUnderCheck): Violation | undefined {
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

function probeHosts(pod: PodUnderCheck): Violation | undefined {
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

function privileged(pod: PodUnderCheck): Violation | undefined {
  const containers = containersOf(pod)
    .filter((container) => securityOf(container).privileged === true)
    .map(nameOf);
  if (containers.length === 0) return undefined;
  return {
    reason: 'privileged',
    detail: `${named(containers)} must not set securityContext.privileged=true`,
  };
}

function procMount(pod: PodUnderCheck): Violation | undefined {
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

function seLinux(types: readonly string[]): Rule {
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

const SE_LINUX_TYPES = ['container_t', 'container_init_t', 'container_kvm_t'];
const SECCOMP_POD = 'seccomp.security.alpha.kubernetes.io/pod';
const SECCOMP_CONTAINER = 'container.seccomp.security.alpha.kubernetes.io/';

/** Before there was a field for it. */
function seccompAnnotations(pod: PodUnderCheck): Violation | undefined {
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

function seccompOf(pod: PodUnderCheck): Seccomp {
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

function seccompBaseline(pod: PodUnderCheck): Violation | undefined {
  const { subject, values } = seccompOf(pod);
  if (subject === '') return undefined;
  return {
    reason: 'seccompProfile',
    detail: `${subject} must not set securityContext.seccompProfile.type to ${quoted(values)}`,
  };
}

function seccompRestricted(pod: PodUnderCheck): Violation | undefined {
  const { silent } = seccompOf(pod);
  const explicit = seccompBaseline(pod);
  if (explicit || silent.length === 0) return explicit;
  return {
    reason: 'seccompProfile',
    detail: `pod or ${named(silent)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
  };
}

function sysctls(allowed: readonly string[]): Rule {
  return ({ spec }) => {
    const bad = listAt(securityOf(spec), 'sysctls')
      .map(nameOf)
      .filter((name) => !allowed.includes(name));
    return bad.length === 0 ? undefined : { reason: 'forbidden sysctls', detail: bad.join(', ') };
  };
}

const SYSCTLS_1_0 = [
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
];
const SYSCTLS_1_27 = [...SYSCTLS_1_0, 'net.ipv4.ip_local_reserved_ports'];
const SYSCTLS_1_29 = [
  ...SYSCTLS_1_27,
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
];
const SYSCTLS_1_32 = [...SYSCTLS_1_29, 'net.ipv4.tcp_rmem', 'net.ipv4.tcp_wmem'];

function windowsHostProcess(pod: PodUnderCheck): Violation | undefined {
  const isBad = (holder: JsonObject): boolean =>
    objectAt(securityOf(holder), 'windowsOptions').hostProcess === true;
  const subject = setters(isBad(pod.spec), containersOf(pod).filter(isBad).map(nameOf));
  if (subject === '') return undefined;
  return {
    reason: 'hostProcess',
    detail: `${subject} must not set securityContext.windowsOptions.hostProcess=true`,
  };
}

function escalation(pod: PodUnderCheck): Violation | undefined {
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

function restrictedVolumes({ spec }: PodUnderCheck): Violation | undefined {
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

function runAsNonRoot(pod: PodUnderCheck): Violation | undefined {
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

function runAsUser(pod: PodUnderCheck): Violation | undefined {
  const isRoot = (holder: JsonObject): boolean => securityOf(holder).runAsUser === 0;
  const subject = setters(isRoot(pod.spec), containersOf(pod).filter(isRoot).map(nameOf));
  if (subject === '') return undefined;
  return { reason: 'runAsUser=0', detail: `${subject} must not set runAsUser=0` };
}

const always = (rule: Rule): Revision[] => [{ since: 0, rule }];

export const CHECKS: readonly Check[] = [
  { id: 'appArmorProfile', level: 'baseline', revisions: always(appArmor) },
  { id: 'capabilities_baseline', level: 'baseline', revisions: always(capabilitiesBaseline) },
  { id: 'hostNamespaces', level: 'baseline', revisions: always(hostNamespaces) },
  { id: 'hostPathVolumes', level: 'baseline', revisions: always(hostPathVolumes) },
  { id: 'hostPorts', level: 'baseline', revisions: always(hostPorts) },
  {
    id: 'hostProbesAndHostLifecycle',
    level: 'baseline',
    revisions: [{ since: 34, rule: probeHosts }],
  },
  { id: 'privileged', level: 'baseline', revisions: always(privileged) },
  {
    id: 'procMount',
    level: 'baseline',
    revisions: [
      { since: 0, rule: procMount },
      { since: 35, rule: unlessUserNamespace(procMount) },
    ],
  },
  {
    id: 'seLinuxOptions',
    level: 'baseline',
    revisions: [
      { since: 0, rule: seLinux(SE_LINUX_TYPES) },
      { since: 31, rule: seLinux([...SE_LINUX_TYPES, 'container_engine_t']) },
    ],
  },
  {
    id: 'seccompProfile_baseline',
    level: 'baseline',
    revisions: [
      { since: 0, rule: seccompAnnotations },
      { since: 19, rule: seccompBaseline },
    ],
  },
  {
    id: 'sysctls',
    level: 'baseline',
    revisions: [
      { since: 0, rule: sysctls(SYSCTLS_1_0) },
      { since: 27, rule: sysctls(SYSCTLS_1_27) },
      { since: 29, rule: sysctls(SYSCTLS_1_29) },
      { since: 32, rule: sysctls(SYSCTLS_1_32) },
    ],
  },
  { id: 'windowsHostProcess', level: 'baseline', revisions: always(windowsHostProcess) },
  {
    id: 'allowPrivilegeEscalation',
    level: 'restricted',
    revisions: [
      { since: 8, rule: escalation },
      { since: 25, rule: unlessWindows(escalation) },
    ],
  },
  {
    id: 'capabilities_restricted',
    level: 'restricted',
    revisions: [
      { since: 22, rule: capabilitiesRestricted },
      { since: 25, rule: unlessWindows(capabilitiesRestricted) },
    ],
    replaces: 'capabilities_baseline',
  },
  {
    id: 'restrictedVolumes',
    level: 'restricted',
    revisions: always(restrictedVolumes),
    replaces: 'hostPathVolumes',
  },
  {
    id: 'runAsNonRoot',
    level: 'restricted',
    revisions: [
      { since: 0, rule: runAsNonRoot },
      { since: 35, rule: unlessUserNamespace(runAsNonRoot) },
    ],
  },
  {
    id: 'runAsUser',
    level: 'restricted',
    revisions: [
      { since: 23, rule: runAsUser },
      { since: 35, rule: unlessUserNamespace(runAsUser) },
    ],
  },
  {
    id: 'seccompProfile_restricted',
    level: 'restricted',
    revisions: [
      { since: 19, rule: seccompRestricted },
      { since: 25, rule: unlessWindows(seccompRestricted) },
    ],
    replaces: 'seccompProfile_baseline',
  },
];
