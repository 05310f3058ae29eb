import { expect, it } from 'vitest';
import { judgeFeatures } from '../../../../src/agent/pods/admission-features.ts';
import type { Pod, PodSpec } from '../../../../src/api/types/core-v1.ts';
import { testPod } from '../../../support/fake-node.ts';

const pod = (spec: Partial<PodSpec>): Pod => testPod('a', { containers: [{ name: 'web' }], ...spec });
const sysctl = (name: string, more: Partial<PodSpec> = {}): Pod =>
  pod({ securityContext: { sysctls: [{ name, value: '1' }] }, ...more });
const judge = (of: Pod, allowed: string[] = [], appArmor = false) => {
  const verdict = judgeFeatures(of, { appArmor, allowedUnsafeSysctls: allowed });
  return verdict && `${verdict.reason}: ${verdict.message}`;
};

it('refuses sysctls that are not safe, or not of a namespace that the pod has for itself', () => {
  expect(judge(sysctl('net.ipv4.tcp_syncookies'))).toBeUndefined();
  expect(judge(sysctl('net/ipv4/tcp_syncookies'))).toBeUndefined();
  expect(judge(sysctl('kernel.msgmax'))).toBe(
    'SysctlForbidden: forbidden sysctl: "kernel.msgmax" not allowlisted',
  );
  expect(judge(sysctl('kernel.msgmax'), ['kernel.msg*'])).toBeUndefined();
  expect(judge(sysctl('kernel.sem'), ['kernel.sem'])).toBeUndefined();
  // The whole machine's, whatever is allowed.
  expect(judge(sysctl('vm.swappiness'), ['vm.*'])).toMatch('not allowlisted');
  expect(judge(sysctl('net.ipv4.tcp_syncookies', { hostNetwork: true }))).toMatch(
    'not allowed with host Net enabled',
  );
  expect(judge(sysctl('kernel.shm_rmid_forced', { hostIPC: true }))).toMatch(
    'not allowed with host IPC enabled',
  );
});

it('refuses AppArmor profiles where the kernel has no AppArmor', () => {
  const of = (type: 'Localhost' | 'RuntimeDefault' | 'Unconfined') =>
    pod({ securityContext: { appArmorProfile: { type } } });
  expect(judge(of('RuntimeDefault'))).toBe(
    'AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host',
  );
  expect(judge(of('Unconfined'))).toBeUndefined();
  expect(judge(of('Localhost'), [], true)).toBeUndefined();
});

it('refuses another operating system, and Strict groups that Docker would add to', () => {
  expect(judge(pod({ os: { name: 'windows' } }))).toMatch(/^PodOSNotSupported: /);
  const strict = { supplementalGroupsPolicy: 'Strict' as const };
  expect(judge(pod({ securityContext: strict }))).toMatch(/^SupplementalGroupsPolicyNotSupported: /);
  expect(judge(pod({ securityContext: { ...strict, runAsGroup: 1 } }))).toBeUndefined();
  expect(
    judge(
      pod({ securityContext: strict, containers: [{ name: 'web', securityContext: { runAsGroup: 1 } }] }),
    ),
  ).toBeUndefined();
});
