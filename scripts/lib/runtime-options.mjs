// How copepod's process is started, in one place: start.mjs, the launcher that build.mjs writes, the tests and bench.

/** Options of Node. bench/ shows what each is worth. */
export const NODE_OPTIONS = [
  // The young generation grows to 3 x 16 MB by default and is never given back; API objects live long or very short.
  '--max-semi-space-size=2',
];

/** Environment of the process: glibc keeps up to 8 arenas per core, each holding on to what was freed. */
export const NODE_ENVIRONMENT = { MALLOC_ARENA_MAX: '2' };
