import { readInstant } from '../tables/instants.ts';
import { descendantsOf, type JobRow, mirrorAbove, nameRow } from '../tables/job-forest.ts';
import { singularOf } from '../tables/names.ts';
import { isPlannedTime } from '../tables/time-columns.ts';
import { hasAllRows } from './expected-rows.ts';
import { clockTolerance, readDay } from './signs-of-life.ts';

/**
 * What a job waits for: a parent for its next run, or one of its rows for its time. `null`: nothing. A
 * row that is at work has begun, whenever it is to run again.
 */
export function awaitedTime(
  row: JobRow,
  { now, timeZone }: { readonly now: number; readonly timeZone: string },
): string | null {
  const top = mirrorAbove(row) ?? row;
  for (const each of [top, ...descendantsOf(top)]) {
    if (each.status !== 'pending' && (each !== row || each.children.length === 0)) continue;
    const column = each.mapping.times.filter(isPlannedTime).find((name) => {
      const value = each.values[name] ?? null;
      const reading = readInstant(value, timeZone);
      const at = reading.kind === 'instant' ? reading.at : readDay(value, timeZone);
      return at !== null && at > now + clockTolerance;
    });
    if (column !== undefined) {
      return `${nameRow(each)} has ${column} = ${String(each.values[column])}, which is in the future`;
    }
  }
  return null;
}

/** The same work once more, not a part of it: `job_runs` of `jobs`, `import_job_attempts`. */
const again = /^(?:run|attempt|execution|try|retry)$/;

/**
 * Whether the rows below it are runs of itself: then it may stay pending between them, however many
 * have ended.
 */
export const isBetweenRuns = (row: JobRow): boolean =>
  row.status === 'pending' &&
  row.children.length > 0 &&
  !hasAllRows(row) &&
  row.children.every(({ mapping }) => {
    const own = `${singularOf(row.mapping.table)}_`;
    const name = singularOf(mapping.table);
    return name.startsWith(own) && again.test(name.slice(own.length));
  });
