import { describe, expect, it } from 'vitest';
import { resolveAgentConfig, resolveServerConfig } from '../../../src/config/config.ts';

const config = (...flags: [string, string][]) =>
  resolveServerConfig({ flags: flags.map(([flag, value]) => ({ flag, value })), environment: {} }).config;

describe('the flags of the kubelet', () => {
  it('are read as the kubelet writes them', () => {
    expect(
      config(
        ['eviction-hard', 'memory.available<100Mi,nodefs.available<10%'],
        ['eviction-soft', 'memory.available<1.5Gi'],
        ['eviction-soft-grace-period', 'memory.available=1m30s'],
        ['eviction-minimum-reclaim', 'nodefs.available=500Mi'],
        ['eviction-max-pod-grace-period', '60'],
        ['eviction-pressure-transition-period', '5m0s'],
        ['system-reserved', 'cpu=200m,memory=128Mi'],
        ['kube-reserved', 'ephemeral-storage=1Gi'],
        ['pod-max-pids', '500'],
        ['container-log-max-size', '1Mi'],
      ),
    ).toMatchObject({
      evictionHard: [
        { signal: 'memory.available', amount: '100Mi' },
        { signal: 'nodefs.available', amount: '10%' },
      ],
      evictionSoft: [{ signal: 'memory.available', amount: '1.5Gi' }],
      evictionSoftGracePeriod: [{ signal: 'memory.available', milliseconds: 90_000 }],
      evictionMinimumReclaim: [{ signal: 'nodefs.available', amount: '500Mi' }],
      evictionMaxPodGracePeriod: 60,
      evictionPressureTransitionPeriod: 300_000,
      systemReserved: [
        { resource: 'cpu', quantity: '200m' },
        { resource: 'memory', quantity: '128Mi' },
      ],
      kubeReserved: [{ resource: 'ephemeral-storage', quantity: '1Gi' }],
      podMaxPids: 500,
      containerLogMaxSize: 1024 * 1024,
    });
  });

  it.each([
    ['eviction-hard', 'memory.available>100Mi', 'a threshold such as memory.available<100Mi'],
    ['eviction-hard', 'memory.free<100Mi', 'signals are memory.available'],
    ['eviction-hard', 'memory.available<lots', 'a threshold'],
    ['eviction-hard', 'nodefs.available<110%', 'a threshold'],
    ['eviction-hard', 'nodefs.available<-5%', 'a threshold'],
    ['eviction-minimum-reclaim', 'nodefs.available<1Gi', 'an amount such as'],
    ['eviction-pressure-transition-period', '5', 'a duration'],
    ['system-reserved', 'disk=1Gi', 'resources are cpu, memory'],
    ['system-reserved', 'memory', 'a reservation'],
    ['pod-max-pids', '0', 'or -1 for no limit'],
    ['container-log-max-files', '1', '2 or more'],
    ['container-log-max-size', '10', 'at least 4Ki'],
    ['container-log-dir', 'logs', 'an absolute path'],
  ])('refuse --%s %s', (flag, value, message) => {
    expect(() => config([flag, value])).toThrow(message);
  });

  it('refuse a soft threshold without its grace period, and a period without its threshold', () => {
    expect(() => config(['eviction-soft', 'memory.available<200Mi'])).toThrow(
      '--eviction-soft memory.available has no grace period: add --eviction-soft-grace-period memory.available=90s',
    );
    const agent = () =>
      resolveAgentConfig({
        flags: [
          { flag: 'server', value: 'https://a:6443' },
          { flag: 'eviction-soft-grace-period', value: 'memory.available=90s' },
        ],
        environment: {},
      });
    expect(agent).toThrow('--eviction-soft-grace-period memory.available has no --eviction-soft');
  });
});
