// The Pod Security Standards, one entry a rule, in the order in which Kubernetes reports them: the profile `baseline`
// first, what `restricted` adds after it, each sorted by name. Pure.
import {
  appArmor,
  capabilitiesBaseline,
  hostNamespaces,
  hostPathVolumes,
  hostPorts,
  privileged,
  probeHosts,
  procMount,
  SE_LINUX_TYPES,
  SYSCTLS_1_0,
  SYSCTLS_1_27,
  SYSCTLS_1_29,
  SYSCTLS_1_32,
  seccompAnnotations,
  seccompBaseline,
  seLinux,
  sysctls,
  windowsHostProcess,
} from './baseline.ts';
import {
  capabilitiesRestricted,
  escalation,
  restrictedVolumes,
  runAsNonRoot,
  runAsUser,
  seccompRestricted,
} from './restricted.ts';
import { type Rule, unlessUserNamespace, unlessWindows } from './subjects.ts';

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
