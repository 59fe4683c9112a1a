import { byName } from '../../model/by-name.ts';
import type { SqlValue } from '../../model/operation/jobs.ts';
import { countedBelow, expectsMore } from '../judge/expected-rows.ts';
import { descendantsOf, isOwn, type JobRow } from '../tables/job-forest.ts';
import { type CounterMapping, isEnded } from '../tables/mapping.ts';
import type { Fates } from './fate.ts';

export type Counters = ReadonlyMap<JobRow, Readonly<Record<string, SqlValue>>>;

/** New values of the counters in ancestors of changed rows. */
export function countAgain(fates: Fates): Counters {
  const above = new Set<JobRow>();
  for (const row of fates.keys()) {
    for (let at: JobRow | null = row; at !== null; at = at.parent) above.add(at);
  }
  const counted = new Map<JobRow, Record<string, SqlValue>>();
  for (const row of above) {
    if (fates.get(row)?.becomes === 'deleted' || row.blocked !== null) continue;
    const set = byName<SqlValue>();
    for (const counter of row.mapping.counters) {
      const before = countedBelow(row, counter);
      if (before.length === 0) continue;
      // The app counts when it ends a row: who ends it for the app counts all of it.
      if (!ends(row, fates) && !before.some((below) => fates.has(below))) continue;
      if (nests(row, counter)) continue;
      const value = row.values[counter.column] ?? null;
      // A list of what failed, for instance, counts nothing.
      if (value !== null && typeof value !== 'number') continue;
      const count = before.filter((below) => isCounted(below, counter, fates)).length;
      // A total is set by the app in advance: it is only changed if it counted exactly these rows.
      if (counter.counts === 'total' && value !== before.length) continue;
      // It has counted rows that the app has removed since.
      if (value !== null && value > count && counter.counts !== 'total' && expectsMore(row))
        continue;
      if (value !== count) set[counter.column] = count;
    }
    if (Object.keys(set).length > 0) counted.set(row, set);
  }
  return counted;
}

function ends(row: JobRow, fates: Fates): boolean {
  const becomes = fates.get(row)?.becomes;
  return becomes !== undefined && isEnded(becomes);
}

function isCounted(row: JobRow, counter: CounterMapping, fates: Fates): boolean {
  const status = fates.get(row)?.becomes ?? row.status;
  return counter.counts === 'total' ? status !== 'deleted' : status === counter.counts;
}

/** Nested rows of one table: it is unclear whether the app counts them. */
const nests = (row: JobRow, counter: CounterMapping): boolean =>
  descendantsOf(row).some((below) => below.mapping.table === counter.table && isOwn(below));
