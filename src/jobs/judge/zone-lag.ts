import type { Finding } from '../../model/operation.ts';
import { formatDuration } from '../../model/quantities.ts';
import type { StoreRow } from '../../model/store-row.ts';
import type { EpochSeconds } from '../../model/units.ts';
import { readInstant } from '../tables/instants.ts';
import { type JobForest, type JobRow, nameRow } from '../tables/job-forest.ts';
import { isSignOfLife } from '../tables/time-columns.ts';
import { greatestOffset, leastBehind } from '../tables/zone-offsets.ts';

/*
 * Rows that are older than what is known of them. If the last write to a database was to a job, the
 * newest time of a job is as old as that write; and a row whose task has just begun was written then.
 * A time that reads as whole hours before it may have been written in another zone.
 */

/** Zones behind that of UTC differ from it by multiples of this. */
const stepSeconds = 30 * 60;
/** An app takes the time first, and commits a moment later; so a task begins after it was sent. */
const commitSeconds = 30;
/** A task says that it has begun within a minute. */
const beginSeconds = 60;
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
  const newest = newestOf(forest.rows, forest.timeZone, writtenAt + clockSeconds);
  if (newest === null) return null;
  const ago = writtenAt - newest.at;
  const lag = Math.floor((ago + clockSeconds) / stepSeconds) * stepSeconds;
  return isOffset(lag) && ago - lag <= commitSeconds ? { ...newest, lag } : null;
}

const isOffset = (lag: number): boolean => lag >= leastBehind && lag <= greatestOffset;

/** The newest sign of life until then; `null`: it has a zone of its own, or there is none. */
function newestOf(
  rows: readonly JobRow[],
  timeZone: string,
  until: number,
): Omit<NewestTime, 'lag'> | null {
  let newest: (Omit<NewestTime, 'lag'> & { readonly isLocal: boolean }) | null = null;
  for (const row of rows) {
    for (const column of row.mapping.times.filter(isSignOfLife)) {
      const reading = readInstant(row.values[column] ?? null, timeZone);
      if (reading.kind !== 'instant' || reading.at > until) continue;
      if (newest !== null && newest.at >= reading.at) continue;
      const isLocal = reading.form.kind === 'text' && reading.form.zone === '';
      newest = { row, column, at: reading.at, isLocal };
    }
  }
  if (newest === null || !newest.isLocal) return null;
  const { row, column, at } = newest;
  return { row, column, at };
}

/**
 * The newest time of a row at work, if it reads as earlier than its task began by what zones differ by.
 *
 * @param begunAt when a worker began the task
 */
export function findTaskLag(
  row: JobRow,
  begunAt: EpochSeconds,
  timeZone: string,
): NewestTime | null {
  const newest = newestOf([row], timeZone, begunAt + beginSeconds);
  if (newest === null) return null;
  const ago = begunAt - newest.at;
  const lag = Math.round(ago / stepSeconds) * stepSeconds;
  const isNear = ago - lag >= -beginSeconds && ago - lag <= commitSeconds;
  return isOffset(lag) && isNear ? { ...newest, lag } : null;
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

/** The warning about the newest time of all jobs. */
export const warnOfLag = (newest: NewestTime, forest: Pick<JobForest, 'timeZone'>): Finding =>
  warn(
    `the newest time of all jobs, ${tell(newest)},`,
    'the last write to the database',
    newest,
    forest,
  );

/** The warning about a row whose task has begun. */
export const warnOfTaskLag = (newest: NewestTime, forest: Pick<JobForest, 'timeZone'>): Finding =>
  warn(tell(newest), 'a worker began its task', newest, forest);

const tell = ({ row, column }: NewestTime): string =>
  `${column} = '${row.values[column]}' of ${nameRow(row)}`;

function warn(
  what: string,
  before: string,
  { row, lag }: NewestTime,
  { timeZone }: Pick<JobForest, 'timeZone'>,
): Finding {
  const message = `${row.mapping.table}: ${what} reads as ${formatDuration(lag)} before ${before}; times without a zone are read as ${timeZone}, so rows may look older than they are: set \`timezone\` to the zone in which the app writes them`;
  return { level: 'warning', message };
}
