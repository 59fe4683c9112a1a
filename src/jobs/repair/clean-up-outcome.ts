import type { Finding } from '../../model/operation.ts';
import type { Outcome } from '../../model/outcome.ts';
import { formatCount } from '../../model/quantities.ts';
import { type MovedRow, warnOfOldTimes } from '../judge/second-look.ts';
import { shortId } from '../tables/job-forest.ts';
import type { CleanUp } from './clean-up-plan.ts';

/** Rows that an applied clean-up really changed. */
export function countRepaired(outcome: Outcome): number {
  if (outcome.result !== 'committed') return 0;
  const counts = outcome.steps.map((step) => step.result?.changed);
  return counts.reduce<number>((sum, count) => sum + (typeof count === 'number' ? count : 0), 0);
}

/**
 * What an applied clean-up skipped because it had changed since the plan was made, and what that says
 * about the time zone.
 */
export function reportSkipped(
  outcome: Outcome,
  { timeZone, pauseSeconds }: Pick<CleanUp, 'timeZone' | 'pauseSeconds'>,
): readonly Finding[] {
  return outcome.steps.flatMap((step): Finding[] => {
    if (step.op === 'send-tasks') return reportUnsent(readUnsent(step.result?.left));
    const rows = step.op === 'repair-jobs' ? readSkipped(step.result?.skipped) : [];
    if (rows.length === 0) return [];
    const list = rows.slice(0, 5).map((row) => `${row.table} ${shortId(row.id)} ${row.why}`);
    const message = `skipped ${formatCount(rows.length, 'row')}: ${list.join('; ')}${moreThan(5, rows)}`;
    const between = pauseSeconds + planningSeconds;
    return [{ level: 'warning', message }, ...warnOfOldTimes(rows, timeZone, between)];
  });
}

/** The longest time that a plan usually takes, from the first look to the pause. */
const planningSeconds = 120;

function reportUnsent(left: readonly Unsent[]): Finding[] {
  if (left.length === 0) return [];
  const list = left.slice(0, 5).map(({ id, why }) => `${shortId(id)} (${why})`);
  const message = `${formatCount(left.length, 'task')} not sent: ${list.join('; ')}${moreThan(5, left)}`;
  return [{ level: 'warning', message }];
}

const moreThan = (shown: number, list: readonly unknown[]): string =>
  list.length > shown ? `; and ${list.length - shown} more` : '';

interface SkippedRow extends MovedRow {
  readonly why: string;
}

interface Unsent {
  readonly id: string;
  readonly why: string;
}

const readSkipped = (value: unknown): readonly SkippedRow[] =>
  Array.isArray(value) ? (value as readonly SkippedRow[]) : [];

const readUnsent = (value: unknown): readonly Unsent[] =>
  Array.isArray(value) ? (value as readonly Unsent[]) : [];

/** What a clean-up found and did, for programs. */
export function describeResult(cleanUp: CleanUp, outcome: Outcome | null) {
  const { repairs, plan, mappings } = cleanUp;
  const rows = repairs.flatMap(({ database, rows }) => rows.map((row) => ({ database, ...row })));
  const findings: readonly Finding[] = [
    ...plan.findings,
    ...(outcome === null ? [] : reportSkipped(outcome, cleanUp)),
  ];
  return {
    databases: mappings.map(({ database }) => database),
    found: rows.length,
    repaired: outcome === null ? 0 : countRepaired(outcome),
    result: outcome?.result ?? null,
    transaction: outcome?.result === 'committed' ? outcome.transaction : null,
    rows,
    findings,
  };
}
