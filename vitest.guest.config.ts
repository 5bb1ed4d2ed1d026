import { defineConfig } from 'vitest/config';

/** Tests that need a kernel with ESP; `npm run test:kernel` runs them in a guest. */
export default defineConfig({
  test: {
    include: ['test/**/*.guest.ts'],
    testTimeout: 300_000,
    hookTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 1,
    // One process for all files: in a guest, starting it takes long.
    isolate: false,
    cache: false,
  },
});
