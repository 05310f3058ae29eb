import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdmissionServer } from '../../support/admission-server.ts';

let server: AdmissionServer;
beforeEach(async () => {
  server = await AdmissionServer.start();
});
afterEach(() => server.stop());

const labels = (values: Record<string, string>) => ({
  labels: Object.fromEntries(
    Object.entries(values).map(([key, value]) => [`pod-security.kubernetes.io/${key}`, value]),
  ),
});
const pod = (name: string, spec: object = {}, container: object = {}) => ({
  metadata: { name },
  spec: { containers: [{ name: 'main', image: 'busybox', ...container }], ...spec },
});
const GOOD = {
  spec: { securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } } },
  container: { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } },
};

describe('PodSecurity', () => {
  test('refuses pods that violate the enforced profile, with every reason', async () => {
    await server.namespace('strict', labels({ enforce: 'restricted' }));
    const bad = pod('a', { hostNetwork: true }, { securityContext: { privileged: true } });
    expect(await server.refusal(server.create('v1', 'Pod', 'strict', bad))).toBe(
      'pods "a" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true), ' +
        'privileged (container "main" must not set securityContext.privileged=true), ' +
        'allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), ' +
        'unrestricted capabilities (container "main" must set securityContext.capabilities.drop=["ALL"]), ' +
        'runAsNonRoot != true (pod or container "main" must set securityContext.runAsNonRoot=true), ' +
        'seccompProfile (pod or container "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    );
    expect(server.warnings).toEqual([]);
    await server.create('v1', 'Pod', 'strict', pod('b', GOOD.spec, GOOD.container));
    expect(server.annotations).toEqual({
      'pod-security.kubernetes.io/enforce-policy': 'restricted:latest',
    });
  });

  test('warns and annotates where it is only asked to', async () => {
    await server.namespace('lax', labels({ warn: 'baseline', 'warn-version': 'v1.30', audit: 'baseline' }));
    await server.create('v1', 'Pod', 'lax', pod('a', { hostPID: true }));
    expect(server.warnings).toEqual([
      'would violate PodSecurity "baseline:v1.30": host namespaces (hostPID=true)',
    ]);
    expect(server.annotations['pod-security.kubernetes.io/audit-violations']).toBe(
      'would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)',
    );
  });

  test('who writes a workload is warned of what will be enforced on its pods', async () => {
    await server.namespace('strict', labels({ enforce: 'baseline' }));
    const template = { metadata: { labels: { app: 'a' } }, spec: pod('', { hostIPC: true }).spec };
    await server.create('apps/v1', 'Deployment', 'strict', {
      metadata: { name: 'a' },
      spec: { selector: { matchLabels: { app: 'a' } }, template },
    });
    expect(server.warnings).toEqual([
      'would violate PodSecurity "baseline:latest": host namespaces (hostIPC=true)',
    ]);
    await server.create('batch/v1', 'CronJob', 'strict', {
      metadata: { name: 'c' },
      spec: {
        schedule: '* * * * *',
        jobTemplate: { spec: { template: { spec: { ...template.spec, restartPolicy: 'Never' } } } },
      },
    });
    expect(server.warnings).toHaveLength(1);
  });

  test('changes that do not bear on the profile are let through', async () => {
    await server.namespace('later');
    await server.create('v1', 'Pod', 'later', pod('a', { hostPID: true }));
    await server.patch('v1', 'Namespace', undefined, 'later', { metadata: labels({ enforce: 'baseline' }) });
    expect(server.warnings).toEqual([
      'existing pods in namespace "later" violate the new PodSecurity enforce level "baseline:latest"',
      'a: host namespaces',
    ]);
    await server.patch('v1', 'Pod', 'later', 'a', { metadata: { labels: { x: 'y' } } });
    const image = { spec: { containers: [{ name: 'main', image: 'other' }] } };
    expect(await server.refusal(server.patch('v1', 'Pod', 'later', 'a', image))).toContain(
      'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)',
    );
    await server.patch('v1', 'Pod', 'later', 'a', { status: { phase: 'Running' } }, 'status');
  });

  test('counts pods with the same violations together when a namespace is tightened', async () => {
    await server.namespace('many');
    for (const name of ['c', 'a', 'b'])
      await server.create('v1', 'Pod', 'many', pod(name, { hostPID: true }));
    await server.create(
      'v1',
      'Pod',
      'many',
      pod('d', { hostPID: true }, { ports: [{ containerPort: 1, hostPort: 1 }] }),
    );
    await server.patch('v1', 'Namespace', undefined, 'many', { metadata: labels({ enforce: 'baseline' }) });
    expect(server.warnings.slice(1)).toEqual([
      'a (and 2 other pods): host namespaces',
      'd: host namespaces, hostPort',
    ]);
  });

  test('refuses labels that mean nothing', async () => {
    const made = server.create('v1', 'Namespace', undefined, {
      metadata: { name: 'wrong', ...labels({ enforce: 'strict', 'warn-version': '1.2' }) },
    });
    expect(await server.refusal(made)).toBe(
      'Namespace "wrong" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted, ' +
        'metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.2": must be "latest" or "v1.x"]',
    );
  });
});
