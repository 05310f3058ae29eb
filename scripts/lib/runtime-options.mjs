// How copepod's process is started, in one place: start.mjs, the launcher that build.mjs writes, the tests and bench.

/**
 * Options of Node, measured on a server without pods that had made and deleted 4000 objects (Node 24, x64): no loss in
 * requests a second from either.
 */
export const NODE_OPTIONS = [
  // The young generation grows to 3 x 16 MB by default and is never given back; API objects live long or very short.
  // Worth 2 MB after the start and 14 MB under load.
  '--max-semi-space-size=1',
  // The old generation may grow by this much before it is collected, not to its double. Worth 7 to 14 MB after load.
  '--heap-growing-percent=15',
];

/**
 * An agent alone answers no crowd of clients: V8 may save memory at the price of speed. Worth 4 MB there; a server would
 * lose a third of its lists a second.
 */
export const AGENT_NODE_OPTIONS = [...NODE_OPTIONS, '--optimize-for-size'];

/** Environment of the process: glibc keeps up to 8 arenas per core, each holding on to what was freed. */
export const NODE_ENVIRONMENT = { MALLOC_ARENA_MAX: '2' };
