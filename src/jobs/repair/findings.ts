import type { Finding, TaskCall } from '../../model/operation.ts';
import { formatCount } from '../../report/quantities.ts';
import { ancestorsOf, type JobRow, mirrorAbove } from '../tables/job-forest.ts';
import type { Fates } from './fate.ts';

export function reportEndedOrphans(ended: ReadonlyMap<string, number>): Finding[] {
  return [...ended].map(([table, count]) => ({
    level: 'notice',
    message: `${table}: rows that have ended and whose parent is gone: ${count}; action delete removes them`,
  }));
}

export function reportUnfinished(unfinished: ReadonlyMap<string, number>): Finding[] {
  return [...unfinished].map(([table, count]) => ({
    level: 'notice',
    message: `${table}: ${formatCount(count, 'stuck row')} left so: action finalise ends only what waits for nothing`,
  }));
}

/** Without a foreign key a row of something else may name what is gone, and is not changed. */
export function reportNamedByOthers(fates: Fates): Finding[] {
  const counts = new Map<string, number>();
  for (const [row, { becomes }] of fates) {
    for (const { mapping, rows } of becomes === 'deleted' ? row.bystanders : []) {
      const key = `${mapping.table} by ${mapping.column}`;
      counts.set(key, (counts.get(key) ?? 0) + rows);
    }
  }
  if (counts.size === 0) return [];
  const list = [...counts].map(([key, rows]) => `${formatCount(rows, 'row')} of ${key}`);
  const message = `rows that name what is deleted stay as they are, and name nothing then: ${list.join(', ')}`;
  return [{ level: 'notice', message }];
}

/** Those that nothing starts: neither a task of their own, nor that of a row above or of a mirror. */
export function warnOfReset(fates: Fates, sent: ReadonlyMap<JobRow, TaskCall>): Finding[] {
  const started = (row: JobRow): boolean =>
    [row, ...ancestorsOf(row)].some((each) => sent.has(each)) ||
    row.children.some((child) => mirrorAbove(child) === row && sent.has(child));
  const idle = [...fates].filter(
    ([row, fate]) => fate.becomes === 'pending' && !fate.owed && !started(row),
  );
  if (idle.length === 0) return [];
  const tables = [...new Set(idle.map(([row]) => row.mapping.table))].join(', ');
  return [
    {
      level: 'warning',
      message: `pending starts nothing by itself: the rows that are reset (${idle.length}) wait until the app sends their tasks again; \`resend\` in \`stores\` says how Celeriac can (${tables})`,
    },
  ];
}
