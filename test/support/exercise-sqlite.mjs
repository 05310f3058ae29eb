// argv: better-sqlite3's index, its native part, a database file. Exercises the native part in the main thread and in a
// worker, makes and drops many handles, and prints what it found as JSON.

import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const [library, addon, file] = isMainThread ? process.argv.slice(2) : workerData;
const { default: Database } = await import(library);
const open = (name) => new Database(name, { nativeBinding: addon });

function fill(rows) {
  const db = open(file);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE IF NOT EXISTS t (a INTEGER, b BLOB)');
  const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
  db.transaction(() => {
    for (let row = 0; row < rows; row += 1) insert.run(row, Buffer.from(`value ${row}`));
  })();
  const { count } = db.prepare('SELECT count(*) AS count FROM t').get();
  db.close();
  return count;
}

if (!isMainThread) {
  parentPort.postMessage(fill(500));
} else {
  const main = fill(500);
  const worker = await new Promise((resolve, reject) => {
    new Worker(fileURLToPath(import.meta.url), { workerData: [library, addon, file] })
      .once('message', resolve)
      .once('error', reject);
  });
  // Handles that nobody closes are the collector's.
  for (let round = 0; round < 10; round += 1) {
    for (let index = 0; index < 50; index += 1) {
      const db = open(':memory:');
      db.prepare("SELECT 1 AS one, 1.5 AS real, NULL AS missing, 'text' AS text").all();
      if (index % 2 === 0) db.close();
    }
    globalThis.gc();
  }
  const db = open(':memory:');
  const big = String(db.prepare('SELECT 9007199254740993 AS big').safeIntegers().get().big);
  let code;
  try {
    db.exec('no such statement');
  } catch (error) {
    code = error.code;
  }
  console.log(JSON.stringify({ main, worker, code, big }));
}
