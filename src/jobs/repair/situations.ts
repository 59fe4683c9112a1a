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
import { isEnded } from '../tables/mapping.ts';
import { expectsMore } from './counters.ts';
import { type Deciding, endOf, type RepairRules } from './fate.ts';

/** It waits for nothing: all below it has ended, and no more is to come. */
export function isDone(row: JobRow, { rules, wanted }: Deciding): boolean {
  const ended = (child: JobRow): boolean =>
    isEnded(child.status) ||
    (wanted.get(child)?.reason === 'stuck' && child.children.length > 0 && done(child));
  const done = (each: JobRow): boolean =>
    each.children.length > 0 &&
    isOpen(each, rules.statuses) &&
    each.status !== 'pending' &&
    each.children.every(ended) &&
    !expectsMore(each);
  return done(row);
}

/** Nobody would take the row up again: what it belonged to is gone or has ended. */
export function isAbandoned(found: StuckRow, { wanted }: Deciding): boolean {
  const { parent } = found.row;
  if (found.reason === 'orphan' || isEnded(found.row.status)) return true;
  return parent !== null && isEnded(parent.status) && !wanted.has(parent);
}

/** The row that tells the truth, when the work has ended and only this row does not say so. */
export function endedMirror(row: JobRow, { wanted, forest }: Deciding): JobRow | null {
  const mirror = endedBelow(row, forest) ?? endedAbove(row);
  return mirror === null || wanted.has(mirror) ? null : mirror;
}

/** The last of a job's batches, when all of them have ended alike. */
function endedBelow(row: JobRow, forest: JobForest): JobRow | null {
  const [first] = row.children;
  const alike = row.children.every(
    (child) => child.tie?.foreignKey === false && !isOwn(child) && child.status === first?.status,
  );
  if (!first || !alike || !isEnded(first.status)) return null;
  const end = (child: JobRow): number => endOf(child, forest) ?? 0;
  return row.children.toSorted((a, b) => end(b) - end(a))[0] ?? null;
}

/** A batch's job; it may be completed for the sake of another batch. */
function endedAbove(row: JobRow): JobRow | null {
  const { parent, tie } = row;
  if (!parent || tie?.foreignKey || isOwn(row) || !isEnded(parent.status)) return null;
  return parent.status === 'completed' && mirrorAbove(row) === null ? null : parent;
}

/** What a parent waits for that may be jobs or not; the parents below it that wait as well. */
export interface Unsettled {
  readonly others: readonly Bystanders[];
  readonly open: readonly JobRow[];
}

/**
 * All work below has ended, and yet what hangs on it in tables of other things has not: whether it
 * waits for that can't be told. `null`: it is not so.
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

/** What hangs on it or on its mirror, waits or is at work, and may be jobs or not. */
export const unfinishedOthers = (row: JobRow): readonly Bystanders[] =>
  [row, mirrorAbove(row)]
    .flatMap((each) => each?.bystanders ?? [])
    .filter(({ unfinished }) => unfinished > 0);

/** What can't be read in it, in its mirror, or below it. */
export const findBlocked = (row: JobRow): JobRow | undefined =>
  [row, mirrorAbove(row), ...descendantsOf(row)].find((each) => each?.blocked) ?? undefined;

/** The row and those below it that are unfinished. */
export const openRows = (row: JobRow, { statuses }: RepairRules): readonly JobRow[] =>
  [row, ...descendantsOf(row)].filter((each) => isOpen(each, statuses));

/** How often the row, or an unfinished one below it, was reset: the most of them. */
export function timesReset(row: JobRow, rules: RepairRules): number {
  const times = openRows(row, rules).map((each) => rules.resets[rowKey(each)] ?? 0);
  return Math.max(0, ...times);
}
