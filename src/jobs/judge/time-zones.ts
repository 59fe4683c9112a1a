import type { Finding } from '../../model/operation.ts';
import { formatCount, formatDuration } from '../../model/quantities.ts';
import type { EpochSeconds } from '../../model/units.ts';
import { readInstant } from '../tables/instants.ts';
import { type JobForest, type JobRow, nameRow } from '../tables/job-forest.ts';
import { greatestOffset } from '../tables/zone-offsets.ts';

/** Zones are at least this far apart. */
const leastOffset = 15 * 60;

/**
 * Warns of times that cannot be right in the time zone in which they are read: rows that changed in the
 * future, or before they were created. Read in the wrong zone, rows look older or younger than they are.
 */
export function warnOfTimeZones(forest: JobForest, now: EpochSeconds): readonly Finding[] {
  return forest.mapping.flatMap(({ table }) => {
    const rows = forest.rows.filter((row) => row.mapping.table === table);
    const future = findOffsets(rows, (row) => readFuture(row, forest.timeZone, now));
    const early = findOffsets(rows, (row) => readEarly(row, forest.timeZone));
    return [
      ...warn(table, future, forest, 'in the future'),
      ...warn(table, early, forest, 'before the row was created'),
    ];
  });
}

interface Offsets {
  readonly example: JobRow;
  readonly rows: number;
  readonly longest: number;
}

function findOffsets(
  rows: readonly JobRow[],
  offsetOf: (row: JobRow) => number | null,
): Offsets | null {
  const found = rows.flatMap((row) => {
    const offset = offsetOf(row);
    return offset !== null && offset >= leastOffset && offset <= greatestOffset
      ? [{ row, offset }]
      : [];
  });
  const [first] = found;
  if (first === undefined) return null;
  const longest = found.reduce((most, { offset }) => Math.max(most, offset), 0);
  return { example: first.row, rows: found.length, longest };
}

/** How far the latest time of a row is in the future, in seconds. */
function readFuture(row: JobRow, timeZone: string, now: EpochSeconds): number | null {
  const { created, started, completed, updated } = row.mapping;
  const times = [created, started, completed, updated].map((name) =>
    readLocal(row, name, timeZone),
  );
  const latest = latestOf(times);
  return latest === null ? null : latest - now;
}

/** How long before its creation a row was started or changed, in seconds. */
function readEarly(row: JobRow, timeZone: string): number | null {
  const { created, started, completed, updated } = row.mapping;
  const born = readLocal(row, created, timeZone);
  const later = [started, completed, updated].map((name) => readLocal(row, name, timeZone));
  const latest = latestOf(later);
  return born === null || latest === null ? null : born - latest;
}

/** A time without a zone; one with a zone cannot be read in a wrong one. */
function readLocal(row: JobRow, column: string | null, timeZone: string): number | null {
  const reading = readInstant(column === null ? null : (row.values[column] ?? null), timeZone);
  const isLocal =
    reading.kind === 'instant' && reading.form.kind === 'text' && reading.form.zone === '';
  return isLocal ? reading.at : null;
}

function latestOf(times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function warn(
  table: string,
  found: Offsets | null,
  { timeZone }: JobForest,
  when: string,
): readonly Finding[] {
  if (found === null) return [];
  const count = formatCount(found.rows, 'row');
  const message = `${table}: times of ${count} are up to ${formatDuration(found.longest)} ${when}, such as those of ${nameRow(found.example)}; times without a zone are read as ${timeZone}, so rows may look older or younger than they are: set \`timezone\` to the zone in which the app writes them`;
  return [{ level: 'warning', message }];
}
