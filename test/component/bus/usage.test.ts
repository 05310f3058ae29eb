import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageReporter } from '../../../src/agent/usage.ts';
import type { RunningContainer } from '../../../src/health/pod-usage.ts';
import { silentLogger as logger } from '../../../src/lib/logger.ts';
import { UsageReadings } from '../../../src/server/bus/usage-readings.ts';
import type { MessageBus } from '../../../src/wire/message-bus.ts';
import { nodeMayPublish, parseUpward } from '../../../src/wire/topics.ts';
import { parseMessage } from '../../../src/wire/validate.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** The server's readings and an agent's reporter, joined by what they publish. */
describe('what pods use', () => {
  let clock: VirtualClock;
  let readings: UsageReadings;
  let reporter: UsageReporter;
  let measured: RunningContainer[][];
  let reports: number;
  let connected: boolean;

  beforeEach(() => {
    clock = new VirtualClock();
    measured = [];
    reports = 0;
    connected = true;
    const down: Pick<MessageBus, 'publish'> = {
      publish: async (topic, payload) => {
        if (!connected) throw new Error('not connected');
        expect(topic).toBe('copepod/v1/nodes/pi/measure');
        const parsed = parseMessage('MeasureRequest', payload);
        if (!parsed.ok) throw new Error(parsed.detail);
        reporter.requested(parsed.message);
      },
    };
    const up = {
      publish: async (topic: string, payload: string) => {
        expect(nodeMayPublish('pi', topic)).toBe(true);
        expect(parseUpward(topic)).toEqual({ node: 'pi', kind: 'usage' });
        const parsed = parseMessage('PodUsageReport', payload);
        if (!parsed.ok) throw new Error(parsed.detail);
        reports += 1;
        readings.came('pi', parsed.message);
      },
    } as unknown as MessageBus;
    readings = new UsageReadings({ bus: down, clock });
    reporter = new UsageReporter({
      node: 'pi',
      bus: up,
      clock,
      logger,
      runtime: {
        list: async () => [
          running('c1', 'main'),
          running('c2', 'POD'),
          { ...running('c3', 'ended'), state: 'exited' as const },
        ],
      },
      meter: async () => ({
        measure: async (containers) => {
          measured.push([...containers]);
          return {
            windowMs: measured.length === 1 ? 0 : 15_000,
            pods: { uid: { main: [0.123456789, 1024.4] as [number, number] } },
          };
        },
        forget: () => {},
      }),
    });
  });
  afterEach(() => reporter.stop());

  const running = (id: string, name: string) => ({
    id,
    name: id,
    labels: { 'io.kubernetes.pod.uid': 'uid', 'io.kubernetes.container.name': name },
    image: 'web',
    imageId: 'sha256:1',
    state: 'running' as const,
    pid: 42,
    createdAt: 0,
  });

  it('is measured only when somebody asks, and no longer than that', async () => {
    await clock.advance(600_000);
    expect(measured).toEqual([]);
    expect(readings.of('pi', 'uid')).toBeUndefined();
    await clock.advance(5000);
    expect(readings.of('pi', 'uid')).toMatchObject({
      windowMs: 15_000,
      containers: [{ name: 'main', cpu: 0.123457, memory: 1024 }],
    });
    expect(measured[0]).toEqual([{ id: 'c1', podUid: 'uid', name: 'main', pid: 42 }]);
    await clock.advance(600_000);
    const after = reports;
    expect(after).toBeLessThan(16);
    await clock.advance(600_000);
    expect(reports).toBe(after);
    // Old news is no news.
    expect(readings.of('pi', 'uid')).toBeUndefined();
  });

  it('goes on while it is asked for', async () => {
    for (let count = 0; count < 40; count += 1) {
      readings.of('pi', 'uid');
      await clock.advance(15_000);
    }
    expect(readings.of('pi', 'uid')).toBeDefined();
    expect(reports).toBeGreaterThan(38);
  });

  it('is asked for again when the request was lost', async () => {
    connected = false;
    readings.of('pi', 'uid');
    await clock.advance(31_000);
    connected = true;
    readings.of('pi', 'uid');
    await clock.advance(5000);
    expect(readings.of('pi', 'uid')).toBeDefined();
  });
});
