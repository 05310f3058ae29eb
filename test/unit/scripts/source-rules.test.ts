import { describe, expect, it } from 'vitest';
import { checkSources } from '../../../scripts/lib/source-rules.mjs';

const rulesOf = (files: Record<string, string>): string[] =>
  checkSources(new Map(Object.entries(files))).map(({ path, line, rule }) => `${path}:${line}: ${rule}`);

describe('import rules', () => {
  it.each([
    ['src/agent/worker.ts', '../server/store/port.ts', 'src/agent may not import src/server/store/port.ts'],
    ['src/server/bus/hub.ts', '../../agent/agent.ts', 'src/server may not import src/agent/agent.ts'],
    [
      'src/server/controllers/job.ts',
      '../store/port.ts',
      'src/server/controllers may not import src/server/store/port.ts',
    ],
    ['src/scheduler/queue.ts', '../server/registry/port.ts', 'src/scheduler may not import'],
    [
      'src/api/object.ts',
      '../lib/clock.ts',
      'src/api may not import src/lib/clock.ts (it may: nothing of ours)',
    ],
    ['src/main.ts', './server/store/port.ts', 'src/main.ts may not import src/server/store/port.ts'],
    ['src/cli/token.ts', '../server/identity/identity.ts', 'src/cli may not import'],
    ['src/new/thing.ts', '../lib/clock.ts', 'no rule for src/new/thing.ts'],
  ])('%s may not import %s', (path, specifier, rule) => {
    const [first, ...rest] = rulesOf({ [path]: `import type { X } from '${specifier}';\n` });
    expect(first).toContain(rule);
    expect(rest).toEqual([]);
  });

  it.each([
    ['src/agent/worker.ts', '../wire/topics.ts'],
    ['src/agent/docker/runtime.ts', 'dockerode'],
    ['src/agent/journal-file.ts', 'better-sqlite3'],
    ['src/server/server.ts', '../scheduler/scheduler.ts'],
    ['src/server/controllers/job.ts', './context.ts'],
    ['src/main.ts', './agent/agent.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(rulesOf({ [path]: `import { x } from '${specifier}';\n` })).toEqual([]);
  });

  it('sees every way to import', () => {
    const bad = '../server/store/port.ts';
    for (const code of [
      `import {\n  a,\n  b,\n} from '${bad}';`,
      `import '${bad}';`,
      `export * from '${bad}';`,
      `export type { A } from '${bad}';`,
      `const a = await import('${bad}');`,
      `type A = import('${bad}').A;`,
    ]) {
      expect(rulesOf({ 'src/agent/a.ts': code }), code).toHaveLength(1);
    }
  });

  it('keeps packages where they belong', () => {
    expect(rulesOf({ 'src/agent/worker.ts': `import Docker from 'dockerode';` })).toEqual([
      'src/agent/worker.ts:1: dockerode may only be imported in src/agent/docker',
    ]);
  });

  it('reports a circle of values once, and allows circles of types and lazy imports', () => {
    const files = {
      'src/lib/a.ts': `import { b } from './b.ts';`,
      'src/lib/b.ts': `import { c } from './c.ts';`,
      'src/lib/c.ts': `import { a } from './a.ts';`,
    };
    expect(rulesOf(files)).toEqual([
      'src/lib/a.ts:1: circle of imports: src/lib/a.ts -> src/lib/b.ts -> src/lib/c.ts -> src/lib/a.ts',
    ]);
    expect(rulesOf({ ...files, 'src/lib/c.ts': `import type { a } from './a.ts';` })).toEqual([]);
    expect(rulesOf({ ...files, 'src/lib/c.ts': `const a = () => import('./a.ts');` })).toEqual([]);
  });
});

describe('banned texts', () => {
  it.each([
    ['Date.now()', 'Date.now'],
    ['new Date()', 'new Date()'],
    ['performance.now()', 'performance.now'],
    ['setTimeout(() => {}, 1)', 'setTimeout'],
    ['setInterval(() => {}, 1)', 'setInterval'],
    ['Math.random()', 'Math.random'],
    ['crypto.randomUUID()', 'randomUUID'],
    ['db.prepare("SELECT * FROM objects")', 'SQL'],
    ['bus.publish("copepod/v1/nodes/a")', 'MQTT topic'],
  ])('%s', (code, name) => {
    expect(rulesOf({ 'src/server/http/a.ts': `\nconst x = ${code};\n` })).toEqual([
      `src/server/http/a.ts:2: ${name} is banned here`,
    ]);
  });

  it('allows them where they belong, and in comments', () => {
    expect(
      rulesOf({
        'src/lib/clock.ts': 'export const now = () => Date.now();',
        'src/server/store/sqlite.ts': 'const sql = `SELECT 1`;',
        'src/wire/topics.ts': "const root = 'copepod/v1';",
        'src/agent/a.ts': '// Date.now() is banned\n/* setTimeout(x) */ const at = new Date(clock.now());',
      }),
    ).toEqual([]);
  });

  it('forbids tests that are switched off or sleep', () => {
    expect(rulesOf({ 'test/unit/a.test.ts': 'it.skip("x", () => {});' })).toHaveLength(1);
    expect(rulesOf({ 'test/unit/a.test.ts': 'await new Promise((r) => setTimeout(r, 100));' })).toHaveLength(
      1,
    );
  });
});

describe('files', () => {
  it('are not called utils and are not long', () => {
    expect(rulesOf({ 'src/lib/string-utils.ts': '' })).toEqual([
      'src/lib/string-utils.ts:1: no file or folder is called utils',
    ]);
    expect(rulesOf({ 'src/lib/long.ts': 'x\n'.repeat(500) })).toEqual([]);
    expect(rulesOf({ 'src/lib/long.ts': 'x\n'.repeat(501) })).toEqual([
      'src/lib/long.ts:500: 501 lines, at most 500',
    ]);
  });
});
