// The victim of kill.test.ts: `node writer-process.ts <database> <seed>`. Prints what it found, then commits from 16
// writers for ever and prints each acknowledgement as soon as it has it.
import { writeSync } from 'node:fs';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { type Durability, RevisionConflict } from '../../../src/server/store/port.ts';
import { SqliteEngine } from '../../../src/server/store/sqlite-engine.ts';
import { ObjectStore } from '../../../src/server/store/store.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { noteOf, put, remove } from '../../support/store-objects.ts';

const [file = '', seed = ''] = process.argv.slice(2);
const clock = new SystemClock();
const engine = new SqliteEngine({ file, clock, worker: { checkpointBytes: 128 * 1024 } });
const store = new ObjectStore({ engine, clock, logger: silentLogger, limits: { reserveBlock: 50 } });

function print(...words: (string | number)[]): void {
  writeSync(1, `${words.join(' ')}\n`);
}

async function write(random: SeededRandom, note: string): Promise<void> {
  const key = `ns/${random.integer(40)}`;
  const durability: Durability = random.chance(0.7) ? 'durable' : 'coalesced';
  const head = store.head('configmaps', key);
  const deletion = head !== undefined && random.chance(0.2);
  const change = deletion
    ? remove(key, head.revision, durability)
    : put(key, head?.revision ?? 0, `${note}${'.'.repeat(random.integer(3000))}`, durability);
  // The second key makes commits of several objects; nobody else writes it.
  const pair = `${key}-${note}`;
  const both = durability === 'durable' && !deletion && random.chance(0.2);
  if (deletion) print('deleting', key);
  try {
    const [stored] = await store.commit(both ? [change, put(pair, 0, note)] : [change]);
    print('ack', key, stored?.revision ?? 0, deletion ? '-' : note, durability);
    if (both) print('ack', pair, store.get('configmaps', pair)?.revision ?? 0, note, durability);
  } catch (error) {
    if (!(error instanceof RevisionConflict) || deletion) throw error;
  }
}

await store.start();
for (const stored of store.list('configmaps')) {
  const { namespace, name } = stored.object.metadata;
  print('found', `${namespace}/${name}`, stored.revision, (noteOf(stored) ?? '').replace(/\.+$/, ''));
}
print('started', store.revision);

for (let writer = 0; writer < 16; writer += 1) {
  const random = new SeededRandom(`${seed}/${writer}`);
  void (async () => {
    for (let count = 0; ; count += 1) await write(random, `${seed}w${writer}c${count}`);
  })();
}
