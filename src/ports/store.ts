import type { RowChange } from '../model/operation/jobs.ts';
import type { Rehearsal, StoreRow } from '../model/store-row.ts';

/** A private copy of a job database, to read and to rehearse changes on. */
export interface Store extends Disposable {
  /** Every row of a table with these columns. */
  readRows(table: string, columns: readonly string[]): Promise<readonly StoreRow[]>;
  /** Some of the newest texts and numbers in each column; no columns if there is no such table. */
  sampleValues(table: string): Promise<Readonly<Record<string, readonly (string | number)[]>>>;
  /** Damage, one line each; empty if there is none. */
  findDamage(): Promise<readonly string[]>;
  /** Makes the changes on the copy as the host would, and checks their effects. */
  rehearse(changes: readonly RowChange[]): Promise<Rehearsal>;
}

/**
 * Opens a copy; it is removed when the store is disposed of.
 *
 * @throws ConfigError when the content is not a database, is too damaged to read, or takes more memory
 * or time than it should; the same goes for every method
 */
export type OpenStore = (database: string, content: Uint8Array) => Promise<Store>;
