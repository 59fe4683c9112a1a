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
  isAbandoned,
  isDone,
  openRows,
  timesReset,
} from './situations.ts';

/** In the order of the table's columns. */
export const actionNames = [
  'fail',
  'reset',
  'delete',
  'finalise',
] as const satisfies readonly CleanUpAction[];

/** What is done about a row that was found. */
export type Verb = keyof typeof verbs;

/** A situation, and what each action does about it; `next`: the lines below decide. */
export interface FateLine {
  readonly when: string;
  readonly holds: (found: StuckRow, deciding: Deciding) => boolean;
  readonly does: Readonly<Record<CleanUpAction, Verb | 'next'>>;
}

/** The same, whatever the action. */
const always = (verb: Verb): FateLine['does'] => ({
  fail: verb,
  reset: verb,
  delete: verb,
  finalise: verb,
});

/**
 * What becomes of a row that was found: the first line that holds decides. "Stuck" is a row that was
 * found by its age; with `finalise` the same lines hold for orphans and for rows named in `ids`.
 */
export const fateTable: readonly FateLine[] = [
  {
    when: 'the row, its mirror or a row below it has an ambiguous id or parent',
    holds: ({ row }) => findBlocked(row) !== undefined,
    does: always('skip'),
  },
  {
    when: 'stuck; all jobs below it have ended, and unfinished rows that may be jobs name it',
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
    // Completed work alone is never deleted because a copy of its status lags behind.
    when: 'stuck; its mirror has failed or was cancelled',
    holds: (found, deciding) => mirrorOf(found, deciding) !== null,
    does: { ...always('copy'), delete: 'next' },
  },
  {
    when: 'stuck; all rows below it have ended, and its total expects no more',
    holds: (found, deciding) => isJudgedByOthers(found, deciding) && isDone(found.row, deciding),
    does: always('finalise'),
  },
  {
    when: 'an orphan that has ended',
    holds: ({ row, reason }, { rules }) => reason === 'orphan' && !isOpen(row, rules.statuses),
    does: { fail: 'count', reset: 'count', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'named in `ids`; neither it nor a row below it is unfinished',
    holds: ({ row, reason }, { rules }) => reason === 'named' && openRows(row, rules).length === 0,
    does: { fail: 'warn', reset: 'warn', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'an orphan, a row that has ended, or one whose parent has ended',
    holds: (found, deciding) => isAbandoned(found, deciding),
    does: { fail: 'fail', reset: 'fail', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'it, or an unfinished row below it, was reset `max-resets` times already',
    holds: ({ row }, { rules }) => timesReset(row, rules) >= rules.maxResets,
    does: { fail: 'fail', reset: 'give up', delete: 'delete', finalise: 'leave' },
  },
  {
    when: 'anything else',
    holds: () => true,
    does: { fail: 'fail', reset: 'reset', delete: 'delete', finalise: 'leave' },
  },
];

/** Each verb in a sentence, for the documentation. */
export const verbs = {
  skip: 'The row is left alone with all that hangs on it, and the report says why.',
  copy: 'The row takes the status of its mirror. What is still unfinished below it is cancelled with a cancelled one, and fails otherwise; with `delete` it is deleted; with `finalise` it is left.',
  finalise:
    'The row ends as the rows below it did: completed when one of them was, else failed when one of them has, else cancelled.',
  fail: 'The row, its mirror and the unfinished rows below it fail; the reason is written into the error column. A parent that waited for these rows alone ends with them.',
  'give up': 'As `fail`; the reason says how often the row was reset.',
  reset:
    'The row, its mirror and the unfinished rows below it are pending again; their task is sent where `resend` says how.',
  delete:
    'The row, its mirror and all rows below it are deleted; none of them where a foreign key of another table names one.',
  leave: 'The row stays as it is; the report counts such rows of a table.',
  count: 'The row stays as it is; the report counts such orphans of a table.',
  warn: 'The row stays as it is; the report names it.',
} as const;

/** Whether what others say of it is heard: a row found by its age alone may have ended. */
const isJudgedByOthers = ({ reason }: StuckRow, { rules }: Deciding): boolean =>
  reason === 'stuck' || rules.action === 'finalise';

const mirrorOf = (found: StuckRow, deciding: Deciding) =>
  isJudgedByOthers(found, deciding) ? endedMirror(found.row, deciding) : null;

/** What the table says of a row. */
export function verbFor(found: StuckRow, deciding: Deciding): Verb {
  for (const { holds, does } of fateTable) {
    const verb = does[deciding.rules.action];
    if (verb !== 'next' && holds(found, deciding)) return verb;
  }
  throw new RangeError('the last line of the table holds for every row');
}

/** Decides the fates of a row that was found and of what shares them, where none are decided yet. */
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
    fail(found, deciding, `reset ${times} already`);
  },
  reset,
  delete: remove,
  leave: ({ row }, { unfinished }) => countOne(unfinished, row),
  count: ({ row }, { endedOrphans }) => countOne(endedOrphans, row),
  warn({ row }, { findings }) {
    const message = `${nameRow(row)} is ${row.status || 'in no known status'}, and nothing below it is unfinished: only action delete changes such rows`;
    findings.push({ level: 'warning', message });
  },
};

function countOne(counts: Map<string, number>, { mapping }: JobRow): void {
  counts.set(mapping.table, (counts.get(mapping.table) ?? 0) + 1);
}
