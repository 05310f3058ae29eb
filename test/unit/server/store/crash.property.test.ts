import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Logger } from '../../../../src/lib/logger.ts';
import { WriteFailed } from '../../../../src/server/store/errors.ts';
import { MemoryDisk, MemoryEngine } from '../../../../src/server/store/memory-engine.ts';
import {
  type Durability,
  RevisionConflict,
  type StoreEvent,
  type Write,
} from '../../../../src/server/store/port.ts';
import { ObjectStore } from '../../../../src/server/store/store.ts';
import { configMap, contents, noteOf, show } from '../../../support/store-objects.ts';
import { VirtualClock, type VirtualClockView } from '../../../support/virtual-clock.ts';

const BUCKET = 'configmaps';
const KEYS = ['a/1', 'a/2', 'b/1', 'b/2'];

type Step =
  | { do: 'commit'; writes: { key: number; remove: boolean; stale: boolean; durability: Durability }[] }
  | { do: 'pause' | 'resume' | 'fail' | 'settle' | 'stop' }
  | { do: 'wait'; ms: number }
  | { do: 'crash'; surviving: number };

const write = fc.record({
  key: fc.nat(KEYS.length - 1),
  remove: fc.boolean(),
  stale: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
  durability: fc.constantFrom<Durability>('durable', 'coalesced', 'volatile'),
});
const commit = fc.record({
  do: fc.constant('commit' as const),
  writes: fc.uniqueArray(write, { minLength: 1, maxLength: 3, selector: ({ key }) => key }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: commit },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('pause' as const, 'resume' as const, 'fail' as const) }),
  },
  { weight: 3, arbitrary: fc.constant({ do: 'settle' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1000, 61_000, 700_000) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), surviving: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'stop' as const }) },
);

/** One write that the harness asked for. Attempts on one key are in the order of their revisions. */
interface Attempt {
  /** What the object says, or undefined for a deletion. */
  readonly note: string | undefined;
  readonly durable: boolean;
  fate: 'open' | 'acknowledged' | 'failed';
}

/** Drives a store over a disk that fails and crashes, and checks all along what a store promises. */
class Harness {
  private readonly disk = new MemoryDisk();
  private readonly clock = new VirtualClock();
  /** The store logs what a watcher throws, and ours throws when an expectation fails. */
  private readonly thrown: unknown[] = [];
  private readonly logger: Logger = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields, message) => {
      if (message === 'a watcher threw') this.thrown.push((fields as { err: unknown }).err);
    },
    child: () => this.logger,
  };
  private life: VirtualClockView = this.clock.view();
  private store = this.newStore();
  /** Per key, what was found at the last start and what was attempted since. */
  private readonly attempts = new Map<string, Attempt[]>(KEYS.map((key) => [key, []]));
  /** What the watch says that the bucket holds. */
  private readonly mirror = new Map<string, string>();
  private newestSeen = 0;
  private notes = 0;

  async run(steps: readonly Step[]): Promise<void> {
    await this.boot();
    for (const each of steps) {
      await this.perform(each);
      if (this.thrown.length > 0) throw this.thrown[0];
      const watched = [...this.mirror.values()].sort();
      expect(contents(this.store), 'list and watch differ').toEqual(watched);
    }
    await this.crash(0);
  }

  private newStore(): ObjectStore {
    return new ObjectStore({
      engine: new MemoryEngine({ disk: this.disk, clock: this.life }),
      clock: this.life,
      logger: this.logger,
      freeze: true,
      limits: { reserveBlock: 8, batchChanges: 3, historyChanges: 6 },
    });
  }

  private async perform(step: Step): Promise<void> {
    switch (step.do) {
      case 'commit':
        return this.commit(step.writes);
      case 'pause':
        return this.disk.pause();
      case 'resume':
        this.disk.resume();
        return await this.clock.settle();
      case 'fail':
        return this.disk.failNext();
      case 'settle':
        return await this.clock.settle();
      case 'wait':
        return await this.clock.advance(step.ms);
      case 'crash':
        return await this.crash(step.surviving);
      case 'stop':
        return await this.stop();
    }
  }

  private commit(wanted: Extract<Step, { do: 'commit' }>['writes']): void {
    const stale = wanted.some((each) => each.stale);
    const durable = wanted.some(({ durability }) => durability === 'durable');
    const attempts: Attempt[] = [];
    const writes: Write[] = wanted.map(({ key: index, remove, stale: wrong, durability }) => {
      const key = KEYS[index] as string;
      const head = this.store.head(BUCKET, key);
      this.notes += 1;
      const note = remove && head ? undefined : `${this.notes}`;
      const object = note === undefined ? undefined : configMap(key, note);
      if (!stale) {
        const attempt: Attempt = { note, durable, fate: 'open' };
        attempts.push(attempt);
        this.attempts.get(key)?.push(attempt);
      }
      return { bucket: BUCKET, key, object, expected: (head?.revision ?? 0) + (wrong ? 1 : 0), durability };
    });
    this.store.commit(writes).then(
      (results) => {
        expect(stale).toBe(false);
        expect(results.at(-1)?.revision).toBeLessThanOrEqual(this.newestSeen);
        for (const attempt of attempts) attempt.fate = 'acknowledged';
      },
      (error) => {
        expect(error).toBeInstanceOf(stale ? RevisionConflict : WriteFailed);
        for (const attempt of attempts) attempt.fate = 'failed';
      },
    );
  }

  private observe(event: StoreEvent): void {
    expect(event.revision, 'out of order').toBeGreaterThan(this.newestSeen);
    expect(this.store.revision).toBe(event.revision);
    expect(this.mirror.has(event.key), event.type).toBe(event.type !== 'ADDED');
    this.newestSeen = event.revision;
    if (event.type === 'DELETED') this.mirror.delete(event.key);
    else this.mirror.set(event.key, show(event));
  }

  private async crash(surviving: number): Promise<void> {
    this.life.stop();
    this.disk.crash(surviving);
    await this.clock.settle();
    await this.boot();
  }

  /** In good order; the last flush may fail. */
  private async stop(): Promise<void> {
    this.disk.resume();
    const stopped = this.store.stop().catch(() => {});
    await this.clock.settle();
    await stopped;
    await this.boot();
  }

  private async boot(): Promise<void> {
    this.life = this.clock.view();
    this.store = this.newStore();
    await this.store.start();
    expect(this.store.revision, 'revisions went back').toBeGreaterThanOrEqual(this.newestSeen);
    this.newestSeen = this.store.revision;
    this.mirror.clear();
    for (const key of KEYS) this.checkSurvivor(key);
    this.store.watch(BUCKET, undefined, (event) => this.observe(event));
  }

  /** A crash goes back at most to the newest acknowledged durable write, and never to what had failed. */
  private checkSurvivor(key: string): void {
    const found = this.store.get(BUCKET, key);
    const attempts = this.attempts.get(key) as Attempt[];
    const last = attempts.findLastIndex(({ durable, fate }) => durable && fate === 'acknowledged');
    const possible = attempts.slice(Math.max(0, last)).filter(({ fate }) => fate !== 'failed');
    if (attempts.length > 0) expect(possible.map(({ note }) => note)).toContain(noteOf(found));
    this.attempts.set(key, [{ note: noteOf(found), durable: true, fate: 'acknowledged' }]);
    if (found) this.mirror.set(key, show(found));
  }
}

test('whatever fails and whenever it crashes: acknowledged writes survive, order rises, nothing goes back', async () => {
  const property = fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
    await new Harness().run(steps);
  });
  await fc.assert(property, { numRuns: 1000 });
}, 60_000);
