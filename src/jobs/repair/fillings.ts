import type { TableMapping } from '../tables/mapping.ts';
import type { Fate } from './fate.ts';

/** What to write into a column of a row that gets another status. */
export interface Filling {
  readonly column: string;
  /** `now` and `end` are times: of the change, and of the row's end. */
  readonly fill: 'status' | 'now' | 'end' | 'message' | 'nothing';
}

/**
 * The columns to write with a status: a row that becomes pending again keeps nothing of its last
 * run; one that ends gets the time, and the error if it failed.
 *
 * @param owed its task is still in the broker, so the row keeps the id of the task
 */
export function fillingsFor(
  mapping: TableMapping,
  becomes: Exclude<Fate['becomes'], 'deleted'>,
  owed = false,
): readonly Filling[] {
  const { id, status, started, completed, updated, error, task } = mapping;
  const fills: readonly (readonly [string | null, Filling['fill']])[] = [
    [status, 'status'],
    [updated, 'now'],
    ...(becomes === 'pending'
      ? [started, completed, error, owed || task === id ? null : task].map(
          (name) => [name, 'nothing'] as const,
        )
      : ([
          [completed, 'end'],
          [error, 'message'],
        ] as const)),
  ];
  return fills.flatMap(([column, fill]) => (column === null ? [] : [{ column, fill }]));
}

/** Precedes the app's own error message. */
export const beforeWords = '; previous error: ';
