import { expect, it } from 'vitest';
import type { ProbeResults } from '../../../../src/agent/pods/facts.ts';
import { Handlers } from '../../../../src/agent/pods/handlers.ts';
import type { ObservedInstance } from '../../../../src/agent/pods/observe.ts';
import { PodEvents } from '../../../../src/agent/pods/pod-events.ts';
import { ProbeRunner } from '../../../../src/agent/pods/probe-runner.ts';
import type { Container } from '../../../../src/api/types/core-v1.ts';
import type { ProbeOutcome } from '../../../../src/health/probes.ts';
import { FakeReporter, testPod } from '../../../support/fake-node.ts';
import { FakeRuntime } from '../../../support/fake-runtime.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

class Scripted extends Handlers {
  outcome: ProbeOutcome = { result: 'success', output: '' };
  override async probe(): Promise<ProbeOutcome> {
    return this.outcome;
  }
}

it('tells of a success that deserves a warning, and takes it for a success', async () => {
  const clock = new VirtualClock();
  const reporter = new FakeReporter();
  const handlers = new Scripted({ runtime: new FakeRuntime({ clock }), clock });
  handlers.outcome = { result: 'success', output: '', warning: 'Probe terminated redirects' };
  const results = new Map<string, ProbeResults>();
  const events = new PodEvents(reporter);
  const runner = new ProbeRunner({ clock, handlers, events, results, onChange: () => {} });
  const container: Container = { name: 'web', image: 'web', readinessProbe: { httpGet: { port: 80 } } };
  const instance = { id: 'web-0', name: 'web', startedAt: clock.now() } as ObservedInstance;
  runner.sync(
    testPod('a', { containers: [container] }),
    [{ named: { role: 'regular', container }, instance }],
    {
      podIP: '10.42.0.2',
      terminating: false,
      before: () => undefined,
    },
  );
  await clock.advance(1_000);
  expect(results.get('web-0')?.ready).toBe(true);
  expect(reporter.events).toMatchObject([
    {
      type: 'Warning',
      reason: 'ProbeWarning',
      message: 'Readiness probe warning: Probe terminated redirects',
    },
  ]);
  runner.stop();
});
