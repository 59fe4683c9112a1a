import { defineConfig } from 'vitest/config';

/** Sandbox machines that may run at once: one vCPU each, emulated where KVM is not to be had. */
const machines = Number(process.env.CELERIAC_TEST_MACHINES ?? '2');

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          globalSetup: ['tools/generate.ts'],
          include: ['test/unit/**/*.test.ts'],
        },
      },
      {
        test: {
          name: 'host',
          include: ['test/host/**/*.test.ts'],
          globalSetup: ['tools/generate.ts', 'test/host/build-image.ts'],
          maxWorkers: machines,
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'workflow',
          globalSetup: ['tools/generate.ts', 'test/host/build-image.ts'],
          include: ['test/workflow/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
