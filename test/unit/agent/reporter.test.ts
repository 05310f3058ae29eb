import { beforeEach, describe, expect, it } from 'vitest';
import { StatusReporter } from '../../../src/agent/reporter.ts';
import type { Pod, PodStatus } from '../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { EventReport, PodStatusReport } from '../../../src/wire/messages.ts';
import { filters, topics } from '../../../src/wire/topics.ts';
import { MemoryJournal } from '../../support/memory-journal.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SimulatedBroker, type SimulatedBus } from '../../support/simulated-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const pod = (uid: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `pod-${uid}`, namespace: 'd', uid },
  spec: { containers: [] },
});
const running: PodStatus = { phase: 'Running' };

let clock: VirtualClock;
let broker: SimulatedBroker;
let bus: SimulatedBus;
let reporter: StatusReporter;
let journal: MemoryJournal;
let heard: PodStatusReport[];
let events: EventReport[];
let desired: Set<string>;

async function makeReporter(seed: number): Promise<StatusReporter> {
  bus = broker.bus({ clientId: 'n', node: 'n' });
  const made = new StatusReporter({
    node: 'n',
    bus,
    clock,
    random: new SeededRandom(seed),
    logger: silentLogger,
    journal,
    isDesired: (uid) => desired.has(uid),
  });
  bus.subscribe(topics.acks('n'), (_topic, payload) => made.acknowledged(JSON.parse(payload)));
  await made.start();
  return made;
}

beforeEach(async () => {
  clock = new VirtualClock();
  broker = new SimulatedBroker({ clock, random: new SeededRandom(7) });
  journal = new MemoryJournal();
  heard = [];
  events = [];
  desired = new Set(['a', 'b']);
  const server = broker.bus({ clientId: 'server' });
  server.subscribe(filters.allPodStatuses(), (_topic, payload) => heard.push(JSON.parse(payload)));
  server.subscribe(filters.allEvents(), (_topic, payload) => events.push(JSON.parse(payload)));
  await server.start();
  acknowledge = ({ uid, sequence }) =>
    void server.publish(topics.acks('n'), JSON.stringify({ v: 1, uid, sequence }), { qos: 1 });
  reporter = await makeReporter(1);
  await clock.advance(1);
});

let acknowledge: (report: { uid: string; sequence: number }) => void;
const last = (): PodStatusReport => heard.at(-1) as PodStatusReport;

