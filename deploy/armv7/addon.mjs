// Cross-compiles better-sqlite3's native part for armv7. Version 13 is written against Node-API, which is stable over
// Node's versions: the headers of Node 20, which the package of Node itself carries, serve, although better-sqlite3
// names Node 22 as its oldest (it has no ready-built part for 32-bit ARM, and tests none).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../../scripts/lib/bundle.mjs';
import { cacheFolder } from '../common/cache.mjs';

const PREFIX = 'arm-linux-gnueabihf-';
const PACKAGE = 'g++-arm-linux-gnueabihf';

/** As in better-sqlite3's binding.gyp, but for NAPI_VERSION: it is 10 there, and Node 20.11 refuses to load that. */
const CXX_FLAGS = ['-std=c++20', '-fvisibility=hidden', '-fvisibility-inlines-hidden'];
const CXX_DEFINES = [
  'NAPI_VERSION=9',
  'NAPI_DISABLE_CPP_EXCEPTIONS',
  'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
  'BUILDING_NODE_EXTENSION',
  'NODE_GYP_MODULE_NAME=better_sqlite3',
];
const COMMON_FLAGS = ['-march=armv7-a+fp', '-O2', '-fPIC', '-DNDEBUG'];
const LINK_FLAGS = ['-shared', '-s', '-Wl,-Bsymbolic', '-Wl,--exclude-libs,ALL'];

/** What Node-API 10 allows beyond 9 and the code uses: see primitive-references.c. */
const SHIM = fileURLToPath(new URL('./primitive-references.c', import.meta.url));
const WRAPPED = ['napi_create_reference', 'napi_get_reference_value', 'napi_delete_reference'];
const NOT_WRAPPED = ['napi_reference_ref', 'napi_reference_unref'];

/** The path of the compiled file; compiled once for each version of the sources, the flags and the compiler. */
export function compileAddon({ headers }) {
  const source = join(root, 'node_modules/better-sqlite3');
  const napi = join(root, 'node_modules/node-addon-api');
  const compiler = ensureCompiler();
  const defines = sqliteDefines(join(source, 'deps/defines.gypi'));
  const version = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
  const key = createHash('sha256')
    .update(
      JSON.stringify([
        compiler,
        version(source),
        version(napi),
        headers,
        CXX_FLAGS,
        CXX_DEFINES,
        COMMON_FLAGS,
        LINK_FLAGS,
        defines,
        readFileSync(SHIM, 'utf8'),
      ]),
    )
    .digest('hex')
    .slice(0, 16);
  const cache = cacheFolder('addon');
  const target = join(cache, `better_sqlite3-armv7-${key}.node`);
  if (existsSync(target)) return target;

  console.log('compiling the native part of better-sqlite3 for armv7 (about a minute, once)');
  const work = mkdtempSync(join(cache, 'work-'));
  const run = (tool, args) =>
    execFileSync(`${PREFIX}${tool}`, args, { stdio: 'inherit', timeout: 1_200_000 });
  try {
    const sqlite = join(source, 'deps/sqlite3');
    run('gcc', [
      ...COMMON_FLAGS,
      '-std=c99',
      '-w',
      ...defines.map((define) => `-D${define}`),
      '-c',
      join(sqlite, 'sqlite3.c'),
      '-o',
      join(work, 'sqlite3.o'),
    ]);
    run('g++', [
      ...COMMON_FLAGS,
      ...CXX_FLAGS,
      // GCC explains that its ABI for 64-bit arguments changed in version 7; everything here is newer.
      '-Wno-psabi',
      ...CXX_DEFINES.map((define) => `-D${define}`),
      ...[headers, napi, sqlite].flatMap((folder) => ['-I', folder]),
      '-c',
      join(source, 'src/better_sqlite3.cpp'),
      '-o',
      join(work, 'better_sqlite3.o'),
    ]);
    const addon = join(work, 'better_sqlite3.o');
    const symbols = execFileSync(`${PREFIX}nm`, ['-u', addon], { encoding: 'utf8' });
    for (const name of NOT_WRAPPED) {
      if (symbols.includes(name)) throw new Error(`better-sqlite3 now calls ${name}: teach ${SHIM} about it`);
    }
    const shim = join(work, 'shim.o');
    run('gcc', [...COMMON_FLAGS, '-DNAPI_VERSION=9', '-I', headers, '-c', SHIM, '-o', shim]);
    const output = join(work, 'better_sqlite3.node');
    run('g++', [
      ...LINK_FLAGS,
      ...WRAPPED.map((name) => `-Wl,--wrap=${name}`),
      ...[addon, shim, join(work, 'sqlite3.o'), '-ldl', '-lpthread', '-lm', '-o', output],
    ]);
    renameSync(output, target);
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** SQLite's compile-time options as better-sqlite3 sets them. */
function sqliteDefines(file) {
  const body = /'defines': \[([\s\S]*?)\]/.exec(readFileSync(file, 'utf8'))?.[1];
  const defines = [...(body ?? '').matchAll(/'([A-Z0-9_]+(?:=-?\w+)?)'/g)].map((match) => match[1]);
  if (defines.length === 0)
    throw new Error(`${file}: no defines found; better-sqlite3 has changed its layout`);
  return defines;
}

/** Its version line. Installs Debian's cross compiler when root on a machine that has apt; says how otherwise. */
function ensureCompiler() {
  const version = () => execFileSync(`${PREFIX}g++`, ['--version'], { encoding: 'utf8' }).split('\n')[0];
  try {
    return version();
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const advice = `building for armv7 needs ${PREFIX}g++: apt-get install ${PACKAGE}`;
  if (process.getuid() !== 0 || !existsSync('/usr/bin/apt-get')) throw new Error(advice);
  console.log(`installing ${PACKAGE} from Debian's packages (cross compiler for armv7)`);
  try {
    execFileSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', PACKAGE], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: 900_000,
    });
    return version();
  } catch (error) {
    throw new Error(`${advice}\n(installing it failed: ${error.message})`);
  }
}
