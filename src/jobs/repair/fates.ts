import { formatCount } from '../../model/quantities.ts';
import { type EpochSeconds, epochSeconds } from '../../model/units.ts';
import { isIncomplete } from '../judge/expected-rows.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import { type Bystanders, holdersOf } from '../tables/bystanders.ts';
import {
  ancestorsOf,
  descendantsOf,
  type JobForest,
  type JobRow,
  mirrorAbove,
  nameRow,
} from '../tables/job-forest.ts';
import { isDoneWork, isEnded } from '../tables/mapping.ts';
import {
  type Deciding,
  type EndStatus,
  endOf,
  endOfAll,
  explain,
  type Fates,
  openBelow,
  relate,
  signed,
  spare,
  stuckFor,
  tellEnds,
  withEvidence,
} from './fate.ts';
import {
  hasAgeless,
  hasDoneWork,
  isDone,
  keepsEnded,
  type Unsettled,
  unfinishedOthers,
} from './situations.ts';

/** Skips a row and its tree: a row in it has an ambiguous id or parent. */
export function spareBlocked(row: JobRow, blocked: JobRow, deciding: Deciding): void {
  spare([row], `${nameRow(row)}: ${nameRow(blocked)}: ${blocked.blocked}`, deciding);
}

/** Skips a row that may be waiting for rows of other tables. */
export function spareUnsettled(row: JobRow, { others, open }: Unsettled, deciding: Deciding): void {
  const list = others.map(({ mapping, unfinished }) => `${unfinished} of ${mapping.table}`);
  const what = row.children[0]?.mapping.table ?? 'rows';
  const line = `${nameRow(row)}: all its ${what} have ended, but unfinished rows that may be jobs reference it: ${list.join(', ')}`;
  spare([row, ...open], line, deciding);
}

/** Skips a parent that would be completed although a row below it may have moved just now. */
export function spareAgeless(row: JobRow, deciding: Deciding): void {
  const unknown = descendantsOf(row).find((below) => deciding.ageless.has(below)) ?? row;
  const line = `${nameRow(row)}: rows below it are completed, but the age of ${nameRow(unknown)} is unknown; \`ids\` selects it whatever its age`;
  const open = descendantsOf(row).filter(
    ({ children, status }) => children.length > 0 && !isEnded(status),
  );
  spare([row, ...open], line, deciding);
}

/** Skips a parent whose rows are completed in one table, and stuck in another. */
export function spareUncertain(row: JobRow, stuck: readonly JobRow[], deciding: Deciding): void {
  const tables = [...new Set(stuck.map(({ mapping }) => mapping.table))].join(', ');
  const mirror = mirrorAbove(row);
  const line = `${nameRow(row)}: rows below it are completed, but those in ${tables} were stuck`;
  spare([row, ...(mirror ? [mirror] : [])], line, deciding);
}

/** Copies the status of the mirror; unfinished rows below the row will not be continued. */
export function settle(found: StuckRow, mirror: JobRow, deciding: Deciding): void {
  const { rules, fates, forest } = deciding;
  const { row } = found;
  const becomes = mirror.status as EndStatus;
  const message = `its ${mirror.mapping.table} row is ${becomes}; ${signed(`marked ${becomes}`, rules)}`;
  fates.set(row, {
    becomes,
    why: withEvidence(`${nameRow(mirror)} is already ${becomes}`, found),
    message: becomes === 'completed' ? null : message,
    endedAt: endOf(mirror, forest) ?? rules.now,
    lastSign: found.lastSign,
  });
  const rest = becomes === 'cancelled' ? 'cancelled' : 'failed';
  const open = rules.action === 'finalise' ? [] : openBelow(row, rules, fates);
  // A parent ends by its rows, if some of them are to stay.
  const isKept = (each: JobRow): boolean =>
    rules.action === 'delete' ? keepsEnded(each) : hasDoneWork(each);
  const [first, ...others] = open.filter((each) => !isKept(each));
  const isHeld =
    rules.action === 'delete' && first !== undefined && spareHeld([first, ...others], deciding);
  if (isHeld || rules.action === 'finalise') return;
  for (const below of first === undefined ? [] : [first, ...others]) {
    const why = `unfinished below ${nameRow(row)}, which is ${becomes}`;
    fates.set(below, {
      becomes: rules.action === 'delete' ? 'deleted' : rest,
      why,
      message: `${why}; ${signed(`marked ${rest}`, rules)}`,
      endedAt: rules.now,
      lastSign: found.lastSign,
    });
  }
  for (const child of row.children) endTree(child, found, deciding);
}

