import type { SqlValue } from '../../model/operation/jobs.ts';
import type { Finding } from '../../model/operation.ts';
import { formatCount, formatDuration } from '../../model/quantities.ts';
import { readInstant } from '../tables/instants.ts';
import { shortId } from '../tables/job-forest.ts';
import { isSignOfLife } from '../tables/time-columns.ts';
import { greatestOffset, leastBehind } from '../tables/zone-offsets.ts';

/** A row that was to be changed, and moved between the two looks. */
export interface MovedRow {
  readonly table: string;
  readonly id: string | number;
  /** Its new values, and when they were seen, by the host's clock. */
  readonly moved?: Readonly<Record<string, SqlValue>>;
  readonly seenAt?: number;
}

/** Zones differ by multiples of this. */
const step = 15 * 60;

/**
 * Warns of times that are read in a zone in which they are too old. A time that a job wrote between the
 * two looks and that reads as hours ago, by a difference of zones, was written in another zone. Jobs that
 * are idle do not move, so they never warn. `zone-lag.ts` tells what a single look can.
 *
 * @param betweenSeconds the longest time between the looks
 */
export function warnOfOldTimes(
  rows: readonly MovedRow[],
  timeZone: string,
  betweenSeconds: number,
): readonly Finding[] {
  return [...Map.groupBy(rows, ({ table }) => table)].flatMap(([table, own]): Finding[] => {
    const found = own.flatMap((row) => findOld(row, timeZone, betweenSeconds) ?? []);
    const [first] = found;
    if (first === undefined) return [];
    const message = `${table}: ${formatCount(found.length, 'row')} changed just now, but with times that read as ${formatDuration(first.lag)} ago, such as ${first.column} = '${first.value}' of ${shortId(first.id)}; times without a zone are read as ${timeZone}, so rows look older than they are: set \`timezone\` to the zone in which the app writes them`;
    return [{ level: 'warning', message }];
  });
}

interface OldTime {
  readonly id: string | number;
  readonly column: string;
  readonly value: SqlValue;
  /** A multiple of `step`, in seconds. */
  readonly lag: number;
}

function findOld(
  { id, moved = {}, seenAt }: MovedRow,
  timeZone: string,
  between: number,
): OldTime | null {
  if (seenAt === undefined) return null;
  // The latest of its times is the one that was written now, if any was.
  const times = Object.entries(moved).flatMap(([column, value]) => {
    const reading = readInstant(value, timeZone);
    if (reading.kind !== 'instant' || !isSignOfLife(column)) return [];
    const isLocal = reading.form.kind === 'text' && reading.form.zone === '';
    return [{ column, value, isLocal, ago: seenAt - reading.at }];
  });
  const [latest] = times.toSorted((a, b) => a.ago - b.ago);
  if (latest === undefined || !latest.isLocal) return null;
  const { column, value, ago } = latest;
  // It was written at most so long before it was seen; clocks of a second may round either way.
  const lag = Math.floor((ago + 1) / step) * step;
  const isOffset = lag >= leastBehind && lag <= greatestOffset && ago - lag <= between + 1;
  return isOffset ? { id, column, value, lag } : null;
}
