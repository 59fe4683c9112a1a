import { ownValue } from '../../model/by-name.ts';
import { isIncomplete } from '../judge/expected-rows.ts';
import { isBetweenRuns } from '../judge/planned.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import type { Bystanders } from '../tables/bystanders.ts';
import {
  descendantsOf,
  isOwn,
  type JobForest,
  type JobRow,
  mirrorAbove,
  rowKey,
} from '../tables/job-forest.ts';
import { isDoneWork, isEnded } from '../tables/mapping.ts';
import { type Deciding, endOf, type RepairRules } from './fate.ts';

/** Whether it waits for nothing: all rows below it have ended, and no more are expected. */
export function isDone(row: JobRow, { rules }: Deciding): boolean {
  const ended = (child: JobRow): boolean => isEnded(child.status) || done(child);
  const done = (each: JobRow): boolean =>
    each.children.length > 0 &&
    isOpen(each, rules.statuses) &&
    each.children.every(ended) &&
    !isBetweenRuns(each) &&
    !isIncomplete(each);
  return done(row);
}

/** Whether something was completed below it. */
export const hasDoneWork = (row: JobRow): boolean =>
  descendantsOf(row).some(({ status }) => isDoneWork(status));

/** Whether rows would be lost with it that have ended: below it, or the row itself if completed. */
export const keepsEnded = (row: JobRow): boolean =>
  isDoneWork(row.status) || descendantsOf(row).some(({ status }) => isEnded(status));

/** Whether it would be completed although nobody knows how long ago a row below it moved. */
export const hasAgeless = (row: JobRow, { ageless }: Deciding): boolean =>
  hasDoneWork(row) && descendantsOf(row).some((below) => ageless.has(below));

/**
 * The rows below it that are stuck, in a table in which none was completed, although in another table
 * of its children some were: `null`: there are none.
 */
export function findStuckBeside(row: JobRow, { wanted }: Deciding): readonly JobRow[] | null {
  const tables = [...Map.groupBy(row.children, ({ mapping }) => mapping).values()];
  const isDoneIn = (rows: readonly JobRow[]): boolean =>
    rows.some((each) => isDoneWork(each.status) || hasDoneWork(each));
  if (!tables.some(isDoneIn)) return null;
  const others = tables
    .filter((rows) => !isDoneIn(rows))
    .map((rows) => rows.filter((each) => isStuck(wanted.get(each))));
  return others.find((rows) => rows.length > 0) ?? null;
}

const isStuck = (found: StuckRow | undefined): boolean =>
  found?.reason === 'stuck' || found?.reason === 'abandoned';

/** Whether the row would not be continued: its parent is gone or has ended. */
export function isDetached(found: StuckRow, { wanted }: Deciding): boolean {
  const { parent } = found.row;
  if (found.reason === 'orphan' || isEnded(found.row.status)) return true;
  return parent !== null && isEnded(parent.status) && !wanted.has(parent);
}

/** The mirror with the true status, if the work has ended and only this row was not updated. */
export function endedMirror(row: JobRow, { wanted, forest }: Deciding): JobRow | null {
  const mirror = endedBelow(row, forest) ?? endedAbove(row);
  return mirror === null || wanted.has(mirror) ? null : mirror;
}

/** The last batch of a job, if all its batches have ended with the same status. */
function endedBelow(row: JobRow, forest: JobForest): JobRow | null {
  const [first] = row.children;
  const alike = row.children.every(
    (child) => child.tie?.foreignKey === false && !isOwn(child) && child.status === first?.status,
  );
  if (!first || !alike || !isEnded(first.status)) return null;
  const end = (child: JobRow): number => endOf(child, forest) ?? 0;
  return row.children.toSorted((a, b) => end(b) - end(a))[0] ?? null;
}

/** The job of a batch; it may be completed because of another batch. */
function endedAbove(row: JobRow): JobRow | null {
  const { parent, tie } = row;
  if (!parent || tie?.foreignKey || isOwn(row) || !isEnded(parent.status)) return null;
  return isDoneWork(parent.status) && mirrorAbove(row) === null ? null : parent;
}

/** Rows that may be jobs a parent waits for, and the parents below it that wait as well. */
export interface Unsettled {
  readonly others: readonly Bystanders[];
  readonly open: readonly JobRow[];
}

/**
 * Finds unfinished rows of other tables that reference a row whose descendants have all ended: it is
 * unclear whether it waits for them. `null`: there are none.
 */
export function findUnsettled(row: JobRow): Unsettled | null {
  const below = descendantsOf(row);
  const parents = below.filter(({ children }) => children.length > 0);
  if (below.length === 0 || !below.every((each) => isEnded(each.status) || parents.includes(each)))
    return null;
  const open = parents.filter(({ status }) => !isEnded(status));
  const others = [row, ...open].flatMap(unfinishedOthers);
  return others.length === 0 ? null : { others, open };
}

/** Unfinished bystanders of the row and its mirror; they may be jobs. */
export const unfinishedOthers = (row: JobRow): readonly Bystanders[] =>
  [row, mirrorAbove(row)]
    .flatMap((each) => each?.bystanders ?? [])
    .filter(({ unfinished }) => unfinished > 0);

/** The first blocked row among the row, its mirror and its descendants. */
export const findBlocked = (row: JobRow): JobRow | undefined =>
  [row, mirrorAbove(row), ...descendantsOf(row)].find((each) => each?.blocked) ?? undefined;

/** The row and its descendants, as far as they are unfinished. */
export const openRows = (row: JobRow, { statuses }: RepairRules): readonly JobRow[] =>
  [row, ...descendantsOf(row)].filter((each) => isOpen(each, statuses));

/** How often the row or an unfinished row below it was reset: the maximum. */
export function timesReset(row: JobRow, rules: RepairRules): number {
  const times = openRows(row, rules).map((each) => ownValue(rules.resets, rowKey(each)) ?? 0);
  return Math.max(0, ...times);
}
