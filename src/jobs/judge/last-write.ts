import type { Finding } from '../../model/operation.ts';
import type { StoreRow } from '../../model/store-row.ts';
import { type EpochSeconds, epochSeconds } from '../../model/units.ts';
import { formatDuration } from '../../report/quantities.ts';
import { readInstant } from '../tables/instants.ts';
import { type JobForest, type JobRow, nameRow } from '../tables/job-forest.ts';
import { isSignOfLife } from '../tables/time-columns.ts';

/*
 * Rows that are older than their database: if its last write was to a job, the newest time of a job is
 * as old as that write. One that reads as whole hours before it may have been written in another zone.
 */

/** Zones behind that of UTC differ from it by multiples of this. */
const stepSeconds = 30 * 60;
const leastOffset = 3600;
const greatestOffset = 26 * 3600;
/** An app takes the time first, and commits a moment later. */
const commitSeconds = 30;
/** A clock of seconds, or of a file system, may be a little behind. */
const clockSeconds = 2;

/** The newest time of a job, as it is read. */
export interface NewestTime {
  readonly row: JobRow;
  readonly column: string;
  readonly at: EpochSeconds;
  /** How long before the last write, in seconds; a multiple of half an hour. */
  readonly lag: number;
}

/**
 * The newest time of all jobs, if it reads as earlier than the last write by what zones differ by.
 *
 * @param writtenAt when somebody last wrote to the database
 */
export function findLag(forest: JobForest, writtenAt: EpochSeconds): NewestTime | null {
  let newest: (Omit<NewestTime, 'lag'> & { readonly isLocal: boolean }) | null = null;
  for (const row of forest.rows) {
    for (const column of row.mapping.times.filter(isSignOfLife)) {
      const reading = readInstant(row.values[column] ?? null, forest.timeZone);
      if (reading.kind !== 'instant' || reading.at > writtenAt + clockSeconds) continue;
      if (newest !== null && newest.at >= reading.at) continue;
      const isLocal = reading.form.kind === 'text' && reading.form.zone === '';
      newest = { row, column, at: reading.at, isLocal };
    }
  }
  if (newest === null || !newest.isLocal) return null;
  const ago = writtenAt - newest.at;
  const lag = Math.floor((ago + clockSeconds) / stepSeconds) * stepSeconds;
  const isOffset = lag >= leastOffset && lag <= greatestOffset && ago - lag <= commitSeconds;
  return isOffset
    ? { row: newest.row, column: newest.column, at: epochSeconds(newest.at), lag }
    : null;
}

/** Whether the last write was to one of these rows, whose times then are read as they were written. */
export function explainsWrite(
  rows: readonly StoreRow[],
  writtenAt: EpochSeconds,
  timeZone: string,
): boolean {
  return rows.some((row) =>
    Object.values(row).some((value) => {
      const reading = readInstant(value, timeZone);
      if (reading.kind !== 'instant') return false;
      const ago = writtenAt - reading.at;
      return ago >= -clockSeconds && ago <= commitSeconds;
    }),
  );
}

/** The warning about it. */
export function warnOfLag(
  { row, column, lag }: NewestTime,
  { timeZone }: Pick<JobForest, 'timeZone'>,
): Finding {
  const time = `${column} = '${row.values[column]}' of ${nameRow(row)}`;
  const message = `${row.mapping.table}: the newest time of all jobs, ${time}, reads as ${formatDuration(lag)} before the last write to the database; times without a zone are read as ${timeZone}, so rows may look older than they are: set \`timezone\` to the zone in which the app writes them`;
  return { level: 'warning', message };
}
