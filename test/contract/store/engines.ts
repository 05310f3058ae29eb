import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../../src/lib/clock.ts';
import { MemoryDisk, MemoryEngine } from '../../../src/server/store/memory-engine.ts';
import type { Engine } from '../../../src/server/store/port.ts';
import { SqliteEngine } from '../../../src/server/store/sqlite-engine.ts';

/** Something that keeps rows, and engines to reach it with. */
export interface Medium {
  /** A new process's engine; one at a time. */
  engine(): Engine;
  /** The process dies between two calls; what the next engine() finds is what a crash left. */
  crash(): void;
  dispose(): Promise<void>;
}

export const media: Record<string, () => Medium> = { memory, sqlite };

function memory(): Medium {
  const disk = new MemoryDisk();
  return {
    engine: () => new MemoryEngine({ disk }),
    crash: () => disk.crash(),
    dispose: async () => {},
  };
}

/** A crash is a copy of the files as they are, which is what a killed process leaves. */
function sqlite(): Medium {
  const root = mkdtempSync(join(tmpdir(), 'copepod-store-'));
  const engines: SqliteEngine[] = [];
  let file = join(root, '0.db');
  return {
    engine: () => {
      const engine = new SqliteEngine({ file, clock: new SystemClock() });
      engines.push(engine);
      return engine;
    },
    crash: () => {
      const next = join(root, `${engines.length}.db`);
      for (const suffix of ['', '-wal']) if (existsSync(file + suffix)) cpSync(file + suffix, next + suffix);
      file = next;
    },
    dispose: async () => {
      for (const engine of engines) await engine.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}
