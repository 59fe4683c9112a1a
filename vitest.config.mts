import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Sandbox machines that may run at once: one vCPU each, emulated where KVM is not to be had. They
 * wait for a third of their time, so one more than there are processors keeps these busy.
 */
const machines = Number(process.env.CELERIAC_TEST_MACHINES ?? availableParallelism() + 1);

/** `npm run long`: also the files that are long as a whole. */
const isLong = process.env.CELERIAC_TEST_LONG === '1';

/** In this order. A long file that began last would be waited for on one machine alone. */
const LONGEST: readonly string[] = [
  'kill-matrix.long',
  'cleanup-kill.long',
  'deploy',
  'pipeline',
  'deploy-code',
  'broken-release.long',
  'drain',
  'cleanup-live',
  'bad-worker.long',
  'no-task-lost.long',
  'bad-input',
  'operations-unit',
  'releases',
  'cleanup',
  'submit',
  'reference-unit',
  'transaction',
  'cleanup-database',
  'worker-unit',
  'cleanup-postgresql',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const place = ({ moduleId }: TestSpecification): number => {
      const at = LONGEST.indexOf(basename(moduleId, '.test.ts'));
      return at === -1 ? LONGEST.length : at;
    };
    return sorted.toSorted((one, other) => place(one) - place(other));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
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
          expect: { poll: { interval: 1000 } },
          include: ['test/host/**/*.test.ts'],
          exclude: isLong ? [] : ['**/*.long.test.ts'],
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
