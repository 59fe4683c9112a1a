import type { CleanUpAction } from '../../config/cleanup-desired.ts';
import { formatCount } from '../../model/quantities.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import { type JobRow, nameRow } from '../tables/job-forest.ts';
import { isDoneWork } from '../tables/mapping.ts';
import type { Deciding } from './fate.ts';
import {
  fail,
  finalise,
  remove,
  removeAll,
  reset,
  settle,
  spareAgeless,
  spareBlocked,
  spareUncertain,
  spareUnsettled,
} from './fates.ts';
import {
  endedMirror,
  findBlocked,
  findStuckBeside,
  findUnsettled,
  hasAgeless,
  isDetached,
  isDone,
  keepsEnded,
  openRows,
  timesReset,
} from './situations.ts';

/** The columns of the table. */
export const actionNames = [
  'fail',
  'reset',
  'delete',
  'finalise',
] as const satisfies readonly CleanUpAction[];

/** What to do about a row that was found. */
export type Verb = keyof typeof verbs;

/** A situation, and what each action does about it; `next`: continue with the lines below. */
export interface FateLine {
  readonly when: string;
  readonly holds: (found: StuckRow, deciding: Deciding) => boolean;
  readonly does: Readonly<Record<CleanUpAction, Verb | 'next'>>;
}

/** The same for every action. */
const always = (verb: Verb | 'next'): FateLine['does'] => ({
  fail: verb,
  reset: verb,
  delete: verb,
  finalise: verb,
});

