import { defineConfig } from 'vitest/config';

// The folder decides the kind of a test; test/README.md states what each kind may touch.
const project = (name: string, options: Record<string, unknown> = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], environment: 'node', ...options },
});

export default defineConfig({
  test: {
    projects: [
      project('unit'),
      project('golden'),
      project('contract', { testTimeout: 20_000 }),
      project('component', { testTimeout: 30_000 }),
      // Its two files of seeds run beside each other, also on a machine of two cores.
      project('simulation', { testTimeout: 600_000, maxWorkers: 2 }),
      // One file at a time: two boards' engines beside each other starve one another on a machine of two cores.
      project('e2e', {
        testTimeout: 240_000,
        hookTimeout: 240_000,
        fileParallelism: false,
        // Cases beside each other wait for Docker and for back-offs most of the time.
        maxConcurrency: 12,
        retry: 1,
      }),
    ],
  },
});
