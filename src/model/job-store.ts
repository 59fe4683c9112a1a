/** Which columns of a table say what. Columns are named as the table names them. */
export interface TableMapping {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** The table whose rows this table's rows belong to. */
  readonly parent: ParentMapping | null;
  readonly created: string | null;
  readonly started: string | null;
  readonly completed: string | null;
  readonly updated: string | null;
  readonly error: string | null;
  readonly task: string | null;
  /** Every column that tells when something happened to the row. */
  readonly times: readonly string[];
  /** Columns that count rows of a table below: `completed_links`, `total_links`. */
  readonly counters: readonly CounterMapping[];
}

export interface ParentMapping {
  readonly table: string;
  readonly column: string;
  /** Declared in the schema; else known by its name alone, and perhaps a mirror. */
  readonly foreignKey: boolean;
}

export interface CounterMapping {
  readonly column: string;
  /** The table below whose rows it counts. */
  readonly table: string;
  /** The status it counts, or all rows. */
  readonly counts: 'total' | StatusWord;
}

/** Tables in an order in which parents come before what is below them. */
export type StoreMapping = readonly TableMapping[];

export type StatusWord = 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled';
