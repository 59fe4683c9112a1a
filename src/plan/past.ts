import type { TransactionFact } from '../model/facts.ts';
import type { Finding } from '../model/operation.ts';
import { formatInstant } from '../report/quantities.ts';

/** The host's name for itself in transactions that it undid without a run. */
const hostItself = 'the host itself';

/** A clean-up of jobs that was committed says nothing about the deploy before it. */
const isOfWorker = ({ action, state }: TransactionFact): boolean =>
  action !== 'cleanup' || state !== 'committed';

/**
 * Findings from the newest transaction: it never finished, could not be undone, or was undone by the
 * host without a run.
 */
export function describePast(transactions: readonly TransactionFact[]): readonly Finding[] {
  const newest = transactions
    .filter(isOfWorker)
    .toSorted((a, b) => a.startedAt - b.startedAt)
    .at(-1);
  if (newest === undefined) return [];
  const { id, action, holder, state, startedAt, undoneBy, undoneWhy } = newest;
  const about = `the last change to this worker (transaction ${id} of ${formatInstant(startedAt)}, ${action}, by ${holder})`;
  const warn = (message: string): readonly Finding[] => [{ level: 'warning', message }];
  switch (state) {
    case 'open':
      return warn(`${about} was never finished`);
    case 'undo-failed':
      return warn(`${about} could not be undone completely`);
    case 'undone':
      return undoneBy === hostItself
        ? warn(`${about} was undone by the host itself: ${undoneWhy}`)
        : [];
    case 'committed':
      return [];
  }
}
