import type { Container, Pod, PodSecurityContext, SecurityContext } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';
import type { ContainerSpec } from '../runtime.ts';
import { ContainerConfigError } from './config-error.ts';

type Security = ContainerSpec['security'];

/** The security context as far as Docker can give it; what it cannot give is refused, never left out. */
export function containerSecurity(pod: Pod, container: Container, seccompProfile?: string): Security {
  const own = container.securityContext ?? {};
  const shared = pod.spec?.securityContext ?? {};
  if (own.windowsOptions || shared.windowsOptions) {
    throw new ContainerConfigError('windowsOptions are not supported on a Linux node');
  }
  const privileged = own.privileged ?? false;
  return {
    privileged,
    readOnlyRootFilesystem: own.readOnlyRootFilesystem ?? false,
    capAdd: own.capabilities?.add ?? [],
    capDrop: own.capabilities?.drop ?? [],
    noNewPrivileges: own.allowPrivilegeEscalation === false,
    options: [...seccomp(own, shared, seccompProfile), ...appArmor(own, shared), ...seLinux(own, shared)],
    // Namespaced sysctls belong to the sandbox, whose namespaces the container joins.
    sysctls: {},
    ...(own.procMount === 'Unmasked' ? { maskedPaths: [], readonlyPaths: [] } : {}),
  };
}

/** Absent means Docker's default profile, which is what the kubelet calls seccompDefault. */
function seccomp(own: SecurityContext, shared: PodSecurityContext, content: string | undefined): string[] {
  const profile = own.seccompProfile ?? shared.seccompProfile;
  if (profile?.type === 'Unconfined') return ['seccomp=unconfined'];
  if (profile?.type !== 'Localhost') return [];
  if (content === undefined) throw new ContainerConfigError('the seccomp profile was not read');
  return [`seccomp=${content}`];
}

/** The file below the node's directory of seccomp profiles that the container is to run under. */
export function localSeccompProfile(pod: Pod, container: Container): string | undefined {
  const profile = container.securityContext?.seccompProfile ?? pod.spec?.securityContext?.seccompProfile;
  return profile?.type === 'Localhost' ? (profile.localhostProfile ?? '') : undefined;
}

function appArmor(own: SecurityContext, shared: PodSecurityContext): string[] {
  const profile = own.appArmorProfile ?? shared.appArmorProfile;
  if (profile?.type === 'Unconfined') return ['apparmor=unconfined'];
  if (profile?.type === 'Localhost') return [`apparmor=${profile.localhostProfile ?? ''}`];
  return [];
}

function seLinux(own: SecurityContext, shared: PodSecurityContext): string[] {
  const { user, role, type, level } = { ...shared.seLinuxOptions, ...own.seLinuxOptions };
  return Object.entries({ user, role, type, level })
    .filter(([, value]) => value)
    .map(([key, value]) => `label=${key}:${value}`);
}

/** Docker's `user[:group]` and the further groups. `imageUser` is the image's USER. */
export function containerUser(
  pod: Pod,
  container: Container,
  imageUser: string,
): { user?: string; groups?: string[] } {
  const own = container.securityContext ?? {};
  const shared = pod.spec?.securityContext ?? {};
  const uid = own.runAsUser ?? shared.runAsUser;
  const gid = own.runAsGroup ?? shared.runAsGroup;
  // With a group given Docker leaves out those that the image's /etc/group has for the user.
  if (shared.supplementalGroupsPolicy === 'Strict' && gid === undefined) {
    throw new ContainerConfigError('supplementalGroupsPolicy Strict needs a runAsGroup with Docker');
  }
  if (own.runAsNonRoot ?? shared.runAsNonRoot ?? false) verifyNonRoot(pod, container, uid, imageUser);
  const groups = [
    ...(shared.supplementalGroups ?? []),
    ...(shared.fsGroup === undefined ? [] : [shared.fsGroup]),
  ];
  const base = uid === undefined ? imageUser.split(':')[0] || '0' : String(uid);
  const user = gid !== undefined ? `${base}:${gid}` : uid === undefined ? undefined : String(uid);
  return {
    ...(user === undefined ? {} : { user }),
    ...(groups.length > 0 ? { groups: groups.map(String) } : {}),
  };
}

function verifyNonRoot(pod: Pod, container: Container, uid: number | undefined, imageUser: string): void {
  const { name, namespace, uid: podUid } = identity(pod);
  const where = `(pod: "${name}_${namespace}(${podUid})", container: ${container.name})`;
  if (uid === 0) throw new ContainerConfigError(`container's runAsUser breaks non-root policy ${where}`);
  if (uid !== undefined) return;
  const user = imageUser.split(':')[0] ?? '';
  if (user === '' || user === '0') {
    throw new ContainerConfigError(`container has runAsNonRoot and image will run as root ${where}`);
  }
  if (!/^\d+$/.test(user)) {
    throw new ContainerConfigError(
      `container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root ${where}`,
    );
  }
}
