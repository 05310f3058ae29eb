import { beforeEach, describe, expect, it } from 'vitest';
import { ImageCollector } from '../../../../src/agent/images/collector.ts';
import type { ListedImage } from '../../../../src/agent/images/engine.ts';
import { ImageInventory, reportedImages } from '../../../../src/agent/images/inventory.ts';
import { ImageRecords } from '../../../../src/agent/images/records.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { FakeDesired, testPod } from '../../../support/fake-node.ts';
import { MemoryJournal } from '../../../support/memory-journal.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const CAPACITY = 1000;

describe('image garbage collection', () => {
  let clock: VirtualClock;
  let images: Map<string, ListedImage>;
  let inUse: Set<string>;
  let desired: FakeDesired;
  let journal: MemoryJournal;
  let records: ImageRecords;
  let removed: string[];
  let events: string[];
  let pinned: Set<string>;
  let other: number;
  let ready: boolean;
  let broken: boolean;
  beforeEach(() => {
    clock = new VirtualClock();
    images = new Map();
    inUse = new Set();
    desired = new FakeDesired();
    journal = new MemoryJournal();
    records = new ImageRecords({ journal, clock });
    removed = [];
    events = [];
    pinned = new Set();
    other = 0;
    ready = true;
    broken = false;
  });

  const engine = {
    list: async () => [...images.values()].map((image) => ({ ...image })),
    inUse: async () => inUse,
    remove: async (name: string) => {
      for (const image of images.values()) {
        if (![image.id, ...image.tags, ...image.digests].includes(name)) continue;
        if (inUse.has(image.id)) return false;
        removed.push(name);
        image.tags = image.tags.filter((tag) => tag !== name);
        // Docker forgets the digests with the last tag.
        if (image.tags.length === 0) image.digests = [];
        if (image.tags.length === 0) images.delete(image.id);
      }
      return true;
    },
  };
  const available = (): number =>
    CAPACITY - other - [...images.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const inventory = () => new ImageInventory({ engine, desired, records, clock });
  const collector = (limits: Partial<ConstructorParameters<typeof ImageCollector>[0]['limits']> = {}) =>
    new ImageCollector({
      engine,
      inventory: inventory(),
      records,
      pinned: () => pinned,
      ready: () => ready,
      disk: async () => {
        if (broken) throw new Error('no disk');
        return { capacityBytes: CAPACITY, availableBytes: available() };
      },
      limits: { highThreshold: 85, lowThreshold: 80, minimumAgeMs: 120_000, maximumAgeMs: 0, ...limits },
      tell: (reason, message) => void events.push(`${reason}: ${message}`),
      onCollected: () => {},
      clock,
      logger: silentLogger,
    });

  /** As a pull leaves it. */
  function pulled(name: string, sizeBytes: number): string {
    const id = `sha256:${name}`;
    images.set(id, {
      id,
      tags: [name],
      digests: [`${name.split(':')[0]}@sha256:${name.replace(':', '')}`],
      sizeBytes,
    });
    records.pulled(id, { name, before: undefined });
    return id;
  }
  function preloaded(name: string, sizeBytes: number): string {
    const id = `sha256:${name}`;
    images.set(id, { id, tags: [name], digests: [], sizeBytes });
    return id;
  }
  async function seenFor(subject: ImageCollector, milliseconds: number): Promise<void> {
    await subject.check();
    await clock.advance(milliseconds);
  }

  it('begins at the high threshold and ends at the low one, the longest unused first', async () => {
    const subject = collector();
    for (const name of ['a:1', 'b:1', 'c:1']) {
      const id = pulled(name, 250);
      inUse.add(id);
    }
    await seenFor(subject, 60_000);
    for (const name of ['b:1', 'c:1', 'a:1']) {
      inUse.delete(`sha256:${name}`);
      await seenFor(subject, 60_000);
    }
    expect(removed).toEqual([]);
    other = 150;
    await subject.check();
    // 900 of 1000 are used: 100 have to go, and one image has more.
    expect(removed).toEqual(['b:1']);
    expect(events).toEqual([]);
  });

  it('keeps the order over a restart of the agent, whatever the clock does', async () => {
    let subject = collector();
    for (const name of ['a:1', 'b:1']) inUse.add(pulled(name, 450));
    await seenFor(subject, 1000);
    inUse.delete('sha256:b:1');
    await seenFor(subject, 1000);
    inUse.clear();
    await seenFor(subject, 1000);
    const writes = journal.writes;
    journal = journal.reopened();
    records = new ImageRecords({ journal, clock });
    subject = collector();
    await seenFor(subject, 120_000);
    await subject.check();
    expect(removed).toEqual(['b:1']);
    expect(writes).toBe(4);
  });

  it('never takes what is in use, wanted, pinned, local, too new, or of somebody else', async () => {
    const subject = collector();
    inUse.add(pulled('used:1', 100));
    pulled('wanted:1', 100);
    pulled('volume:1', 100);
    pinned.add(pulled('pinned:1', 100));
    pulled('copepod.local/busybox:1', 100);
    preloaded('mine:1', 100);
    const both = pulled('both:1', 100);
    images.get(both)?.tags.push('my-own:1');
    desired.set(
      testPod('p', {
        containers: [{ name: 'c', image: 'docker.io/library/wanted:1' }],
        volumes: [{ name: 'v', image: { reference: 'volume:1' } }],
      }),
    );
    await seenFor(subject, 200_000);
    pulled('new:1', 250);
    await subject.check();
    await clock.advance(200_000);
    await subject.check();
    expect(removed).toEqual(['new:1']);
    expect(events.some((each) => each.startsWith('FreeDiskSpaceFailed'))).toBe(true);
  });

  it('gives up images of pods that have ended', async () => {
    const subject = collector();
    pulled('job:1', 900);
    const pod = testPod('p', { containers: [{ name: 'c', image: 'job:1' }] });
    desired.set(pod);
    await seenFor(subject, 200_000);
    expect(removed).toEqual([]);
    desired.set({ ...pod, status: { phase: 'Succeeded' } });
    await subject.check();
    expect(removed).toEqual(['job:1']);
  });

  it('says what it could not free, and from the second time on that it fails', async () => {
    const subject = collector();
    other = 900;
    await subject.check();
    const message =
      'Failed to garbage collect required amount of images. Attempted to free 100 bytes, but only found 0 bytes eligible to free.';
    expect(events).toEqual([`FreeDiskSpaceFailed: ${message}`]);
    await subject.check();
    expect(events).toEqual([
      `FreeDiskSpaceFailed: ${message}`,
      `FreeDiskSpaceFailed: ${message}`,
      `ImageGCFailed: ${message}`,
    ]);
    broken = true;
    await subject.check();
    expect(events.at(-1)).toBe('ImageGCFailed: no disk');
  });

  it('does nothing by itself at 100 percent, and nothing before it is known what runs here', async () => {
    pulled('a:1', 900);
    const off = collector({ highThreshold: 100 });
    await seenFor(off, 300_000);
    await off.check();
    ready = false;
    const subject = collector();
    await seenFor(subject, 300_000);
    await subject.check();
    expect(removed).toEqual([]);
    ready = true;
    expect(await subject.collect({})).toEqual({ freedBytes: 0 });
    await clock.advance(120_000);
    expect(await subject.collect({})).toEqual({ freedBytes: 900 });
  });

  it('removes what was unused for too long, with room or without', async () => {
    const subject = collector({ maximumAgeMs: 3_600_000 });
    const id = pulled('a:1', 10);
    inUse.add(id);
    await seenFor(subject, 3_000_000);
    // A jump of the wall clock is no age.
    clock.jump(10 * 3_600_000);
    inUse.clear();
    await seenFor(subject, 3_000_000);
    await subject.check();
    expect(removed).toEqual([]);
    await clock.advance(600_000);
    await subject.check();
    expect(removed).toEqual(['a:1']);
  });

  it('frees no more than it is asked for', async () => {
    const subject = collector({ minimumAgeMs: 0 });
    for (const name of ['a:1', 'b:1', 'c:1']) pulled(name, 100);
    expect(await subject.collect({ freeBytes: 150 })).toEqual({ freedBytes: 200 });
    expect(images.size).toBe(1);
  });

  it('keeps the record of what is pulled while the engine lists its images', async () => {
    const slow = {
      ...engine,
      list: async () => {
        const listed = await engine.list();
        pulled('a:1', 10);
        return listed;
      },
    };
    await new ImageInventory({ engine: slow, desired, records, clock }).look();
    expect(records.all().size).toBe(1);
  });

  it('forgets records of images that somebody removed', async () => {
    pulled('a:1', 10);
    images.clear();
    await inventory().look();
    expect(records.all().size).toBe(0);
  });
});

it('node.status.images: named ones, the largest first, fifty of them with five names', () => {
  const list = Array.from({ length: 60 }, (_, index) => ({
    id: String(index),
    tags: Array.from({ length: 6 }, (__, tag) => `a:${tag}`),
    digests: ['a@sha256:1'],
    sizeBytes: index,
  }));
  const reported = reportedImages([{ id: 'x', tags: [], digests: [], sizeBytes: 999 }, ...list]);
  expect(reported).toHaveLength(50);
  expect(reported[0]).toEqual({ names: ['a@sha256:1', 'a:0', 'a:1', 'a:2', 'a:3'], sizeBytes: 59 });
});
