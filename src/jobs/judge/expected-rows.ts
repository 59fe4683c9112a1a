import { descendantsOf, isOwn, type JobRow, mirrorAbove } from '../tables/job-forest.ts';
import type { CounterMapping } from '../tables/mapping.ts';

/** The rows below it that a counter counts. */
export const countedBelow = (row: JobRow, counter: CounterMapping): readonly JobRow[] =>
  descendantsOf(row).filter((below) => below.mapping.table === counter.table && !isOwn(below));

/** Whether its total shows that more rows will be added below it. */
export const expectsMore = (row: JobRow): boolean =>
  row.mapping.counters.some((counter) => {
    const total = totalOf(row, counter);
    return total !== null && total > countedBelow(row, counter).length;
  });

/** Whether its total shows that all rows are there that it will have; a total of 0 was never set. */
export const hasAllRows = (row: JobRow): boolean =>
  row.mapping.counters.some((counter) => {
    const total = totalOf(row, counter);
    return total !== null && total > 0 && total === countedBelow(row, counter).length;
  });

function totalOf({ values }: JobRow, { column, counts }: CounterMapping): number | null {
  const total = values[column];
  return counts === 'total' && typeof total === 'number' ? total : null;
}

/** Whether more rows are expected below it, or below the row that describes the same work. */
export const isIncomplete = (row: JobRow): boolean => describeSame(row).some(expectsMore);

/** The row, and those that describe the same work: its mirror, or the row that it mirrors. */
export const describeSame = (row: JobRow): readonly JobRow[] =>
  [row, mirrorAbove(row), ...row.children.filter((child) => mirrorAbove(child) === row)].filter(
    (each) => each !== null,
  );
