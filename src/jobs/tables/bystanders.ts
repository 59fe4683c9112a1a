import type { BystanderMapping } from '../../model/job-store.ts';
import type { StoreRow, StoreValue } from '../../model/store-row.ts';
import { type EpochSeconds, epochSeconds } from '../../model/units.ts';
import { readInstant } from './instants.ts';
import { isUnfinishedWord } from './job-words.ts';
import type { TableMapping } from './mapping.ts';

/**
 * The rows of one table that name a job, and are none themselves: a comment on it, or its parts in a
 * table that nothing shows to be one of jobs. They are seen, and never changed.
 */
export interface Bystanders {
  readonly mapping: BystanderMapping;
  readonly rows: number;
  /** Those in a status of unfinished work. */
  readonly unfinished: number;
  /** The times in them that can be read; what is in the future is no sign of life. */
  readonly times: readonly EpochSeconds[];
}

/** A tie → what is named by it → the rows that do. */
export type BystandersByKey = ReadonlyMap<BystanderMapping, ReadonlyMap<string, Bystanders>>;

type Counted = { -readonly [Key in keyof Bystanders]: Bystanders[Key] } & { times: EpochSeconds[] };

/** The columns that are read of a table that holds no jobs. */
export const bystanderColumns = ({
  column,
  status,
  times,
}: BystanderMapping): readonly string[] => [
  ...new Set([column, ...(status === null ? [] : [status]), ...times]),
];

/** Reads the tables that hold no jobs and name rows of this one. */
export function countBystanders(
  { bystanders }: TableMapping,
  readRows: (table: string, columns: readonly string[]) => readonly StoreRow[],
  timeZone: string,
): BystandersByKey {
  return new Map(
    bystanders.map((mapping) => {
      const { table, column, status, times } = mapping;
      const byKey = new Map<string, Counted>();
      for (const row of readRows(table, bystanderColumns(mapping))) {
        const key = readKey(row[column]);
        if (key === null) continue;
        const counted = byKey.get(key) ?? { mapping, rows: 0, unfinished: 0, times: [] };
        byKey.set(key, counted);
        counted.rows += 1;
        const word = status === null ? null : row[status];
        if (typeof word === 'string' && isUnfinishedWord(word)) counted.unfinished += 1;
        for (const time of times) {
          const reading = readInstant(row[time] ?? null, timeZone);
          if (reading.kind === 'instant') counted.times.push(epochSeconds(reading.at));
        }
      }
      return [mapping, byKey] as const;
    }),
  );
}

/** Those that name a row with these values. */
export function bystandersOf(
  { values }: { readonly values: StoreRow },
  found: BystandersByKey,
): readonly Bystanders[] {
  return [...found].flatMap(([{ to }, byKey]) => {
    const key = readKey(values[to]);
    const named = key === null ? undefined : byKey.get(key);
    return named === undefined ? [] : [named];
  });
}

/**
 * Those that a foreign key ties to what is to go: a row of theirs would be deleted or changed with
 * it, or the database would refuse.
 *
 * @param column what is emptied of the row; `null`: the row is deleted
 */
export const holdersOf = (
  { bystanders }: { readonly bystanders: readonly Bystanders[] },
  column: string | null,
): readonly Bystanders[] =>
  bystanders.filter(
    ({ mapping }) => mapping.foreignKey && (column === null || mapping.to === column),
  );

/** What a row is named by, as text; `null` when nothing can name it. */
export const readKey = (key: StoreValue | undefined): string | null =>
  typeof key === 'string' || typeof key === 'number' ? String(key) : null;
