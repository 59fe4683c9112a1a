import type { PastFact, PastTransaction, TransactionFact } from '../model/facts/ledger.ts';
import type { Finding } from '../model/operation.ts';
import { formatDuration, formatInstant } from '../model/quantities.ts';

const warn = (message: string): Finding => ({ level: 'warning', message });
const note = (message: string): Finding => ({ level: 'notice', message });

/** A clean-up of jobs that was committed says nothing about the deploy before it. */
const isOfWorker = ({ action, state }: TransactionFact): boolean =>
  action !== 'cleanup' || state !== 'committed';

/**
 * What happened on the host since the last report: what it undid alone, in its own order. A run that
 * does not wait for others, or finish what they left, also mentions that. A dry run mentions what may
 * change the host after it.
 *
 * @param how `works`: the run changes the host; `plans`: it is a dry run; `judges`: it is a verify
 */
export function describePast(
  { untold, open, working, awaiting }: PastFact,
  how: 'works' | 'plans' | 'judges',
): readonly Finding[] {
  const told = untold.map(({ state, undoneWhy, ...about }) =>
    warn(
      state === 'undone'
        ? `${nameOf(about)} was undone by the host itself: ${undoneWhy}`
        : `${nameOf(about)} was undone by the host itself (${undoneWhy}), but not completely`,
    ),
  );
  if (how === 'works') return told;
  const unfinished = open.map((about) =>
    working === null
      ? warn(
          `${nameOf(about)} did not finish; the host undoes it, or the next run that changes the host`,
        )
      : warn(`${nameOf(about)} is in progress: this run sees the host in the middle of it`),
  );
  if (how === 'judges') return [...told, ...unfinished];
  const pending = awaiting.map(({ unit, transactions, deadline }) =>
    note(
      `a release of ${unit} awaits its verdict (transaction ${transactions.join(', ')}): unless verify confirms it by ${formatInstant(deadline)}, the host rolls back automatically`,
    ),
  );
  return [...told, ...unfinished, ...pending];
}

/**
 * A release that still awaits its verdict when another one of the unit is deployed.
 *
 * @param unit as the host names it, with its suffix
 */
export function describeSuperseded({ awaiting }: PastFact, unit: string): readonly Finding[] {
  return awaiting
    .filter((one) => one.unit === unit)
    .map(({ transactions, withinSeconds }) =>
      note(
        `this release supersedes the one of transaction ${transactions.join(', ')}, which was not verified within its ${formatDuration(withinSeconds)} yet: verify now judges both, and a rollback undoes both`,
      ),
    );
}

/** The newest change to this worker could not be undone: true until another one was made. */
export function describeUndoFailure(transactions: readonly TransactionFact[]): readonly Finding[] {
  const newest = transactions.filter(isOfWorker).at(-1);
  return newest?.state === 'undo-failed'
    ? [warn(`the last change to this worker (${nameOf(newest)}) could not be undone completely`)]
    : [];
}

function nameOf({
  id,
  action,
  holder,
  startedAt,
  unit = null,
}: Omit<TransactionFact, 'state' | 'undoneWhy' | 'undoneBy'> & Partial<PastTransaction>): string {
  const what = unit === null ? action : `${action} of ${unit}`;
  return `transaction ${id} of ${formatInstant(startedAt)} (${what}, by ${holder})`;
}
