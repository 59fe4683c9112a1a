import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The maximum number of sandbox machines at a time. They wait more than half of the time: with five on
 * two processors, these were idle for an eighth of it.
 */
const machines = Number(process.env.CELERIAC_TEST_MACHINES ?? availableParallelism() * 3);

/** Files that take long: one that starts late runs alone at the end. The longest come first. */
const long = [
  'workflow/deploy',
  'host/hardened',
  'host/deploy-code',
  'workflow/action',
  'host/kernel',
  'host/cleanup-postgresql',
  'host/terminal',
  'host/companions',
  'host/kill-matrix',
  'host/drain',
  'host/pipeline',
  'workflow/fleet',
  'host/cleanup-live',
  'host/soak',
  'workflow/plan',
  'host/sampler',
  'host/module-path',
  'host/broken-release',
  'host/shared-module',
  'host/host-checks',
  'workflow/cleanup',
  'host/django',
  'host/operations-unit',
  'host/deaf-worker',
  'host/settled-jobs',
  'host/submit',
  'host/roll-back-flow',
  'host/support-module',
].map((name) => `test/${name}.test.ts`);

/** Then other workflows: each is a whole pipeline in a few lines. Then the others, by their size. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const place = ({ moduleId, project }: TestSpecification) => {
      const at = long.findIndex((file) => moduleId.endsWith(`/${file}`));
      return at !== -1 ? at : long.length + (project.name === 'workflow' ? 0 : 1);
    };
    return sorted.sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    // For all projects: they leave nothing in /tmp, not even when they are killed.
    globalSetup: ['tools/scratch.ts'],
    sequence: { sequencer: LongestFirst },
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
          // Loading the same modules for each file takes a third of a second. Nothing in src has a
          // state, and the first of these finds the file that leaves one in its process.
          isolate: false,
          setupFiles: ['test/lib/leave-as-found.ts', 'test/lib/use-store-process.ts'],
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
