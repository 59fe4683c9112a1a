import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/**
 * Sandbox machines that may run at once: one vCPU each, emulated where KVM is not to be had. They
 * wait for a third of their time, so one more than there are processors keeps these busy.
 */
const machines = Number(process.env.CELERIAC_TEST_MACHINES ?? availableParallelism() + 1);

export default defineConfig({
  test: {
    // What `npm test` leaves to `npm run test:all`.
    tags: [{ name: 'nightly', description: 'more of what is proven once already, or slow' }],
    projects: [
      {
        // Not a line for each source map that a package forgot.
        logLevel: 'error',
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          globalSetup: ['tools/generate.ts'],
          sequence: { groupOrder: 0 },
          maxWorkers: availableParallelism(),
          // A busy machine is no reason to fail.
          testTimeout: 90_000,
          // They import JSON in a way that only bundlers take.
          server: { deps: { inline: [/@actions\/(?:workflow-parser|expressions)/] } },
        },
      },
      {
        test: {
          name: 'host',
          expect: { poll: { interval: 200 } },
          include: ['test/host/**/*.test.ts'],
          globalSetup: ['tools/generate.ts', 'tools/provide-image.ts'],
          sequence: { groupOrder: 1 },
          maxWorkers: machines,
          // A busy machine is no reason to fail.
          testTimeout: 1_200_000,
          hookTimeout: 900_000,
        },
      },
      {
        test: {
          name: 'workflow',
          include: ['test/workflow/**/*.test.ts'],
          globalSetup: ['tools/generate.ts', 'tools/provide-image.ts'],
          sequence: { groupOrder: 1 },
          maxWorkers: machines,
          testTimeout: 1_800_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
