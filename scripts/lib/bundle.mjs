// Builds the JavaScript of copepod into one flat folder that runs without node_modules:
//
//   copepod.js            entry: argv -> mode
//   store-worker.js       the store's worker thread
//   yaml-worker.js        the thread that reads one long YAML body
//   <name>-<hash>.js      what is imported lazily, or shared by the entries
//   data/*.json           the Kubernetes facts, parsed when first imported
//   dashboard/            the browser's code
//   better_sqlite3.node   the native part (see nativeAddon)
//   LICENSES.txt          licence texts of everything that was bundled
//
// All of it but the native part is the same for every architecture.
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Entry name -> source. An entry whose source is not there is left out. */
const ENTRIES = {
  copepod: 'src/main.ts',
  'store-worker': 'src/server/store/sqlite-worker.ts',
  'yaml-worker': 'src/server/http/yaml-worker.ts',
};
const DASHBOARD = 'src/dashboard';

/**
 * Modules of dependencies that are never needed here: ssh and BuildKit alone cost 18 MB of memory, the others about one.
 */
const LEFT_OUT = [
  { file: /docker-modem[/\\]lib[/\\]ssh\.js$/, what: 'Docker over ssh' },
  { file: /dockerode[/\\]lib[/\\]session\.js$/, what: 'BuildKit sessions' },
  { file: /dockerode[/\\]lib[/\\]buildkit\.js$/, what: "BuildKit's build log" },
  {
    // Calls go to the modem directly (src/agent/docker/client.ts).
    file: /dockerode[/\\]lib[/\\](container|image|volume|network|service|plugin|secret|config|task|node|exec|util)\.js$/,
    what: "dockerode's objects",
  },
  { file: /[/\\]worker-timers[/\\].*\.js$/, what: 'timers of a browser' },
  { file: /[/\\]lru-cache[/\\].*\.js$/, what: 'topic aliases of MQTT 5' },
  { file: /pino[/\\]lib[/\\]transport\.js$/, what: 'logging by a thread' },
];

/** The oldest Node the bundle must run on: armv7 has nothing newer on npm than 20.11. */
const TARGET = 'node20.11';

const leaveOut = {
  name: 'leave-out',
  setup(build) {
    for (const { file, what } of LEFT_OUT) {
      build.onLoad({ filter: file }, () => ({
        contents: `const refuse = () => { throw new Error(${JSON.stringify(`copepod is built without ${what}`)}); };
module.exports = new Proxy(refuse, { get: () => refuse });`,
        loader: 'js',
      }));
    }
    // Safety net: if another module comes to need one of these, the build says so instead of growing by megabytes.
    build.onResolve({ filter: /^(ssh2|protobufjs|@grpc\/.*)$/ }, ({ path, importer }) => ({
      errors: [
        {
          text: `${path} is left out of the bundle, but ${relative(root, importer)} wants it (scripts/lib/bundle.mjs)`,
        },
      ],
    }));
  },
};

/** `readable-stream` is a copy of Node's streams for those who have others; three versions of it came to 290 kB. */
const nodeStreams = {
  name: 'node-streams',
  setup(build) {
    build.onResolve({ filter: /^readable-stream$/ }, () => ({ path: 'stream', namespace: 'node-streams' }));
    build.onLoad({ filter: /.*/, namespace: 'node-streams' }, () => ({
      contents: `module.exports = require('stream');`,
      loader: 'js',
    }));
  },
};

/**
 * mqtt-packet keeps a Buffer of two bytes for each length that a message ever had, and each keeps the slab that it was cut
 * from: 8 kB for every new length, up to 128 MB. They are made anew instead.
 */
const lengthsNotKept = {
  name: 'lengths-not-kept',
  setup(build) {
    build.onLoad({ filter: /mqtt-packet[/\\]writeToStream\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const contents = text.replace('if (num < 16384) varByteIntCache[num] = buffer', '');
      if (contents === text) throw new Error(`${path} is not what scripts/lib/bundle.mjs expects`);
      return { contents, loader: 'js' };
    });
  },
};

