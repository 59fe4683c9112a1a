import type { TaskCall } from '../../model/operation/jobs.ts';
import type { Finding } from '../../model/operation.ts';
import { formatCount } from '../../model/quantities.ts';
import { ancestorsOf, descendantsOf, type JobRow, mirrorAbove } from '../tables/job-forest.ts';
import type { Fates } from './fate.ts';
import { hasDoneWork } from './situations.ts';

export function reportEndedOrphans(ended: ReadonlyMap<string, number>): Finding[] {
  return [...ended].map(([table, count]) => ({
    level: 'notice',
    message: `${table}: skipped ${formatCount(count, 'orphan')} that ended; action delete removes those without completed work`,
  }));
}

export function reportUnfinished(unfinished: ReadonlyMap<string, number>): Finding[] {
  return [...unfinished].map(([table, count]) => ({
    level: 'notice',
    message: `${table}: skipped ${formatCount(count, 'stuck row')}; action finalise only ends parents whose rows have all ended`,
  }));
}

/** Without a foreign key, rows of other tables may reference deleted rows; they are not changed. */
export function reportNamedByOthers(fates: Fates): Finding[] {
  const counts = new Map<string, number>();
  for (const [row, { becomes }] of fates) {
    for (const { mapping, rows } of becomes === 'deleted' ? row.bystanders : []) {
      const key = `${mapping.table} (${mapping.column})`;
      counts.set(key, (counts.get(key) ?? 0) + rows);
    }
  }
  if (counts.size === 0) return [];
  const list = [...counts].map(([key, rows]) => `${formatCount(rows, 'row')} of ${key}`);
  const message = `rows that reference deleted rows stay unchanged: ${list.join(', ')}`;
  return [{ level: 'notice', message }];
}

/** Reset rows that no task starts: neither their own, nor that of an ancestor or a mirror. */
export function warnOfReset(fates: Fates, sent: ReadonlyMap<JobRow, TaskCall>): Finding[] {
  const started = (row: JobRow): boolean =>
    [row, ...ancestorsOf(row)].some((each) => sent.has(each)) ||
    row.children.some((child) => mirrorAbove(child) === row && sent.has(child));
  // A parent with completed rows is not sent; it ends with those that are.
  const follows = (row: JobRow): boolean => hasDoneWork(row) && descendantsOf(row).some(started);
  const idle = [...fates].filter(
    ([row, fate]) => fate.becomes === 'pending' && !fate.owed && !started(row) && !follows(row),
  );
  if (idle.length === 0) return [];
  const tables = [...new Set(idle.map(([row]) => row.mapping.table))].join(', ');
  return [
    {
      level: 'warning',
      message: `${formatCount(idle.length, 'reset row')} will stay pending until the app sends the tasks again; to let Celeriac send them, define \`resend\` in \`stores\` (${tables})`,
    },
  ];
}
