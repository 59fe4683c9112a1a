import { afterAll, beforeAll, expect, test } from 'vitest';
import { FAULTS, PHASES, someCases } from './lib/kill-matrix/cases.ts';
import { KillMatrix } from './lib/kill-matrix/matrix.ts';

/* One case for each fault. All of it, operation by operation: `npm run kill-matrix`. */

let matrix: KillMatrix;

beforeAll(async () => {
  matrix = await KillMatrix.start('kill-matrix');
});

afterAll(() => matrix?.stop());

/** Of a deploy that moves a checkout: every operation that it can have. */
const EVERY = [
  ...['verify-unit', 'guard-unit', 'fetch-commit', 'install-dependencies', 'write-file'],
  ...['install-unit', 'enable-unit', 'end-process', 'drain-worker', 'checkout-code', 'try-app'],
  ...['stop-unit', 'restore-unacked', 'start-unit', 'prove-unit'],
];

test('the plan changes everything; a case for each fault, and each phase', () => {
  expect(matrix.plan.operations.map(({ op }) => op)).toEqual(expect.arrayContaining(EVERY));
  const cases = someCases(matrix.plan);
  expect(cases.map(({ fault }) => fault)).toEqual(FAULTS);
  expect(new Set(cases.map(({ phase }) => phase))).toEqual(new Set(PHASES));
});

test.each(FAULTS)('%s: the host ends completely old or new, and reports it', async (fault) => {
  for (const each of someCases(matrix.plan).filter((one) => one.fault === fault)) {
    // It throws where the host is neither.
    expect(['old', 'new']).toContain((await matrix.run(each)).ending);
  }
});
