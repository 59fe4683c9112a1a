import type { StoreTable } from '../../model/facts.ts';
import type { StoreMapping, TableMapping } from '../../model/job-store.ts';
import { meaningOf } from './mapping.ts';

/**
 * Adds the app's word for work that completed in part. An app that uses it in one of its tables of
 * jobs uses it in the others as well, although none of their rows may have it yet.
 *
 * @param tables the same tables, with their statuses
 */
export function addPartial(mapping: StoreMapping, tables: readonly StoreTable[]): StoreMapping {
  const own = new Map(mapping.map((table) => [table.table, ownWord(table, tables)]));
  const shared = [...own.values()].find((word) => word !== null) ?? null;
  const takes = (table: TableMapping): boolean =>
    shared !== null &&
    meaningOf(table, shared) === 'partial' &&
    // A table with other words for all of its statuses has another one for this, or none.
    (Object.keys(table.words).length === 0 || table.used.length > 0);
  return mapping.map((table) => ({
    ...table,
    partial: own.get(table.table) ?? (takes(table) ? shared : null),
  }));
}

function ownWord(table: TableMapping, tables: readonly StoreTable[]): string | null {
  const said = Object.entries(table.words).find(([, meaning]) => meaning === 'partial')?.[0];
  const statuses = tables.find(({ name }) => name === table.table)?.statuses ?? [];
  const found = statuses.find(
    (status) => typeof status === 'string' && meaningOf(table, status) === 'partial',
  );
  return said ?? (typeof found === 'string' ? found : null);
}
