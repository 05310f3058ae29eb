import { afterEach, beforeEach, expect, test } from 'vitest';
import { EVENTS } from '../../../src/api/kinds.ts';
import type { Event, Pod } from '../../../src/api/types/core-v1.ts';
import { EventSeries } from '../../../src/client/event-series.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'shop', uid: '1' },
} as unknown as Pod;
const MINUTE = 60_000;

let clock: VirtualClock;
let client: FakeClient;
let series: EventSeries;
beforeEach(async () => {
  clock = new VirtualClock();
  client = new FakeClient({ clock, random: new SeededRandom(1) });
  series = new EventSeries({
    client,
    clock,
    logger: silentLogger,
    controller: 'default-scheduler',
    actions: { FailedScheduling: 'Scheduling' },
  });
  await series.start();
});
afterEach(() => series.stop());

const fails = (message = '0/1 nodes are available'): void =>
  series.record(POD, 'Warning', 'FailedScheduling', message);

async function events(): Promise<Event[]> {
  await clock.settle();
  return (await client.list(EVENTS, { namespace: 'shop' })).items;
}

test('an event has a time of its own and none of the old fields', async () => {
  fails();
  const [event] = await events();
  expect(event).toMatchObject({
    type: 'Warning',
    reason: 'FailedScheduling',
    action: 'Scheduling',
    reportingComponent: 'default-scheduler',
    reportingInstance: 'default-scheduler',
    involvedObject: { kind: 'Pod', name: 'web', uid: '1' },
  });
  expect(event?.eventTime).toMatch(/\.\d{6}Z$/);
  expect(event?.count).toBeUndefined();
  expect(event?.series).toBeUndefined();
});

test('the second makes a series, the rest is told when it ends', async () => {
  fails();
  fails();
  expect(await events()).toMatchObject([{ series: { count: 2 } }]);
  const writes = client.writes.length;
  for (let more = 0; more < 500; more += 1) fails();
  await events();
  expect(client.writes.length).toBe(writes);
  await clock.advance(13 * MINUTE);
  expect(await events()).toMatchObject([{ series: { count: 502 } }]);
  // Later it is another one.
  fails();
  expect(await events()).toHaveLength(2);
});

test('a series that goes on for hours is told of now and then, and at the stop', async () => {
  fails();
  for (let minute = 0; minute < 65; minute += 1) {
    fails();
    await clock.advance(MINUTE);
  }
  const [event] = await events();
  expect(event?.series?.count).toBeGreaterThan(50);
  await series.stop();
  expect(await events()).toMatchObject([{ series: { count: 66 } }]);
});

test('long notes are cut, and what is remembered is bounded', async () => {
  fails('x'.repeat(3000));
  expect((await events())[0]?.message).toHaveLength(1024);
  for (let index = 0; index < 900; index += 1) {
    series.record(
      { ...POD, metadata: { ...POD.metadata, uid: `${index}` } } as Pod,
      'Normal',
      'Scheduled',
      'x',
    );
  }
  expect((await events()).length).toBe(901);
});
