import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import { formatCount, formatInstant } from '../../model/quantities.ts';
import type { RecordedStop } from '../judge/recorded-stop.ts';
import type { JobForest } from '../tables/job-forest.ts';

/** What became of the jobs that a restart left behind. */
export interface Settled {
  readonly stop: RecordedStop;
  /** Rows that were changed. */
  readonly rows: number;
  /** Rows that look abandoned and were left; the findings say why. */
  readonly left: number;
  /** `null`: there was nothing to change. */
  readonly transaction: string | null;
}

/** One or two sentences for people. */
export function describeSettled({ stop, rows, left, transaction }: Settled): string {
  const since = `${stop.unit} stopped (${formatInstant(stop.at)})`;
  const rest = left === 0 ? '' : ` ${formatCount(left, 'row')} skipped, for the reasons given.`;
  if (transaction === null) {
    const none = left === 0 ? 'No job was abandoned' : 'No abandoned job was settled';
    return `${none}: none is in progress since before ${since} without a task.${rest}`;
  }
  return `Settled ${formatCount(rows, 'row')} of jobs that were in progress since before ${since}, transaction ${transaction}.${rest}`;
}

/** The rows of a database that are in progress. */
export interface InProgress {
  readonly database: string;
  /** Table → rows. */
  readonly tables: ReadonlyMap<string, number>;
}

export function countInProgress(database: string, { rows }: JobForest): InProgress {
  const working = rows.filter(({ status }) => status === 'processing');
  const tables = Map.groupBy(working, ({ mapping }) => mapping.table);
  return { database, tables: new Map([...tables].map(([name, own]) => [name, own.length])) };
}

/** What a restart would settle, and by which rule: a worker that runs may still end its jobs. */
export function describeToSettle(
  found: readonly InProgress[],
  { action, unit }: Pick<CleanUpDesired, 'action' | 'unit'>,
): string {
  const lists = found.map(({ database, tables }) => {
    const counts = [...tables].map(([table, rows]) => `${rows} ${table}`);
    return `${counts.join(', ') || 'no rows'} in ${database}`;
  });
  return `Dry run: in progress now: ${lists.join('; ')}. Once ${unit} has been restarted successfully, \`${action}\` would settle those that are in progress since before its stop, unless their task is in a queue, unacknowledged or held by a worker by then.`;
}
