import type { CleanUpAction } from '../../config/cleanup-desired.ts';
import { formatCount } from '../../report/quantities.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import { type JobRow, nameRow } from '../tables/job-forest.ts';
import type { Deciding } from './fate.ts';
import { fail, finalise, remove, reset, settle, spareBlocked, spareUnsettled } from './fates.ts';
import {
  endedMirror,
  findBlocked,
  findUnsettled,
  isDetached,
  isDone,
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
const always = (verb: Verb): FateLine['does'] => ({
  fail: verb,
  reset: verb,
  delete: verb,
  finalise: verb,
});

/**
 * What becomes of a row that was found: the first line that applies decides. "Stuck" means found by
 * its age; with `finalise` the same lines apply to orphans and to rows selected by `ids`.
 */
export const fateTable: readonly FateLine[] = [
  {
    when: 'the row, its mirror or a row below it has an ambiguous id or parent',
    holds: ({ row }) => findBlocked(row) !== undefined,
    does: always('skip'),
  },
  {
    when: 'stuck; all jobs below it have ended, but unfinished rows that may be jobs reference it',
    holds: (found, deciding) =>
      isJudgedByOthers(found, deciding) && findUnsettled(found.row) !== null,
    does: always('skip'),
  },
  {
    when: 'stuck; its mirror is completed',
    holds: (found, deciding) => mirrorOf(found, deciding)?.status === 'completed',
    does: always('copy'),
  },
  {
    // Completed work is never deleted just because a copy of its status was not updated.
    when: 'stuck; its mirror is failed or cancelled',
    holds: (found, deciding) => mirrorOf(found, deciding) !== null,
    does: { ...always('copy'), delete: 'next' },
  },
  {
    when: 'stuck; all rows below it have ended, and its total expects no more rows',
    holds: (found, deciding) => isJudgedByOthers(found, deciding) && isDone(found.row, deciding),
    does: always('finalise'),
  },
  {
    when: 'an orphan that has ended',
    holds: ({ row, reason }, { rules }) => reason === 'orphan' && !isOpen(row, rules.statuses),
    does: { fail: 'count', reset: 'count', delete: 'delete', finalise: 'leave' },
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
    'The row gets a final status from the rows below it: completed if one of them is completed, otherwise failed if one of them is failed, otherwise cancelled.',
  fail: 'The row, its mirror and the unfinished rows below it fail; the reason is written to the error column. A parent that only waited for these rows ends with them.',
  'give up': 'Like `fail`; the reason says how often the row was reset.',
  reset:
    'The row, its mirror and the unfinished rows below it become pending again; their task is sent if `resend` is defined.',
  delete:
    'The row, its mirror and all rows below it are deleted; none of them if a foreign key of another table references one.',
  leave: 'The row is skipped; the report counts such rows per table.',
  count: 'The row is skipped; the report counts such orphans per table.',
  warn: 'The row is skipped; the report names it.',
} as const;

/** Whether related rows decide: a row that was only found by its age may have ended. */
const isJudgedByOthers = ({ reason }: StuckRow, { rules }: Deciding): boolean =>
  reason === 'stuck' || rules.action === 'finalise';

const mirrorOf = (found: StuckRow, deciding: Deciding) =>
  isJudgedByOthers(found, deciding) ? endedMirror(found.row, deciding) : null;

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
  leave: ({ row }, { unfinished }) => countOne(unfinished, row),
  count: ({ row }, { endedOrphans }) => countOne(endedOrphans, row),
  warn({ row }, { findings }) {
    const message = `skipped ${nameRow(row)}: it is ${row.status || 'in an unknown status'}, and no row below it is unfinished; only action delete changes such rows`;
    findings.push({ level: 'warning', message });
  },
};

function countOne(counts: Map<string, number>, { mapping }: JobRow): void {
  counts.set(mapping.table, (counts.get(mapping.table) ?? 0) + 1);
}
