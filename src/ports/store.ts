import type { RowChange } from '../model/operation.ts';
import type { Rehearsal, StoreRow } from '../model/store-row.ts';

/** A private copy of a job store: to read, and to try changes on before the host sees them. */
export interface Store extends Disposable {
  /** Every row of a table with these columns. */
  readRows(table: string, columns: readonly string[]): readonly StoreRow[];
  /** Some of the newest texts and numbers in each column; no columns if there is no such table. */
  sampleValues(table: string): Readonly<Record<string, readonly (string | number)[]>>;
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
