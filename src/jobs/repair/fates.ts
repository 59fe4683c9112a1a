import { type EpochSeconds, epochSeconds } from '../../model/units.ts';
import { formatCount } from '../../report/quantities.ts';
import { judgeRow } from '../judge/liveness.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import { holdersOf } from '../tables/bystanders.ts';
import { descendantsOf, type JobRow, mirrorAbove, nameRow } from '../tables/job-forest.ts';
import { isEnded } from '../tables/mapping.ts';
import { expectsMore } from './counters.ts';
import {
  type Deciding,
  endOf,
  endOfAll,
  explain,
  openBelow,
  relate,
  signed,
  spare,
  stuckFor,
  tellEnds,
  withEvidence,
} from './fate.ts';
import { type Unsettled, unfinishedOthers } from './situations.ts';

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

/** Copies the status of the mirror; unfinished rows below the row will not be continued. */
export function settle(found: StuckRow, mirror: JobRow, deciding: Deciding): void {
  const { rules, fates, forest } = deciding;
  const { row } = found;
  const becomes = mirror.status as 'completed' | 'failed' | 'cancelled';
  const message = `its ${mirror.mapping.table} row is ${becomes}; ${signed(`marked ${becomes}`, rules)}`;
  fates.set(row, {
    becomes,
    why: withEvidence(`${nameRow(mirror)} is already ${becomes}`, found),
    message: becomes === 'completed' ? null : message,
    endedAt: endOf(mirror, forest) ?? rules.now,
    lastSign: found.lastSign,
  });
  const rest = becomes === 'cancelled' ? 'cancelled' : 'failed';
  const [first, ...others] = rules.action === 'finalise' ? [] : openBelow(row, rules, fates);
  if (first === undefined) return;
  if (rules.action === 'delete' && spareHeld([first, ...others], deciding)) return;
  for (const below of [first, ...others]) {
    const why = `unfinished below ${nameRow(row)}, which is ${becomes}`;
    fates.set(below, {
      becomes: rules.action === 'delete' ? 'deleted' : rest,
      why,
      message: `${why}; ${signed(`marked ${rest}`, rules)}`,
      endedAt: rules.now,
      lastSign: found.lastSign,
    });
  }
}

/** Derives the status of a row from its children. */
export function finalise(
  found: StuckRow,
  deciding: Deciding,
): 'completed' | 'failed' | 'cancelled' {
  const { rules, fates, wanted } = deciding;
  const { row } = found;
  const ends = row.children.map((child) => {
    const own = wanted.get(child);
    return isEnded(child.status) || own === undefined ? child.status : finalise(own, deciding);
  });
  const becomes = endOfAll(ends);
  const failed = ends.filter((status) => status === 'failed').length;
  const what = row.children[0]?.mapping.table ?? 'rows';
  const story = tellEnds(failed, ends.length, what);
  fates.set(row, {
    becomes,
    why: withEvidence(`all its ${what} have ended, ${story}`, found),
    message: failed === 0 ? null : `${story}; ${signed('finalised', rules)}`,
    endedAt: latestEnd(row, deciding) ?? rules.now,
    lastSign: found.lastSign,
  });
  return becomes;
}

function latestEnd(row: JobRow, { forest }: Deciding): EpochSeconds | null {
  const ends = descendantsOf(row).map((each) => endOf(each, forest));
  const known = ends.filter((at) => at !== null);
  return known.length > 0 ? epochSeconds(Math.max(...known)) : null;
}

export function remove(found: StuckRow, deciding: Deciding): void {
  const { rules, fates, wanted } = deciding;
  const top = mirrorAbove(found.row) ?? found.row;
  const below = descendantsOf(top);
  if (spareHeld([top, ...below], deciding)) return;
  for (const row of [top, ...below]) {
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
function spareHeld(rows: readonly [JobRow, ...JobRow[]], deciding: Deciding): boolean {
  const held = rows.find((row) => holdersOf(row, null).length > 0);
  if (held === undefined) return false;
  spare(rows, tellHolders(rows[0], held, null), deciding);
  return true;
}

function tellHolders(top: JobRow, held: JobRow, column: string | null): string {
  const list = holdersOf(held, column).map(
    ({ mapping, rows }) => `${formatCount(rows, 'row')} of ${mapping.table} (${mapping.column})`,
  );
  const line = `${nameRow(held)} is referenced by ${list.join(', ')}, which are not jobs`;
  return held === top ? line : `${nameRow(top)}: ${line}`;
}

export function reset(found: StuckRow, deciding: Deciding): void {
  const { rules, fates, wanted } = deciding;
  const { row } = found;
  const mirror = mirrorAbove(row);
  const rows = [row, ...(mirror ? [mirror] : []), ...descendantsOf(row)].filter(
    (each) => isOpen(each, rules.statuses) && each.status !== 'pending',
  );
  // Its task id will be cleared or replaced.
  for (const each of rows) {
    const { task } = each.mapping;
    if (task === null || holdersOf(each, task).length === 0) continue;
    spare([row, ...rows], tellHolders(row, each, task), deciding);
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
}

export function fail(found: StuckRow, { rules, fates, wanted }: Deciding, because = ''): void {
  const { row } = found;
  const mirror = mirrorAbove(row);
  const upper = mirror && isOpen(mirror, rules.statuses) ? [mirror] : [];
  const self = isOpen(row, rules.statuses) ? [row] : [];
  for (const each of [...upper, ...self, ...openBelow(row, rules, fates)]) {
    if (fates.has(each)) continue;
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
}

/**
 * Ends parents whose last unfinished child has just been failed: they would wait forever, because the
 * task that ends them only runs after all children have returned.
 */
export function endParents({ fates, rules, spared }: Deciding): void {
  const queue = [...fates.keys()].map((row) => row.parent);
  for (let parent = queue.shift(); parent !== undefined; parent = queue.shift()) {
    if (parent === null || fates.has(parent) || spared.has(parent)) continue;
    if (parent.blocked !== null) continue;
    if (!isOpen(parent, rules.statuses) || parent.status === 'pending') continue;
    if (judgeRow(parent, rules.evidence).kind !== 'dead') continue;
    const after = parent.children.map((child) => fates.get(child)?.becomes ?? child.status);
    if (!after.every((status) => isEnded(status)) || expectsMore(parent)) continue;
    if (unfinishedOthers(parent).length > 0) continue;
    const failed = after.filter((status) => status === 'failed').length;
    const what = parent.children[0]?.mapping.table ?? 'rows';
    const story = tellEnds(failed, after.length, what);
    fates.set(parent, {
      becomes: endOfAll(after),
      why: `all its ${what} have ended, ${story}`,
      message: failed === 0 ? null : `${story}; ${signed('finalised', rules)}`,
      endedAt: rules.now,
      lastSign: null,
    });
    queue.push(parent.parent);
  }
}
