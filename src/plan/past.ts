import type { TransactionFact } from '../model/facts.ts';
import type { Finding } from '../model/operation.ts';
import { formatInstant } from '../report/quantities.ts';

/** How the host calls itself where nobody asked for what it did. */
const hostItself = 'the host itself';

/**
 * What the newest transaction tells the next run: that it never ended, could not be undone, or was
 * put back by the host while nobody was connected.
 */
export function describePast(transactions: readonly TransactionFact[]): readonly Finding[] {
  const newest = transactions.toSorted((a, b) => a.startedAt - b.startedAt).at(-1);
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
