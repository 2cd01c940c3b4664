import { defineConfig } from 'vitest/config';

/** Suites that touch the kernel share one machine: they run one file at a time, and each has namespaces and pins of its own. */
const kernel = { fileParallelism: false, testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'api/**/*.test.ts',
            'agent/**/*.test.ts',
            'scripts/**/*.test.ts',
            'test/model/**/*.test.ts',
            'test/support/**/*.test.ts',
            'test/fuzz/**/*.test.ts',
          ],
          testTimeout: 30_000,
        },
      },
      { test: { name: 'packets', include: ['test/packets/**/*.test.ts'], ...kernel } },
      { test: { name: 'life', include: ['test/life/**/*.test.ts'], ...kernel } },
    ],
  },
});
