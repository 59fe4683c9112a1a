import type { RowChange, SqlValue } from '../model/operation.ts';

/** What a row holds that no column of jobs should: a BLOB, or an integer beyond 2^53. */
export interface OpaqueValue {
  readonly opaque: 'blob' | 'integer';
}

export type StoreValue = SqlValue | OpaqueValue;
export type StoreRow = Readonly<Record<string, StoreValue>>;

/** How a rehearsal ended. Everything is well only when `problems` is empty. */
export interface Rehearsal {
  /** Rows that were updated and deleted, by table. */
  readonly changed: Readonly<
    Record<string, { readonly updated: number; readonly deleted: number }>
  >;
  /** One line each: a row that is not as seen, a constraint, damage, rows lost elsewhere. */
  readonly problems: readonly string[];
}

/** A private copy of a job store: to read, and to try changes on before the host sees them. */
export interface Store extends Disposable {
  /** Every row of a table with these columns. */
  readRows(table: string, columns: readonly string[]): readonly StoreRow[];
  /** What is damaged, one line each; empty when nothing is. */
  findDamage(): readonly string[];
  /** Makes the changes on the copy as the host would, and looks at what they did. */
  rehearse(changes: readonly RowChange[]): Rehearsal;
}

/**
 * Opens a copy; it is gone when the store is disposed of.
 *
 * @throws ConfigError when the content is not a database, or is damaged beyond reading
 */
export type OpenStore = (database: string, content: Uint8Array) => Store;
