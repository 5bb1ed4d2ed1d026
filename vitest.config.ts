import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    // Some tests mostly wait: for timeouts of peers that are gone.
    maxWorkers: 3,
  },
});
