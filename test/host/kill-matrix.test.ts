import { afterAll, beforeAll, expect, test } from 'vitest';
import { FAULTS, KillMatrix, nameOf, PHASES, someCases } from './lib/kill-matrix.ts';

let matrix: KillMatrix;

beforeAll(async () => {
  matrix = await KillMatrix.start('kill-matrix');
});

afterAll(() => matrix?.stop());

test('the plan changes everything, and the selection leaves no operation out', () => {
  const ops = matrix.plan.operations.map(({ op }) => op);
  expect(ops).toEqual(
    expect.arrayContaining([
      'write-file',
      'install-unit',
      'enable-unit',
      'stop-unit',
      'end-process',
    ]),
  );
  const cases = someCases(matrix.plan);
  expect(new Set(cases.map(({ index }) => index)).size).toBe(ops.length + 1);
  expect(new Set(cases.map(({ phase }) => phase))).toEqual(new Set(PHASES));
  expect(new Set(cases.map(({ fault }) => fault))).toEqual(new Set(FAULTS));
});

test.each(FAULTS)(
  '%s: the host ends old or new, whole, and tells it',
  {
    timeout: 600_000,
  },
  async (fault) => {
    for (const each of someCases(matrix.plan).filter((one) => one.fault === fault)) {
      const { ending, told } = await matrix.run(each);
      expect(['old', 'new'], nameOf(each)).toContain(ending);
      expect(told, nameOf(each)).not.toBe('undo-failed');
    }
  },
);
