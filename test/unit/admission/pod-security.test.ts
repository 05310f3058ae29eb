import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../../src/api/object.ts';
import {
  detailed,
  type LevelVersion,
  violations,
} from '../../../src/server/admission/pod-security/policy.ts';

const BASELINE: LevelVersion = { level: 'baseline', version: 'latest' };
const RESTRICTED: LevelVersion = { level: 'restricted', version: 'latest' };

function check(policy: LevelVersion, spec: JsonObject, annotations: JsonObject = {}): string {
  return detailed(violations(policy, { metadata: { annotations }, spec }));
}
const one = (container: JsonObject, spec: JsonObject = {}): JsonObject => ({
  containers: [{ name: 'c', ...container }],
  ...spec,
});
/** Nothing that `restricted` objects to. */
const good = (container: JsonObject = {}, spec: JsonObject = {}): JsonObject => ({
  securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  containers: [
    {
      name: 'c',
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      ...container,
    },
  ],
  ...spec,
});

describe('baseline', () => {
  test.each<[string, JsonObject, string]>([
    [
      'capabilities',
      one({ securityContext: { capabilities: { add: ['NET_ADMIN', 'CHOWN', 'ALL'] } } }),
      'non-default capabilities (container "c" must not include "ALL", "NET_ADMIN" in securityContext.capabilities.add)',
    ],
    [
      'hostPath volumes',
      one(
        {},
        {
          volumes: [
            { name: 'a', hostPath: {} },
            { name: 'b', emptyDir: {} },
            { name: 'd', hostPath: {} },
          ],
        },
      ),
      'hostPath volumes (volumes "a", "d")',
    ],
    [
      'host ports',
      one({ ports: [{ hostPort: 80 }, { hostPort: 443 }, { containerPort: 1 }] }),
      'hostPort (container "c" uses hostPorts 443, 80)',
    ],
    [
      'hosts of probes',
      one({ livenessProbe: { httpGet: { host: 'example.com' } } }),
      'probe or lifecycle host (container "c" uses probe or lifecycle host "example.com")',
    ],
    [
      'proc mounts',
      one({ securityContext: { procMount: 'Unmasked' } }),
      'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ],
    [
      'SELinux',
      one(
        { securityContext: { seLinuxOptions: { type: 'spc_t', user: 'x' } } },
        { securityContext: { seLinuxOptions: { role: 'y' } } },
      ),
      'seLinuxOptions (pod and container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set; role may not be set)',
    ],
    [
      'seccomp',
      one({ securityContext: { seccompProfile: { type: 'Unconfined' } } }),
      'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ],
    [
      'sysctls',
      one({}, { securityContext: { sysctls: [{ name: 'kernel.msgmax' }, { name: 'net.ipv4.tcp_rmem' }] } }),
      'forbidden sysctls (kernel.msgmax)',
    ],
    [
      'Windows host processes',
      one({}, { securityContext: { windowsOptions: { hostProcess: true } } }),
      'hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)',
    ],
    [
      'AppArmor',
      one({}, { securityContext: { appArmorProfile: { type: 'Unconfined' } } }),
      'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ],
    ['nothing', one({}), ''],
  ])('%s', (_name, spec, text) => {
    expect(check(BASELINE, spec)).toBe(text);
  });

  test('AppArmor by annotation', () => {
    const annotations = { 'container.apparmor.security.beta.kubernetes.io/c': 'unconfined' };
    expect(check(BASELINE, one({}), annotations)).toBe(
      'forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/c=\\"unconfined\\"")',
    );
  });
});

describe('restricted', () => {
  test('has nothing against a careful pod', () => {
    expect(check(RESTRICTED, good())).toBe('');
  });

  test.each<[string, JsonObject, string]>([
    [
      'volumes that are tied to a machine or a service',
      good(
        {},
        {
          volumes: [
            { name: 'v', nfs: {} },
            { name: 'w', hostPath: {} },
            { name: 'x', secret: {} },
          ],
        },
      ),
      'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
    ],
    [
      'capabilities, without repeating the baseline',
      good({
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'], add: ['SYS_TIME'] },
        },
      }),
      'unrestricted capabilities (container "c" must not include "SYS_TIME" in securityContext.capabilities.add)',
    ],
    [
      'root',
      good(
        {},
        { securityContext: { runAsUser: 0, runAsNonRoot: false, seccompProfile: { type: 'Localhost' } } },
      ),
      'runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)',
    ],
  ])('%s', (_name, spec, text) => {
    expect(check(RESTRICTED, spec)).toBe(text);
  });

  test('init and ephemeral containers count too, in the order in which they start', () => {
    const spec = good({}, { initContainers: [{ name: 'i' }], ephemeralContainers: [{ name: 'e' }] });
    expect(check(RESTRICTED, spec)).toContain(
      'containers "i", "e" must set securityContext.allowPrivilegeEscalation=false',
    );
  });
});

describe('versions', () => {
  test('a rule counts from its version on', () => {
    const sysctl = one({}, { securityContext: { sysctls: [{ name: 'net.ipv4.tcp_rmem' }] } });
    expect(check({ level: 'baseline', version: 31 }, sysctl)).toContain('forbidden sysctls');
    expect(check({ level: 'baseline', version: 32 }, sysctl)).toBe('');
    const probe = one({ readinessProbe: { tcpSocket: { host: '10.0.0.1' } } });
    expect(check({ level: 'baseline', version: 33 }, probe)).toBe('');
    expect(check({ level: 'baseline', version: 34 }, probe)).toContain('probe or lifecycle host');
  });

  test('Windows pods are spared what Windows does not have', () => {
    const windows = {
      os: { name: 'windows' },
      securityContext: { runAsNonRoot: true },
      containers: [{ name: 'c' }],
    };
    expect(check({ level: 'restricted', version: 25 }, windows)).toBe('');
    expect(check({ level: 'restricted', version: 24 }, windows)).toContain('allowPrivilegeEscalation');
  });

  test('what a restricted rule stands in for comes back where that rule does not count yet', () => {
    const spec = one({ securityContext: { capabilities: { add: ['SYS_TIME'] } } });
    expect(check({ level: 'restricted', version: 21 }, spec)).toContain('non-default capabilities');
  });
});