/** Derives the status of a row, and of its mirror, from the rows below. */
export function finalise(found: StuckRow, deciding: Deciding): void {
  const mirror = mirrorAbove(found.row);
  const open = mirror !== null && isOpen(mirror, deciding.rules.statuses);
  endTree(open ? mirror : found.row, found, deciding);
}

/** Ends the open parents of a tree whose rows have all ended by now, children first. */
function endTree(row: JobRow, found: StuckRow, deciding: Deciding, because = ''): void {
  for (const child of row.children) endTree(child, found, deciding, because);
  const { rules, fates, spared, wanted, forest } = deciding;
  const isTaken = fates.has(row) || spared.has(row) || row.blocked !== null;
  if (isTaken || !isOpen(row, rules.statuses)) return;
  const below = row.children.filter((child) => fates.get(child)?.becomes !== 'deleted');
  const ends = below.map((child) => fates.get(child)?.becomes ?? child.status);
  if (ends.length === 0 || !ends.every((status) => isEnded(status))) return;
  const becomes = endOfAll(ends, row.mapping.partial !== null, isIncomplete(row));
  if (isDoneWork(becomes) && unfinishedOthers(row).length > 0) return;
  const story = tellTables(below, fates);
  const own = wanted.get(row) ?? found;
  const tables = [...new Set(below.map(({ mapping }) => mapping.table))].join(', ');
  const why = `all its ${tables} have ended, ${story}${because === '' ? '' : `; ${because}`}`;
  fates.set(row, {
    becomes,
    why: withEvidence(why, own),
    message: ends.every((status) => status === 'completed')
      ? null
      : `${story}; ${signed('finalised', rules)}`,
    endedAt: latestEnd(row, fates, forest) ?? rules.now,
    lastSign: own.lastSign,
  });
}

/** `1 of 2 clips failed, 0 of 1 tasks failed`, as it will be. */
function tellTables(rows: readonly JobRow[], fates: Fates): string {
  const tables = [...Map.groupBy(rows, ({ mapping }) => mapping.table)];
  const told = tables.map(([table, below]) => {
    const ends = below.map((each) => fates.get(each)?.becomes ?? each.status);
    return tellEnds(ends.filter((status) => status === 'failed').length, ends.length, table);
  });
  return told.join(', ');
}

function latestEnd(row: JobRow, fates: Fates, forest: JobForest): EpochSeconds | null {
  const ends = descendantsOf(row).map((each) => {
    const fate = fates.get(each);
    if (fate === undefined) return endOf(each, forest);
    return fate.becomes === 'deleted' ? null : fate.endedAt;
  });
  const known = ends.filter((at) => at !== null);
  return known.length > 0 ? epochSeconds(Math.max(...known)) : null;
}

/** Deletes the tree without the rows of it that have ended; the parents of these end by them. */
export function remove(found: StuckRow, deciding: Deciding): void {
  const { row } = found;
  const top = mirrorAbove(row) ?? row;
  const isKept = (each: JobRow): boolean =>
    each === top || each === row ? isDoneWork(each.status) : isEnded(each.status);
  const kept = new Set(
    [top, ...descendantsOf(top)].filter(isKept).flatMap((each) => [each, ...ancestorsOf(each)]),
  );
  if (kept.size === 0) {
    removeAll(found, deciding);
    return;
  }
  const [first, ...others] = descendantsOf(top).filter((each) => !kept.has(each));
  if (first !== undefined) {
    if (spareHeld([first, ...others], deciding, [top, ...descendantsOf(top)])) return;
    markDeleted([first, ...others], found, deciding);
  }
  endTree(top, found, deciding);
  if (found.reason !== 'named') return;
  const message = `kept the ended rows below ${nameRow(row)}; \`delete-completed: true\` deletes it as well`;
  deciding.findings.push({ level: 'notice', message });
}

/** Deletes the tree, whatever is in it. */
export function removeAll(found: StuckRow, deciding: Deciding): void {
  const top = mirrorAbove(found.row) ?? found.row;
  const below = descendantsOf(top);
  if (spareHeld([top, ...below], deciding)) return;
  markDeleted([top, ...below], found, deciding);
}

function markDeleted(rows: readonly JobRow[], found: StuckRow, deciding: Deciding): void {
  const { rules, fates, wanted } = deciding;
  for (const row of rows) {
    if (fates.has(row)) continue;
    const own = wanted.get(row);
    fates.set(row, {
      becomes: 'deleted',
      why: own ? explain(own, rules) : relate(row, found.row),
      message: null,
      endedAt: rules.now,
      lastSign: (own ?? found).lastSign,
    });
  }
}

