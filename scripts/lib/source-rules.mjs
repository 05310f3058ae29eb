// The rules of the source tree, as tables with their reasons. check-imports.mjs applies them; test/unit/scripts tests
// that each one bites. Pure: files in, violations out.

/** Which of our folders a folder may import from. Rows are tried in order; the first whose `from` matches counts. */
export const IMPORT_RULES = [
  {
    from: 'src/main.ts',
    may: ['src/cli', 'src/config', 'src/lib', 'src/server/server.ts', 'src/agent/agent.ts'],
    reason: 'main chooses a mode; what a mode is made of is the business of its composition root',
  },
  { from: 'src/api', may: [], reason: 'the API types are what everybody shares: they may depend on nothing' },
  { from: 'src/lib', may: [], reason: 'ports for time, randomness and the like: they may depend on nothing' },
  { from: 'src/config', may: [], reason: 'every mode reads it, also those without a server or an agent' },
  {
    from: 'src/cli',
    may: ['src/config', 'src/lib', 'src/api'],
    reason: 'a command line must start fast and small; it talks to a server by its API or its files',
  },
  {
    from: 'src/wire',
    may: ['src/api', 'src/lib'],
    reason: 'messages are data; both ends share them and nothing else',
  },
  { from: 'src/client', may: ['src/api', 'src/lib'], reason: 'the client port does not know who serves it' },
  {
    from: 'src/server/server.ts',
    may: [
      'src/server',
      'src/client',
      'src/wire',
      'src/api',
      'src/lib',
      'src/config',
      'src/scheduler',
      'src/health',
    ],
    reason: 'the composition root of the server wires its parts; it never knows an agent',
  },
  {
    from: 'src/server/control-plane.ts',
    may: ['src/server', 'src/client', 'src/wire', 'src/api', 'src/lib', 'src/scheduler', 'src/health'],
    reason: 'the part of the composition root that the simulation runs too: everything below HTTP',
  },
  {
    from: 'src/server/controllers',
    may: ['src/client', 'src/api', 'src/lib'],
    reason:
      'controllers see the API as any client does, so that they can run outside the server and on a fake',
  },
  {
    from: 'src/server',
    may: ['src/client', 'src/wire', 'src/api', 'src/lib'],
    reason: 'server and agent meet on the wire only; nothing in the server depends on how it was configured',
  },
  {
    from: 'src/scheduler',
    may: ['src/client', 'src/api', 'src/lib'],
    reason: 'the scheduler is a client of the API: no store, no HTTP, no agent',
  },
  {
    from: 'src/health',
    may: ['src/api', 'src/lib', 'src/client'],
    reason: 'probes and monitors run on either side and depend on neither',
  },
  {
    from: 'src/agent/agent.ts',
    may: ['src/agent', 'src/wire', 'src/api', 'src/lib', 'src/health', 'src/config'],
    reason: 'the composition root of the agent wires its parts; it never knows the server',
  },
  {
    from: 'src/agent',
    may: ['src/wire', 'src/api', 'src/lib', 'src/health'],
    reason: 'server and agent meet on the wire only: an agent runs alone on a board of 64 MB',
  },
  { from: 'src/dashboard', may: [], reason: 'the browser knows the public API only' },
];

/** Packages that only some folders may import. */
export const PACKAGE_RULES = [
  {
    package: 'dockerode',
    only: ['src/agent/docker'],
    reason: 'everybody else knows containers by the runtime port, which a fake can play',
  },
  {
    package: 'better-sqlite3',
    only: ['src/server/store', 'src/agent/journal'],
    reason:
      'the store has the database of the server; the journal, which the agent cold-boots from, is a small one of its own',
  },
  { package: 'aedes', only: ['src/wire', 'src/server/bus'], reason: 'the broker is part of the wire' },
  {
    package: 'mqtt',
    only: ['src/wire', 'src/agent', 'src/server/bus'],
    reason: 'the rest knows the MessageBus port',
  },
  {
    package: 'systeminformation',
    only: ['src/health', 'src/agent'],
    reason: 'boards are measured in one place',
  },
  { package: 'preact', only: ['src/dashboard'], reason: 'the dashboard is the only page' },
];

