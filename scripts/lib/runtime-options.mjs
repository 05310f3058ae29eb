// How copepod's process is started, in one place: start.mjs, the launcher that build.mjs writes, the tests and bench.

/**
 * Options of Node. Each was measured beside a process without it, under the same load (Node 24, x64; bench/README.md): no
 * loss in requests a second from any. Node 20 knows them all.
 */
export const NODE_OPTIONS = [
  // The young generation grows to 3 x 16 MB by default and is never given back; API objects live long or very short.
  // Worth 2 MB after the start and 14 MB under load.
  '--max-semi-space-size=1',
  // The old generation may grow by this much before it is collected, not to its double. Worth 7 to 14 MB after load.
  '--heap-growing-percent=15',
  // Node's snapshot holds modules that nobody here uses, and a thread unpacks all of it once more: without, the store's
  // thread takes 7 MB and 45 ms of CPU less, the main thread 60 ms more.
  '--no-node-snapshot',
  // Where there are 4 GB or more, V8 copies its builtins next to the compiled code. 2 MB.
  '--no-short-builtin-calls',
];

/** An agent alone answers no crowd of clients: V8 may save memory at the price of speed. */
export const AGENT_NODE_OPTIONS = [
  ...NODE_OPTIONS,
  // Worth 4 MB; a server would lose a third of its lists a second.
  '--optimize-for-size',
  // The optimizing compilers are 9 MB, most of it their own code. What moves data for others, the ingress for one, switches
  // the first on again when it is loaded (src/lib/hot-code.ts).
  '--no-opt',
  '--no-maglev',
  // What has not run since the last collection of garbage is compiled again when it does: most of it ran at the start only.
  '--bytecode-old-age=1',
];

/** Environment of the process: glibc keeps up to 8 arenas per core, each holding on to what was freed. */
export const NODE_ENVIRONMENT = { MALLOC_ARENA_MAX: '2' };
