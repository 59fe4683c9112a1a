import { test } from 'vitest';

/** Whether there is time for what takes minutes more: `npm run long`. */
export const isLong = process.env.CELERIAC_TEST_LONG === '1';

/** A test of `npm run long` alone: `npm test` does not know it, so it is neither run nor skipped. */
export function longTest(title: string, ...rest: LongTest): void {
  if (!isLong) return;
  const [options, run] = rest.length === 1 ? [{}, rest[0]] : rest;
  test(title, options, run);
}

type LongTest =
  | readonly [run: () => Promise<void>]
  | readonly [options: { readonly timeout: number }, run: () => Promise<void>];