/** Texts that may stand in some files only. `in` limits a rule to a part of the tree. */
export const TEXT_RULES = [
  ...[
    ['Date.now', /\bDate\.now\b/, 'clock.now()'],
    ['new Date()', /\bnew Date\(\s*\)/, 'new Date(clock.now())'],
    ['performance.now', /\bperformance\.now\b/, 'clock.monotonic()'],
    ['process.hrtime', /\bprocess\.hrtime\b/, 'clock.monotonic()'],
    ['setTimeout', /\bsetTimeout\s*\(/, 'clock.after()'],
    ['setInterval', /\bsetInterval\s*\(/, 'clock.every()'],
    ['timers/promises', /['"](node:)?timers\/promises['"]/, 'sleep(clock, …)'],
    ['Math.random', /\bMath\.random\b/, 'random.number()'],
    ['randomUUID', /\brandomUUID\b/, 'random.uuid()'],
  ].map(([name, pattern, instead]) => ({
    name,
    pattern,
    in: ['src'],
    except: ['src/lib', 'src/dashboard'],
    reason: `time and randomness come through src/lib, so that the simulation can replay: use ${instead}`,
  })),
  {
    name: 'SQL',
    // Upper-case statements inside a string: prose does not look like this.
    pattern:
      /['"`]\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX)\s|PRAGMA\s)/,
    in: ['src'],
    except: ['src/server/store', 'src/agent/journal'],
    reason: 'only the store (and the journal of the agent, its own small database) knows how things are kept',
  },
  {
    name: 'MQTT topic',
    pattern: /['"`]copepod\/v1/,
    in: ['src'],
    except: ['src/wire/topics.ts'],
    reason: 'src/wire/topics.ts is the one list of topics; who may use which is decided from it',
  },
  {
    name: 'test switched off',
    pattern: /\b(it|test|describe)\.(skip|only|todo)\b/,
    in: ['test'],
    except: ['test/unit/scripts'],
    reason: 'a test that does not run tells nothing; mend it or remove it',
  },
  {
    name: 'sleeping test',
    pattern: /\bsetTimeout\s*\(|['"](node:)?timers\/promises['"]/,
    in: ['test'],
    except: ['test/support', 'test/unit/scripts'],
    reason: 'tests wait for a condition with a deadline (test/support/wait.ts) or turn an injected clock',
  },
];

/** Files longer than this have more than one subject, or are on the list below with their reason. */
export const LONGEST_FILE = 500;
export const LONG_FILES = {};

/** Generated, or data. */
export const NOT_OURS = ['src/api/types/', 'src/api/data/', 'test/golden/'];

const inside = (path, place) =>
  path === place ||
  path.startsWith(place.endsWith('/') ? place : `${place}/`) ||
  path.replace(/\.tsx?$/, '') === place ||
  // `src/agent/journal` also stands for journal-crypto.ts and the like beside journal.ts.
  (path.startsWith(`${place}-`) && !path.slice(place.length).includes('/'));

/** Removes comments, so that prose may name what code may not. Strings stay; line numbers stay. */
export function withoutComments(text) {
  return text.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (whole, quoted) => (quoted ? whole : whole.replace(/[^\n]/g, ' ')),
  );
}

/** Every module that a file names: static and dynamic imports, re-exports, with line and whether types only. */
export function importsOf(text) {
  const found = [];
  const pattern =
    /(?:^|\n|;)\s*(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;
  for (const match of text.matchAll(pattern)) {
    const specifier = match[2] ?? match[3];
    const at = match.index + match[0].lastIndexOf(specifier);
    found.push({
      specifier,
      typeOnly: Boolean(match[1]),
      dynamic: match[3] !== undefined,
      line: text.slice(0, at).split('\n').length,
    });
  }
  return found;
}

function resolveImport(from, specifier) {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

const packageOf = (specifier) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** `files`: path (relative, with slashes) -> text. Returns violations as {path, line, rule, reason}. */
export function checkSources(files) {
  const violations = [];
  const graph = new Map();
  for (const [path, original] of files) {
    if (NOT_OURS.some((place) => path.startsWith(place))) continue;
    const text = withoutComments(original);
    const report = (line, rule, reason) => violations.push({ path, line, rule, reason });
    const edges = [];
    for (const imported of importsOf(text)) {
      if (imported.specifier.startsWith('.')) {
        const target = resolveImport(path, imported.specifier);
        if (!imported.typeOnly && !imported.dynamic) edges.push(target);
        checkOwnImport(path, target, imported.line, report);
      } else {
        checkPackage(path, imported, report);
      }
    }
    graph.set(path, edges);
    checkText(path, text, report);
    checkFile(path, original, report);
  }
  return [...violations, ...cycles(graph)];
}

function checkOwnImport(path, target, line, report) {
  if (!path.startsWith('src/') || !target.startsWith('src/')) {
    if (path.startsWith('src/') && target !== 'package.json') {
      report(line, `${path} may not import ${target}`, 'src is what is shipped: it stands alone');
    }
    return;
  }
  const rule = IMPORT_RULES.find(({ from }) => inside(path, from));
  if (!rule) {
    report(
      1,
      `no rule for ${path}`,
      'every folder of src has a row in IMPORT_RULES (scripts/lib/source-rules.mjs)',
    );
    return;
  }
  if (inside(target, rule.from) || rule.may.some((place) => inside(target, place))) return;
  // A folder inside a folder with a rule of its own, e.g. the parts of controllers among themselves.
  const may = rule.may.length > 0 ? rule.may.join(', ') : 'nothing of ours';
  report(line, `${rule.from} may not import ${target} (it may: ${may})`, rule.reason);
}

function checkPackage(path, { specifier, line }, report) {
  const rule = PACKAGE_RULES.find((candidate) => candidate.package === packageOf(specifier));
  if (rule && path.startsWith('src/') && !rule.only.some((place) => inside(path, place))) {
    report(line, `${rule.package} may only be imported in ${rule.only.join(', ')}`, rule.reason);
  }
}

function checkText(path, text, report) {
  for (const rule of TEXT_RULES) {
    if (!rule.in.some((place) => inside(path, place)) || rule.except.some((place) => inside(path, place)))
      continue;
    const match = rule.pattern.exec(text);
    if (match)
      report(text.slice(0, match.index).split('\n').length, `${rule.name} is banned here`, rule.reason);
  }
}

function checkFile(path, text, report) {
  const name = path.split('/').at(-1) ?? '';
  if (/(^|[-.])util(s|ities)?([-.]|$)/i.test(name) || /(^|\/)utils?\//.test(path)) {
    report(
      1,
      'no file or folder is called utils',
      'name it by its subject, so that it can be found and cannot grow by accident',
    );
  }
  const lines = text.split('\n').length - 1;
  const longest = LONG_FILES[path]?.lines ?? LONGEST_FILE;
  if (path.startsWith('src/') && lines > longest) {
    report(
      longest,
      `${lines} lines, at most ${longest}`,
      'a file has one subject: split it, or list it in LONG_FILES with the reason',
    );
  }
}

/** Circles of static imports of values; each is reported once, at its alphabetically first file. */
function cycles(graph) {
  const found = new Map();
  const state = new Map();
  const stack = [];
  const visit = (path) => {
    state.set(path, 'open');
    stack.push(path);
    for (const next of graph.get(path) ?? []) {
      if (!graph.has(next)) continue;
      if (state.get(next) === 'open') {
        const circle = stack.slice(stack.indexOf(next));
        const first = circle.indexOf([...circle].sort()[0]);
        const turned = [...circle.slice(first), ...circle.slice(0, first)];
        found.set(turned.join(), turned);
      } else if (!state.has(next)) {
        visit(next);
      }
    }
    stack.pop();
    state.set(path, 'done');
  };
  for (const path of [...graph.keys()].sort()) if (!state.has(path)) visit(path);
  return [...found.values()].map((circle) => ({
    path: circle[0],
    line: 1,
    rule: `circle of imports: ${[...circle, circle[0]].join(' -> ')}`,
    reason: 'neither file can be understood or tested without the other: move what both need to a third',
  }));
}