/** better-sqlite3 looks for its native part in node_modules; in a bundle it lies beside the code. */
const nativeBesideBundle = {
  name: 'native-beside-bundle',
  setup(build) {
    build.onLoad({ filter: /better-sqlite3[/\\]lib[/\\]binding\.js$/ }, () => ({
      contents: `exports.getBinding = () => require('./better_sqlite3.node');`,
      loader: 'js',
    }));
    build.onResolve({ filter: /^\.\/better_sqlite3\.node$/ }, ({ path }) => ({ path, external: true }));
  },
};

/**
 * `const { parse } = await import('yaml')` works in Node for a CommonJS package too, because Node finds the names that it
 * exports; esbuild's chunk for it would have a default export only. So the chunk is made of those names.
 */
const namesOfCommonJs = {
  name: 'names-of-commonjs',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (kind !== 'dynamic-import' || pluginData === 'looking' || path.startsWith('node:')) return undefined;
      const found = await build.resolve(path, { kind, importer, resolveDir, pluginData: 'looking' });
      if (found.errors.length > 0 || found.external || isModule(found.path)) return found;
      return { path: found.path, namespace: 'commonjs', pluginData: { path, resolveDir } };
    });
    build.onLoad({ filter: /.*/, namespace: 'commonjs' }, async ({ path, pluginData }) => {
      const names = Object.keys(await import(pathToFileURL(path).href)).filter(
        (name) => name !== 'default' && /^[\w$]+$/.test(name),
      );
      return {
        contents: `import whole, * as parts from ${JSON.stringify(pluginData.path)};
export default whole;
${names.map((name) => `export const ${name} = parts.${name};`).join('\n')}`,
        loader: 'js',
        resolveDir: pluginData.resolveDir,
      };
    });
  },
};

/**
 * `import … from 'node:http'` makes Node read every name that the module exports, and reading `WebSocket` and its events
 * loads undici (3 MB that nobody here uses). `require` reads nothing.
 */
const httpWithoutUndici = {
  name: 'http-without-undici',
  setup(build) {
    build.onResolve({ filter: /^(node:)?http$/ }, ({ kind }) =>
      kind === 'require-call' ? undefined : { path: 'http', namespace: 'required' },
    );
    build.onLoad({ filter: /.*/, namespace: 'required' }, async () => {
      const names = Object.keys(await import('node:http')).filter(
        (name) => !['default', 'WebSocket', 'CloseEvent', 'MessageEvent'].includes(name),
      );
      return {
        contents: `const http = require('node:http');
export default http;
${names.map((name) => `export const ${name} = http.${name};`).join('\n')}`,
        loader: 'js',
      };
    });
  },
};

function isModule(file) {
  if (/\.[cm]js$/.test(file)) return file.endsWith('.mjs');
  for (let folder = dirname(file); folder !== '/'; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
  }
  return false;
}

/**
 * Facts stay files: their text is garbage as soon as it is parsed, where a literal in the code would stay in memory as
 * long as the code does, beside the objects made of it.
 */
const factsAsFiles = (outdir) => ({
  name: 'facts-as-files',
  setup(build) {
    build.onLoad({ filter: /src[/\\]api[/\\]data[/\\][^/\\]+\.json$/ }, ({ path }) => {
      mkdirSync(join(outdir, 'data'), { recursive: true });
      writeFileSync(
        join(outdir, 'data', basename(path)),
        JSON.stringify(JSON.parse(readFileSync(path, 'utf8'))),
      );
      return {
        contents: `import { readFileSync } from 'node:fs';
export default JSON.parse(readFileSync(new URL('./data/${basename(path)}', import.meta.url), 'utf8'));`,
        loader: 'js',
      };
    });
  },
});

