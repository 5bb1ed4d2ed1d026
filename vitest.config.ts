import { defineConfig } from 'vitest/config';

/** These need no sockets, processes or namespaces, and keep nothing between files: those share a process, which spares imports. */
const SANS_IO =
  'test/{child-rekey,cp,crypto,decode,descriptor,esp,ike,ike-rekey,loss,pair,recordings,soak,telescope,wire}/**/*.test.ts';

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'sans-io', include: [SANS_IO], isolate: false } },
      { extends: true, test: { name: 'host', include: ['test/**/*.test.ts'], exclude: [SANS_IO] } },
    ],
  },
});
