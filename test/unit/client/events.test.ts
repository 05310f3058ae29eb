import { beforeEach, describe, expect, it } from 'vitest';
import { EVENTS } from '../../../src/api/kinds.ts';
import { EventWriter } from '../../../src/client/events.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

let clock: VirtualClock;
let client: FakeClient;
let writer: EventWriter;
const pod = { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'web', uid: 'u1' };

beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeClient({ clock, random: new SeededRandom(1) });
  writer = new EventWriter({ client, clock, logger: silentLogger });
});

async function record(message: string, subject = pod): Promise<void> {
  writer.of('kubelet').record(subject, 'Warning', 'BackOff', message);
  await clock.advance(0);
}
const written = (): string[] => client.all(EVENTS).map(({ message, count }) => `${count} ${message}`);

describe('recording events', () => {
  it('writes what kubectl describe shows', async () => {
    await record('restarting');
    expect(client.all(EVENTS)).toMatchObject([
      {
        metadata: { namespace: 'default', name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) },
        involvedObject: pod,
        reason: 'BackOff',
        type: 'Warning',
        source: { component: 'kubelet' },
        reportingComponent: 'kubelet',
        firstTimestamp: '2026-01-01T00:00:00Z',
        count: 1,
      },
    ]);
  });

  it('counts repetitions on the first event', async () => {
    await record('restarting');
    await clock.advance(5000);
    await record('restarting');
    expect(written()).toEqual(['2 restarting']);
    expect(client.all(EVENTS)[0]).toMatchObject({
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:00:05Z',
    });
  });

  it('is written anew, and goes on counting, when the first event has expired', async () => {
    await record('restarting');
    await client.delete(EVENTS, 'default', client.all(EVENTS)[0]?.metadata.name ?? '');
    await record('restarting');
    expect(written()).toEqual(['2 restarting']);
  });

  it('combines events that differ only in their message, from the tenth on', async () => {
    for (let index = 1; index <= 12; index += 1) await record(`attempt ${index}`);
    expect(written()).toHaveLength(10);
    expect(written()[9]).toBe('3 (combined from similar events): attempt 12');
  });

  it('cuts off an object that floods, and lets one through every five minutes', async () => {
    for (let index = 0; index < 40; index += 1) await record('again');
    expect(written()).toEqual(['25 again']);
    await clock.advance(300_000);
    await record('again');
    await record('again');
    expect(written()).toEqual(['26 again']);
    await record('other object', { ...pod, uid: 'u2' });
    expect(written()).toHaveLength(2);
  });

  it('never fails, and stops when told to', async () => {
    const allow = client.intercept(() => {
      throw new Error('refused');
    });
    await record('lost');
    allow();
    await writer.stop();
    await record('too late');
    expect(written()).toEqual([]);
  });
});
