import type { Pod } from '../../api/types/core-v1.ts';
import type { NodeObjection } from '../../wire/messages.ts';
import { containersOf } from '../names.ts';

export interface NodeFeatures {
  /** Does the kernel have AppArmor switched on? */
  appArmor: boolean;
  /** `--allowed-unsafe-sysctls`: names, or prefixes that end in `*`. */
  allowedUnsafeSysctls: readonly string[];
}

/** Namespaced, and harmless to the node and to other pods. */
const SAFE_SYSCTLS = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);

/** Whose namespace a sysctl belongs to; undefined: the whole machine's. */
export function sysctlNamespace(name: string): 'IPC' | 'Net' | undefined {
  if (name === 'kernel.sem' || /^(kernel\.(shm|msg)|fs\.mqueue\.)/.test(name)) return 'IPC';
  return name.startsWith('net.') ? 'Net' : undefined;
}

/** What the pod asks for that this node cannot or may not give it, in the words of the kubelet's admission. */
export function judgeFeatures(pod: Pod, node: NodeFeatures): NodeObjection | undefined {
  const os = pod.spec?.os?.name;
  if (os !== undefined && os !== 'linux') {
    return {
      reason: 'PodOSNotSupported',
      message: "Failed to admit pod as the OS field doesn't match node OS",
    };
  }
  return forbiddenSysctl(pod, node.allowedUnsafeSysctls) ?? appArmor(pod, node) ?? strictGroups(pod);
}

function forbiddenSysctl(pod: Pod, allowed: readonly string[]): NodeObjection | undefined {
  const { hostNetwork, hostIPC, securityContext } = pod.spec ?? {};
  for (const sysctl of securityContext?.sysctls ?? []) {
    const name = sysctl.name.replaceAll('/', '.');
    const refuse = (why: string): NodeObjection => ({
      reason: 'SysctlForbidden',
      message: `forbidden sysctl: "${name}" ${why}`,
    });
    const listed =
      SAFE_SYSCTLS.has(name) ||
      allowed.some((pattern) =>
        pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
      );
    const namespace = sysctlNamespace(name);
    if (!listed || namespace === undefined) return refuse('not allowlisted');
    if ((namespace === 'Net' && hostNetwork) || (namespace === 'IPC' && hostIPC)) {
      return refuse(`not allowed with host ${namespace} enabled`);
    }
  }
  return undefined;
}

function appArmor(pod: Pod, node: NodeFeatures): NodeObjection | undefined {
  const contexts = [
    pod.spec?.securityContext,
    ...containersOf(pod).map(({ container }) => container.securityContext),
  ];
  const asked = contexts.some((context) => {
    const type = context?.appArmorProfile?.type;
    return type !== undefined && type !== 'Unconfined';
  });
  if (!asked || node.appArmor) return undefined;
  return {
    reason: 'AppArmor',
    message: 'Cannot enforce AppArmor: AppArmor is not enabled on the host',
  };
}

/** Docker adds the groups of the image's /etc/group, unless it is told the user's first group. */
function strictGroups(pod: Pod): NodeObjection | undefined {
  const shared = pod.spec?.securityContext;
  if (shared?.supplementalGroupsPolicy !== 'Strict' || shared.runAsGroup !== undefined) return undefined;
  const without = containersOf(pod).find(
    ({ container }) => container.securityContext?.runAsGroup === undefined,
  );
  if (!without) return undefined;
  return {
    reason: 'SupplementalGroupsPolicyNotSupported',
    message: `SupplementalGroupsPolicy=Strict is not supported in this node: without a runAsGroup Docker adds the groups of the image (container ${without.container.name})`,
  };
}