/** Builds everything but the native part into `outdir` (emptied first). Returns {file: bytes}. */
export async function buildBundle(outdir) {
  // Imported here: start.mjs asks for staleness before the dependencies are known to be installed.
  const esbuild = await import('esbuild');
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  const entryPoints = Object.fromEntries(
    Object.entries(ENTRIES).filter(([, source]) => existsSync(join(root, source))),
  );
  const { metafile } = await esbuild.build({
    absWorkingDir: root,
    entryPoints,
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: TARGET,
    // Names stay: stack traces of a board in the field are read by people.
    minifyWhitespace: true,
    minifySyntax: true,
    keepNames: false,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
    // Optional native accelerators of ws and the like: found missing at run time, as when they are not installed.
    external: ['bufferutil', 'utf-8-validate'],
    banner: {
      js: "import{createRequire as __makeRequire}from'node:module';const require=__makeRequire(import.meta.url);",
    },
    plugins: [
      leaveOut,
      nodeStreams,
      lengthsNotKept,
      nativeBesideBundle,
      httpWithoutUndici,
      namesOfCommonJs,
      factsAsFiles(outdir),
    ],
  });
  for (const output of Object.keys(metafile.outputs)) onlyAscii(join(root, output));
  const inputs = Object.keys(metafile.inputs);
  inputs.push(...(await buildDashboard(esbuild, outdir)));
  writeFileSync(join(outdir, 'LICENSES.txt'), licences(inputs));
  return sizes(outdir);
}

/**
 * The text of a script stays in memory, at two bytes a character as soon as one is not ASCII: a single µ cost the server
 * a megabyte. esbuild escapes strings but not regular expressions, where \\u means the same.
 */
function onlyAscii(file) {
  const text = readFileSync(file, 'utf8');
  const escaped = text.replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  if (escaped !== text) writeFileSync(file, escaped);
}

async function buildDashboard(esbuild, outdir) {
  const folder = join(root, DASHBOARD);
  const entry = ['main.tsx', 'main.ts'].map((name) => join(folder, name)).find(existsSync);
  if (!entry) return [];
  const { metafile } = await esbuild.build({
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: join(outdir, 'dashboard'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  for (const name of readdirSync(folder)) {
    if (/\.(html|svg|png|ico)$/.test(name)) copyFileSync(join(folder, name), join(outdir, 'dashboard', name));
  }
  return Object.keys(metafile.inputs);
}

/** The native part of better-sqlite3 for `arch` (x64, arm64) as npm ships it; armv7 is cross-compiled under deploy/. */
export function nativeAddon(arch) {
  const file = join(root, 'node_modules/better-sqlite3/prebuilds', `linux-${arch}.node`);
  if (!existsSync(file)) throw new Error(`better-sqlite3 carries no native part for linux-${arch} (${file})`);
  return file;
}

/** The licence texts of the packages that `inputs` (paths of esbuild's metafile) come from. */
function licences(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    // What a plugin stands in for is listed as `namespace:absolute path`.
    const path = relative(root, resolve(root, input.replace(/^[a-z]+:/, '')));
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (match) packages.add(match[1]);
  }
  const texts = [];
  for (const folder of [...packages].sort()) {
    const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const file = readdirSync(join(root, folder)).find((name) => /^licen[cs]e/i.test(name));
    const text = file
      ? readFileSync(join(root, folder, file), 'utf8').trim()
      : '(no licence file in the package)';
    texts.push(`${manifest.name} ${manifest.version} (${manifest.license})\n\n${text}\n`);
  }
  return `The parts of other projects that this bundle contains, and their licences.\n\n${texts.join(`\n${'-'.repeat(78)}\n\n`)}`;
}

function sizes(folder, prefix = '') {
  const found = {};
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const stat = statSync(path);
    if (stat.isDirectory()) Object.assign(found, sizes(path, `${prefix}${name}/`));
    else found[`${prefix}${name}`] = stat.size;
  }
  return found;
}

/** A digest of everything that the bundle depends on: the sources, this script and the lock file. */
export function sourcesDigest() {
  const hash = createHash('sha256');
  const visit = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) return;
    if (stat.isDirectory()) {
      for (const name of readdirSync(path).sort()) visit(join(path, name));
      return;
    }
    hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
  };
  for (const path of [
    'src',
    'scripts/build.mjs',
    'scripts/lib/bundle.mjs',
    'scripts/lib/runtime-options.mjs',
    'package.json',
    'package-lock.json',
  ]) {
    visit(join(root, path));
  }
  return hash.digest('hex');
}

/** Has `outdir` been built from the sources as they are now? */
export function isFresh(outdir) {
  const stamp = join(outdir, '.digest');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === sourcesDigest();
}

export function markFresh(outdir) {
  mkdirSync(dirname(join(outdir, '.digest')), { recursive: true });
  writeFileSync(join(outdir, '.digest'), sourcesDigest());
}
