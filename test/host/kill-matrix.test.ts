import { afterAll, beforeAll, expect, test } from 'vitest';
import { FAULTS, type Fault, PHASES, someCases } from './lib/kill-matrix/cases.ts';
import { KillMatrix } from './lib/kill-matrix/matrix.ts';

/* A case for each fault; those that other tests prove, too, run nightly. All of it, operation by operation: `npm run kill-matrix`. */

let matrix: KillMatrix;

beforeAll(async () => {
  matrix = await KillMatrix.start('kill-matrix');
});

afterAll(() => matrix?.stop());

/** Of a deploy that moves a checkout: every operation that it can have. */
const EVERY = [
  ...['verify-unit', 'guard-unit', 'fetch-commit', 'install-dependencies', 'write-file'],
  ...['install-unit', 'enable-unit', 'end-process', 'drain-worker', 'checkout-code', 'try-app'],
  ...['stop-unit', 'restore-unacked', 'start-unit', 'prove-unit', 'start-sampler'],
];

test('the plan changes everything; a case for each fault, and each phase', () => {
  expect(matrix.plan.operations.map(({ op }) => op)).toEqual(expect.arrayContaining(EVERY));
  const cases = someCases(matrix.plan);
  expect(cases.map(({ fault }) => fault)).toEqual(FAULTS);
  expect(new Set(cases.map(({ phase }) => phase))).toEqual(new Set(PHASES));
});

/**
 * That the host goes on alone, is joined again, and comes back after a boot or with a full disk, is
 * shown in transaction.test.ts, releases.test.ts and broken-release.test.ts.
 */
const NIGHTLY: readonly string[] = ['runner-killed', 'link-cut', 'reboot', 'state-full'];
const isNightly = (fault: string): boolean => NIGHTLY.includes(fault);
const title = '%s: the host ends completely old or new, and reports it';

test.each(FAULTS.filter((fault) => !isNightly(fault)))(title, endCompletely);
test.each(FAULTS.filter(isNightly))(title, { tags: ['nightly'] }, endCompletely);

async function endCompletely(fault: Fault): Promise<void> {
  for (const each of someCases(matrix.plan).filter((one) => one.fault === fault)) {
    // It throws where the host is neither.
    expect(['old', 'new']).toContain((await matrix.run(each)).ending);
  }
}
