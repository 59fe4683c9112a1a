import type { SqlValue } from './operation/jobs.ts';

/** A value that only the column of a task id should contain: a BLOB; or an integer beyond 2^53. */
export type OpaqueValue =
  | {
      readonly opaque: 'blob';
      /** The UUID that it is, in hexadecimal digits; `null`: it is none. */
      readonly text: string | null;
    }
  | { readonly opaque: 'integer' };

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
  /** What the database's own triggers changed besides. */
  readonly triggered: { readonly rows: number; readonly triggers: readonly string[] };
}