describe('status reporter', () => {
  it('keeps the newest of each pod while offline and sends it on connect', async () => {
    reporter.podStatus(pod('a'), { phase: 'Pending' });
    reporter.podStatus(pod('b'), { phase: 'Pending' });
    reporter.podStatus(pod('a'), running);
    await bus.start();
    await clock.advance(1);
    expect(heard.map(({ uid, status }) => [uid, status.phase])).toEqual([
      ['b', 'Pending'],
      ['a', 'Running'],
    ]);
  });

  it('sends at once, and again until acknowledged', async () => {
    await bus.start();
    await clock.advance(1);
    reporter.podStatus(pod('a'), running);
    await clock.advance(1);
    expect(heard).toHaveLength(1);
    await clock.advance(60_000);
    expect(heard.length).toBeGreaterThanOrEqual(3);
    expect(new Set(heard.map(({ sequence }) => sequence)).size).toBe(1);
    acknowledge(last());
    await clock.advance(1);
    const before = heard.length;
    await clock.advance(120_000);
    expect(heard).toHaveLength(before);
    expect(reporter.unacknowledged).toBe(0);
  });

  it('takes no acknowledgement of an older report for the newest', async () => {
    await bus.start();
    await clock.advance(1);
    reporter.podStatus(pod('a'), { phase: 'Pending' });
    await clock.advance(1);
    const old = last();
    reporter.podStatus(pod('a'), running);
    acknowledge(old);
    await clock.advance(1);
    expect(reporter.unacknowledged).toBe(1);
    expect(last().sequence).toBeGreaterThan(old.sequence);
  });

  it('keeps the newest while the server is at the one before, but not for long', async () => {
    await bus.start();
    await clock.advance(1);
    const phases = (): (string | undefined)[] => heard.map(({ status }) => status.phase);
    const tell = (message: string): void => reporter.podStatus(pod('a'), { phase: 'Running', message });
    reporter.podStatus(pod('a'), running);
    await clock.advance(1);
    for (const message of ['one', 'two', 'three']) tell(message);
    reporter.podStatus(pod('b'), { phase: 'Pending' });
    await clock.advance(100);
    expect(heard.map(({ uid }) => uid)).toEqual(['a', 'b']);
    acknowledge(heard[0] as PodStatusReport);
    await clock.advance(1);
    expect(last().status.message).toBe('three');
    tell('four');
    tell('five');
    await clock.advance(400);
    expect(last().status.message).toBe('three');
    await clock.advance(200);
    expect(last().status.message).toBe('five');
    tell('six');
    reporter.podStatus(pod('a'), { phase: 'Succeeded' });
    await clock.advance(1);
    expect(phases()).toEqual(['Running', 'Pending', 'Running', 'Running', 'Succeeded']);
  });

  it('holds no end of a pod back for that', async () => {
    await bus.start();
    await clock.advance(1);
    reporter.podStatus(pod('a'), running);
    await clock.advance(1);
    reporter.podGone(pod('a'), { phase: 'Succeeded' });
    await clock.advance(30);
    expect(last()).toMatchObject({ gone: true, status: { phase: 'Succeeded' } });
  });

  it('says nothing twice without need', async () => {
    await bus.start();
    await clock.advance(1);
    reporter.podStatus(pod('a'), running);
    reporter.podStatus(pod('a'), { ...running });
    await clock.advance(1);
    expect(heard).toHaveLength(1);
  });

  it('tells everything again on reconnect: the server may have lost what it had acknowledged', async () => {
    await bus.start();
    await clock.advance(1);
    reporter.podStatus(pod('a'), running);
    await clock.advance(1);
    acknowledge(last());
    await clock.advance(1);
    broker.cut('n');
    await clock.advance(30_000);
    expect(heard).toHaveLength(2);
  });

  it('forgets a pod when its end was acknowledged', async () => {
    await bus.start();
    await clock.advance(1);
    reporter.podGone(pod('a'), { phase: 'Succeeded' });
    await clock.advance(50);
    expect(last()).toMatchObject({ gone: true });
    expect(reporter.lastStatus('a')).toBeDefined();
    acknowledge(last());
    await clock.advance(1);
    expect(reporter.lastStatus('a')).toBeUndefined();
    expect(journal.take('status').size).toBe(0);
  });

  it('says that pods are gone when the journal is on the disk, not before', async () => {
    await bus.start();
    await clock.advance(1);
    const syncsWhenHeard: number[] = [];
    const server = broker.bus({ clientId: 'other' });
    server.subscribe(filters.allPodStatuses(), () => syncsWhenHeard.push(journal.syncs));
    await server.start();
    await clock.advance(1);
    reporter.podGone(pod('a'), { phase: 'Succeeded' });
    reporter.podGone(pod('b'), { phase: 'Succeeded' });
    await clock.advance(50);
    // One fsync for both.
    expect(syncsWhenHeard).toEqual([1, 1]);
  });

  it('knows after a restart how its pods stood, and forgets those that went meanwhile', async () => {
    reporter.podStatus(pod('a'), running);
    reporter.podStatus(pod('b'), running);
    await reporter.stop();
    desired.delete('b');
    journal = journal.reopened();
    const next = await makeReporter(2);
    expect(next.lastStatus('a')).toEqual(running);
    await bus.start();
    await clock.advance(1);
    expect(next.lastStatus('b')).toBeUndefined();
    next.podStatus(pod('a'), { phase: 'Failed' });
    await clock.advance(1);
    expect(last().status.phase).toBe('Failed');
  });

  it('keeps the newest events, in order, and drops the oldest', async () => {
    for (let index = 0; index < 300; index += 1) {
      reporter.event({
        namespace: 'd',
        name: 'p',
        uid: 'a',
        kind: 'Pod',
        type: 'Normal',
        reason: 'R',
        message: String(index),
      });
    }
    await bus.start();
    await clock.advance(1000);
    expect(events.map(({ message }) => Number(message))).toEqual(
      Array.from({ length: 256 }, (_, index) => index + 44),
    );
    expect(events[0]?.time).toBe('2026-01-01T00:00:00Z');
  });
});
