import { expect } from 'vitest';
import type { BundleRun } from '../../lib/bundle.ts';

/** A run that failed with one annotation and one readable message, and no trace of the code. */
export function expectOneError({ code, log }: BundleRun): void {
  expect(code, log).toBe(1);
  expect(log.match(/^::error /gm)).toHaveLength(1);
  expect(log).not.toMatch(/dist\/index\.js:\d/);
}
