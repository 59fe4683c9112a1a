import type { VerifyDesired } from '../config/verify-desired.ts';
import type { Check, CheckVerdict } from '../model/verdict.ts';
import type { VerifyEvidence } from './evidence.ts';

/** What a check is called. */
export interface CheckName {
  /** Short and stable; the name of its file in `checks/`. */
  readonly id: string;
  readonly title: string;
}

/** One check of verify. The list is in `checks.ts`. */
export interface CheckModule extends CheckName {
  /** What is certain when it passes: a sentence of docs/reference/checks.md. */
  readonly proves: string;
  /** What may still be wrong when it passes. */
  readonly doesNotProve: string;
  /** Pure. More than one result for a check of several things, none if it does not apply. */
  judge(seen: VerifyEvidence, desired: VerifyDesired): Check | readonly Check[];
}

/** Evidence lines kept per check; the newest are kept. */
const keptEvidence = 30;

/** The newest lines of a list. */
export function lastLines(lines: readonly string[], count = keptEvidence): readonly string[] {
  return lines.slice(-count);
}

/** One of the aspects that a check covers, e.g. MemoryMax among the limits. */
export interface Remark {
  readonly verdict: CheckVerdict;
  readonly seen: string;
  /** What was expected; empty when passed. */
  readonly expected: string;
  /** What to do about it; empty when passed. */
  readonly next: string;
}

export const fine = (seen: string): Remark => ({ verdict: 'pass', seen, expected: '', next: '' });
export const doubtful = (seen: string, expected: string, next: string): Remark => ({
  verdict: 'warn',
  seen,
  expected,
  next,
});
export const wrong = (seen: string, expected: string, next: string): Remark => ({
  verdict: 'fail',
  seen,
  expected,
  next,
});
/** It could not be read, and `why`. */
export const unclear = (why: string, next = ''): Remark => ({
  verdict: 'unknown',
  seen: why,
  expected: '',
  next,
});

/** Worst first. What is known to be doubtful matters more than what is not known. */
const worstFirst = ['fail', 'warn', 'unknown', 'pass'] as const;

/** Combines remarks into one check; its verdict is that of the worst remark. */
export function checkOf(
  { id, title }: CheckName,
  remarks: readonly Remark[],
  evidence: readonly string[] = [],
): Check {
  const open = remarks.filter(({ verdict }) => verdict !== 'pass');
  const join = (texts: readonly string[], by: string): string =>
    [...new Set(texts.filter((text) => text !== ''))].join(by);
  return {
    id,
    title,
    verdict: worstFirst.find((each) => open.some(({ verdict }) => verdict === each)) ?? 'pass',
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
export function unknownCheck({ id, title }: CheckName, why: string, next = ''): Check {
  return { id, title, verdict: 'unknown', seen: why, expected: '', evidence: [], next };
}