/** Skips rows that rows of other tables reference: those would be deleted or changed as well. */
function spareHeld(
  rows: readonly [JobRow, ...JobRow[]],
  deciding: Deciding,
  tree: readonly [JobRow, ...JobRow[]] = rows,
): boolean {
  const held = rows.find((row) => holdersOf(row, null).length > 0);
  if (held === undefined) return false;
  spare(tree, tellHolders(tree[0], held, null, deciding), deciding);
  return true;
}

function tellHolders(
  top: JobRow,
  held: JobRow,
  column: string | null,
  { forest }: Deciding,
): string {
  const holders = holdersOf(held, column);
  const isJob = ({ mapping }: Bystanders): boolean =>
    forest.mapping.some(({ table }) => table === mapping.table);
  const list = holders.map(
    ({ mapping, rows }) => `${formatCount(rows, 'row')} of ${mapping.table} (${mapping.column})`,
  );
  const others = holders.some(isJob) ? '' : ', which are not jobs';
  const line = `${nameRow(held)} is referenced by ${list.join(', ')}${others}`;
  return held === top ? line : `${nameRow(top)}: ${line}`;
}

export function reset(found: StuckRow, deciding: Deciding): void {
  const { rules, fates, wanted } = deciding;
  const { row } = found;
  const mirror = mirrorAbove(row);
  const open = [row, ...(mirror ? [mirror] : []), ...descendantsOf(row)].filter(
    (each) => isOpen(each, rules.statuses) && each.status !== 'pending',
  );
  // A parent whose rows have all ended is finalised, not started again.
  const [done, rows] = [
    open.filter((each) => isDone(each, deciding)),
    open.filter((each) => !isDone(each, deciding)),
  ];
  // Its task id will be cleared or replaced.
  for (const each of rows) {
    const { task } = each.mapping;
    if (task === null || holdersOf(each, task).length === 0) continue;
    spare([row, ...rows], tellHolders(row, each, task, deciding), deciding);
    return;
  }
  for (const each of rows) {
    if (fates.has(each)) continue;
    const own = wanted.get(each);
    fates.set(each, {
      becomes: 'pending',
      why: own ? explain(own, rules) : relate(each, row),
      message: null,
      endedAt: rules.now,
      lastSign: (own ?? found).lastSign,
      owed: found.owed === true,
    });
  }
  for (const each of done) endTree(each, wanted.get(each) ?? found, deciding);
}

/**
 * Fails the unfinished rows; a parent below which something was completed ends by its rows instead.
 */
export function fail(found: StuckRow, deciding: Deciding, because = ''): void {
  const { rules, fates, wanted } = deciding;
  const { row } = found;
  const mirror = mirrorAbove(row);
  const upper = mirror && isOpen(mirror, rules.statuses) ? [mirror] : [];
  const self = isOpen(row, rules.statuses) ? [row] : [];
  const rows = [...upper, ...self, ...openBelow(row, rules, fates)];
  for (const each of rows) {
    if (fates.has(each) || hasDoneWork(each)) continue;
    const own = wanted.get(each);
    const reason = own ? explain(own, rules) : relate(each, row);
    const why = because === '' ? reason : `${reason}; ${because}`;
    const told = stuckFor(each, own ?? found, rules);
    const stuck = because === '' ? told : `${told}; ${because}`;
    const story = each.status === 'pending' ? `never started: ${why}` : stuck;
    fates.set(each, {
      becomes: 'failed',
      why,
      message: `${story}; ${signed('marked failed', rules)}`,
      endedAt: rules.now,
      lastSign: (own ?? found).lastSign,
    });
  }
  endTree(upper[0] ?? row, found, deciding, because);
  for (const each of rows.filter((other) => !fates.has(other))) {
    const others = unfinishedOthers(each);
    if (others.length > 0) spareUnsettled(each, { others, open: [] }, deciding);
    else spare([each], `${nameRow(each)}: rows below it are in an unknown status`, deciding);
  }
}

/** Ends parents that stay pending while their rows run, once every row below them has ended. */
export function endWaiting(deciding: Deciding): void {
  const waiting = [...deciding.wanted.values()].filter(({ reason }) => reason === 'waiting');
  for (const found of waiting.toReversed()) {
    const { row } = found;
    if (deciding.fates.has(row) || unfinishedOthers(row).length > 0) continue;
    if (isIncomplete(row) || hasAgeless(row, deciding)) continue;
    const ends = row.children.map((child) => deciding.fates.get(child)?.becomes ?? child.status);
    const isOver = (status: string): boolean => status === 'deleted' || isEnded(status);
    if (ends.every(isOver)) endTree(row, found, deciding);
  }
}
