import type { SqlValue } from './operation.ts';

/** A value that a column of jobs should not contain: a BLOB, or an integer beyond 2^53. */
export interface OpaqueValue {
  readonly opaque: 'blob' | 'integer';
}

export type StoreValue = SqlValue | OpaqueValue;
export type StoreRow = Readonly<Record<string, StoreValue>>;

/** The result of a rehearsal. It succeeded only if `problems` is empty. */
export interface Rehearsal {
  /** Rows that were updated and deleted, by table. */
  readonly changed: Readonly<
    Record<string, { readonly updated: number; readonly deleted: number }>
  >;
  /** One line each: a row that has changed, a violated constraint, damage, rows lost elsewhere. */
  readonly problems: readonly string[];
}