/** What becomes of a row that was found: the first line that applies decides. */
export const fateTable: readonly FateLine[] = [
  {
    when: 'the row, its mirror or a row below it has an ambiguous id or parent',
    holds: ({ row }) => findBlocked(row) !== undefined,
    does: always('skip'),
  },
  {
    when: 'a parent that is pending, not stuck; rows below it are unfinished or still expected',
    holds: ({ row, reason }, deciding) => reason === 'waiting' && !isDone(row, deciding),
    does: always('wait'),
  },
  {
    when: 'selected by `ids`, with `delete-completed`',
    holds: ({ reason }, { rules }) => reason === 'named' && rules.deleteCompleted,
    does: { ...always('next'), delete: 'delete all' },
  },
  {
    when: 'unfinished; all jobs below it have ended, but unfinished rows that may be jobs reference it',
    holds: (found, deciding) => isUnfinished(found, deciding) && findUnsettled(found.row) !== null,
    does: always('skip'),
  },
  {
    when: 'unfinished; its mirror is completed or partial',
    holds: (found, deciding) => isDoneWork(mirrorOf(found, deciding)?.status ?? ''),
    does: always('copy'),
  },
  {
    // Completed work is never deleted just because a copy of its status was not updated.
    when: 'unfinished; its mirror is failed or cancelled',
    holds: (found, deciding) => mirrorOf(found, deciding) !== null,
    does: { ...always('copy'), delete: 'next' },
  },
  {
    when: 'found by its age; rows below it are completed, and the age of one is unknown',
    holds: (found, deciding) =>
      found.reason !== 'named' && isUnfinished(found, deciding) && hasAgeless(found.row, deciding),
    does: always('skip'),
  },
  {
    when: 'unfinished; all rows below it have ended, and its total expects no more rows',
    holds: (found, deciding) => isUnfinished(found, deciding) && isDone(found.row, deciding),
    does: always('finalise'),
  },
  {
    when: 'rows below it are completed in one table, and stuck in another',
    holds: (found, deciding) =>
      isUnfinished(found, deciding) && findStuckBeside(found.row, deciding) !== null,
    does: { fail: 'skip', reset: 'next', delete: 'skip', finalise: 'leave' },
  },
  {
    when: 'an orphan that has ended, and is completed or partial or has rows below it that have ended',
    holds: ({ row, reason }, { rules }) =>
      reason === 'orphan' && !isOpen(row, rules.statuses) && keepsEnded(row),
    does: { fail: 'count', reset: 'count', delete: 'count', finalise: 'leave' },
  },
  {
    when: 'an orphan that has ended',
    holds: ({ row, reason }, { rules }) => reason === 'orphan' && !isOpen(row, rules.statuses),
    does: { fail: 'count', reset: 'count', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'selected by `ids`; neither it nor a row below it is unfinished, and it is completed or partial or has rows below it that have ended',
    holds: ({ row, reason }, { rules }) =>
      reason === 'named' && openRows(row, rules).length === 0 && keepsEnded(row),
    does: { fail: 'warn', reset: 'warn', delete: 'warn', finalise: 'leave' },
  },
  {
    when: 'selected by `ids`; neither it nor a row below it is unfinished',
    holds: ({ row, reason }, { rules }) => reason === 'named' && openRows(row, rules).length === 0,
    does: { fail: 'warn', reset: 'warn', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'an orphan, a row that has ended, or one whose parent has ended',
    holds: (found, deciding) => isDetached(found, deciding),
    does: { fail: 'fail', reset: 'fail', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'it, or an unfinished row below it, has already been reset `max-resets` times',
    holds: ({ row }, { rules }) => timesReset(row, rules) >= rules.maxResets,
    does: { fail: 'fail', reset: 'give up', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'anything else',
    holds: () => true,
    does: { fail: 'fail', reset: 'reset', delete: 'delete', finalise: 'leave' },
  },
];

/** Description of each verb, for the docs. */
export const verbs = {
  skip: 'The row and all related rows are skipped, and the report says why.',
  copy: 'The row gets the status of its mirror. Unfinished rows below it are cancelled if the mirror is cancelled, and fail otherwise; `delete` deletes them; `finalise` does not touch them.',
  finalise:
    'The row, its mirror and the unfinished parents below it get a final status from the rows below them: failed if none of them is completed, completed if all are, otherwise partial (completed if the app has no word for partial). Their counters are counted again.',
  fail: 'The row, its mirror and the unfinished rows below it fail; the reason is written to the error column. A parent with completed rows below it does not fail, but is finalised; if rows are missing, it is partial (failed if the app has no word for partial).',
  'give up': 'Like `fail`; the reason says how often the row was reset.',
  reset:
    'The row, its mirror and the unfinished rows below it become pending again; their task is sent if `resend` is defined. The task of a parent with completed rows is not sent, because it would repeat them.',
  delete:
    'The row, its mirror and all rows below it are deleted; none of them if a foreign key of another table references one. Rows below it that have ended stay, and so do completed mirrors; the parents of rows that stay are finalised.',
  'delete all': 'Like `delete`, including the rows that have ended.',
  wait: 'The row stays as it is until the last row below it has ended; if that happens in this run, it is finalised.',
  leave: 'The row is skipped; the report counts such rows per table.',
  count: 'The row is skipped; the report counts such orphans per table.',
  warn: 'The row is skipped; the report names it.',
} as const;

const isUnfinished = ({ row }: StuckRow, { rules }: Deciding): boolean =>
  isOpen(row, rules.statuses);

const mirrorOf = (found: StuckRow, deciding: Deciding) =>
  isUnfinished(found, deciding) ? endedMirror(found.row, deciding) : null;

/** What the table says about a row. */
export function verbFor(found: StuckRow, deciding: Deciding): Verb {
  for (const { holds, does } of fateTable) {
    const verb = does[deciding.rules.action];
    if (verb !== 'next' && holds(found, deciding)) return verb;
  }
  throw new RangeError('the last line of the table applies to every row');
}

/** Decides the fate of a row and of the rows that share it, unless it is already decided. */
export function decide(found: StuckRow, deciding: Deciding): void {
  if (deciding.fates.has(found.row) || deciding.spared.has(found.row)) return;
  does[verbFor(found, deciding)](found, deciding);
}

const does: Readonly<Record<Verb, (found: StuckRow, deciding: Deciding) => void>> = {
  skip({ row }, deciding) {
    const blocked = findBlocked(row);
    const unsettled = findUnsettled(row);
    if (blocked !== undefined) spareBlocked(row, blocked, deciding);
    else if (unsettled !== null) spareUnsettled(row, unsettled, deciding);
    else if (hasAgeless(row, deciding)) spareAgeless(row, deciding);
    else spareUncertain(row, findStuckBeside(row, deciding) ?? [], deciding);
  },
  copy(found, deciding) {
    const mirror = mirrorOf(found, deciding);
    if (mirror !== null) settle(found, mirror, deciding);
  },
  finalise,
  fail,
  'give up'(found, deciding) {
    const times = formatCount(timesReset(found.row, deciding.rules), 'time');
    fail(found, deciding, `already reset ${times}`);
  },
  reset,
  delete: remove,
  'delete all': removeAll,
  wait() {},
  leave: ({ row }, { unfinished }) => countOne(unfinished, row),
  count: ({ row }, { endedOrphans }) => countOne(endedOrphans, row),
  warn({ row }, { findings }) {
    const how = keepsEnded(row) ? 'action delete with `delete-completed`' : 'action delete';
    const message = `skipped ${nameRow(row)}: it is ${row.status || 'in an unknown status'}, and no row below it is unfinished; only ${how} changes such rows`;
    findings.push({ level: 'warning', message });
  },
};

function countOne(counts: Map<string, number>, { mapping }: JobRow): void {
  counts.set(mapping.table, (counts.get(mapping.table) ?? 0) + 1);
}
