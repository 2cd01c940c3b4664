import { defineConfig } from 'vitest/config';

/** Suites that touch the kernel share one machine: they run one file at a time, and each has namespaces and pins of its own. */
const kernel = { fileParallelism: false, testTimeout: 120_000, hookTimeout: 120_000 };
const unit = [
  'api',
  'agent',
  'cli',
  'kube',
  'operator',
  'plugin',
  'scripts',
  'test/model',
  'test/support',
  'test/fuzz',
  'test/images/variant',
].map((room) => `${room}/**/*.test.ts`);

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: unit, testTimeout: 30_000 } },
      { test: { name: 'packets', include: ['test/packets/**/*.test.ts'], ...kernel } },
      // One control plane for all files: test/cluster/global-setup.ts starts it, each file has names of its own in it.
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          exclude: ['test/cluster/real-nodes/**'],
          globalSetup: 'test/cluster/global-setup.ts',
          ...kernel,
        },
      },
      // Helm is built once, by Go; nothing here needs a cluster.
      { test: { name: 'chart', include: ['test/chart/**/*.test.ts'], testTimeout: 60_000 } },
      // Each file has a whole cluster of its own, with kubelets and pods.
      { test: { name: 'nodes', include: ['test/cluster/real-nodes/**/*.test.ts'], ...kernel } },
      // A cluster as well, with what the Dockerfiles and the chart bring.
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], ...kernel } },
      { test: { name: 'images', include: ['test/images/*.test.ts'], ...kernel } },
      { test: { name: 'life', include: ['test/life/**/*.test.ts'], ...kernel } },
    ],
  },
});
