import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The maximum number of sandbox machines at a time. They wait more than half of the time, so twice
 * the number of processors keeps these busy.
 */
const machines = Number(process.env.CELERIAC_TEST_MACHINES ?? availableParallelism() * 2);

/** Workflows first: each is a whole pipeline in a few lines, so by its size it would come last, alone. */
class WorkflowsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isWorkflow = (file: TestSpecification) => file.project.name === 'workflow';
    return [...sorted.filter(isWorkflow), ...sorted.filter((file) => !isWorkflow(file))];
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: WorkflowsFirst },
    // Tests that only `npm run test:all` runs.
    tags: [{ name: 'nightly', description: 'variations of what other tests prove, or slow' }],
    projects: [
      {
        // No warning for each source map that a package lacks.
        logLevel: 'error',
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          globalSetup: ['tools/generate.ts'],
          setupFiles: ['test/lib/use-store-process.ts'],
          sequence: { groupOrder: 0 },
          maxWorkers: availableParallelism(),
          // A busy machine is no reason to fail.
          testTimeout: 90_000,
          hookTimeout: 90_000,
          // They import JSON in a way that only bundlers support.
          server: { deps: { inline: [/@actions\/(?:workflow-parser|expressions)/] } },
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: ['tools/generate.ts'],
          sequence: { groupOrder: 2 },
          maxWorkers: 1,
          // A busy machine is no reason to fail.
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'host',
          expect: { poll: { interval: 200 } },
          include: ['test/host/**/*.test.ts'],
          setupFiles: ['test/lib/use-store-process.ts'],
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
