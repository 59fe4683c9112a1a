import { afterAll, beforeAll, expect, test } from 'vitest';
import { FAULTS, KillMatrix, nameOf, PHASES, someCases } from './lib/kill-matrix.ts';

/* All of it, operation by operation: `npm run kill-matrix`. */

let matrix: KillMatrix;

beforeAll(async () => {
  matrix = await KillMatrix.start('kill-matrix');
});

afterAll(() => matrix?.stop());

/** Of a deploy that moves a checkout: every operation that it can have. */
const EVERY = [
  ...['verify-unit', 'guard-unit', 'fetch-commit', 'install-dependencies', 'write-file'],
  ...['install-unit', 'enable-unit', 'drain-worker', 'checkout-code', 'try-app', 'stop-unit'],
  ...['end-process', 'settle-jobs', 'restore-unacked', 'start-unit', 'prove-unit'],
];

test('the plan changes everything; a case for each fault, and each phase', () => {
  expect(matrix.plan.operations.map(({ op }) => op)).toEqual(expect.arrayContaining(EVERY));
  const cases = someCases(matrix.plan);
  expect(cases.map(({ fault }) => fault)).toEqual(FAULTS);
  expect(new Set(cases.map(({ phase }) => phase))).toEqual(new Set(PHASES));
});

test.each(FAULTS)(
  '%s: the host ends old or new, whole, and tells it',
  { timeout: 900_000 },
  async (fault) => {
    for (const each of someCases(matrix.plan).filter((one) => one.fault === fault)) {
      const { ending, told } = await matrix.run(each);
      expect(['old', 'new'], nameOf(each)).toContain(ending);
      expect(told, nameOf(each)).not.toBe('undo-failed');
    }
  },
);
