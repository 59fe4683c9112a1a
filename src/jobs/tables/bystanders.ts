import type { BystanderMapping } from '../../model/job-store.ts';
import type { StoreRow, StoreValue } from '../../model/store-row.ts';
import { type EpochSeconds, epochSeconds } from '../../model/units.ts';
import { readInstant } from './instants.ts';
import { isUnfinishedWord } from './job-words.ts';
import type { TableMapping } from './mapping.ts';

/**
 * The rows of one table that reference a job but are not jobs themselves: a comment on it, or parts of
 * it in a table that is not recognized as one of jobs. They are read, but never changed.
 */
export interface Bystanders {
  readonly mapping: BystanderMapping;
  readonly rows: number;
  /** Those with a status of unfinished work. */
  readonly unfinished: number;
  /** Their readable timestamps; one in the future is not a sign of life. */
  readonly times: readonly EpochSeconds[];
}

/** Reference → referenced key → the rows with that reference. */
export type BystandersByKey = ReadonlyMap<BystanderMapping, ReadonlyMap<string, Bystanders>>;

type Counted = { -readonly [Key in keyof Bystanders]: Bystanders[Key] } & { times: EpochSeconds[] };

/** The columns that are read of a table without jobs. */
export const bystanderColumns = ({
  column,
  status,
  times,
}: BystanderMapping): readonly string[] => [
  ...new Set([column, ...(status === null ? [] : [status]), ...times]),
];

/** Reads the tables that hold no jobs but reference rows of this table. */
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

/** The bystanders that reference a row with these values. */
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
 * The bystanders with a foreign key to a row that is about to go: they would be deleted or changed
 * with it, or the database would refuse.
 *
 * @param column the column of the row that is cleared; `null`: the row is deleted
 */
export const holdersOf = (
  { bystanders }: { readonly bystanders: readonly Bystanders[] },
  column: string | null,
): readonly Bystanders[] =>
  bystanders.filter(
    ({ mapping }) => mapping.foreignKey && (column === null || mapping.to === column),
  );

/** A key that can be referenced, as text; `null` for other values. */
export const readKey = (key: StoreValue | undefined): string | null =>
  typeof key === 'string' || typeof key === 'number' ? String(key) : null;
