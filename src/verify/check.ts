import type { Check } from '../model/verdict.ts';

/** Evidence lines kept per check; the newest are kept. */
const keptEvidence = 30;

/** The newest lines of a list. */
export function lastLines(lines: readonly string[], count = keptEvidence): readonly string[] {
  return lines.slice(-count);
}

/** One of the aspects that a check covers, e.g. MemoryMax among the limits. */
export interface Remark {
  readonly state: 'passed' | 'warning' | 'failed';
  readonly seen: string;
  /** What was expected; empty when passed. */
  readonly expected: string;
  /** What to do about it; empty when passed. */
  readonly next: string;
}

export const fine = (seen: string): Remark => ({ state: 'passed', seen, expected: '', next: '' });
export const doubtful = (seen: string, expected: string, next: string): Remark => ({
  state: 'warning',
  seen,
  expected,
  next,
});
export const wrong = (seen: string, expected: string, next: string): Remark => ({
  state: 'failed',
  seen,
  expected,
  next,
});

/** Combines remarks into one check; its state is that of the worst remark. */
export function checkOf(
  id: string,
  title: string,
  remarks: readonly Remark[],
  evidence: readonly string[] = [],
): Check {
  const open = remarks.filter((remark) => remark.state !== 'passed');
  const failed = open.some((remark) => remark.state === 'failed');
  const join = (texts: readonly string[], by: string): string =>
    [...new Set(texts.filter((text) => text !== ''))].join(by);
  return {
    id,
    title,
    state: failed ? 'failed' : open.length > 0 ? 'warning' : 'passed',
    seen: join(
      remarks.map((remark) => remark.seen),
      '; ',
    ),
    expected: join(
      open.map((remark) => remark.expected),
      '; ',
    ),
    evidence: lastLines(evidence),
    next: join(
      open.map((remark) => remark.next),
      '; ',
    ),
  };
}

/** A check that could not be carried out, with the reason. */
export function skippedCheck(id: string, title: string, why: string, next = ''): Check {
  return { id, title, state: 'skipped', seen: why, expected: '', evidence: [], next };
}
