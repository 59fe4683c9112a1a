/** The meaning of a table's columns. Column names are those of the table. */
export interface TableMapping {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** The app's status values → ours, where they differ. */
  readonly words: Readonly<Record<string, StatusWord>>;
  /** Which of our words its rows have as they are: these are written, whatever `words` says. */
  readonly used: readonly StatusWord[];
  /** The app's word for what ended and completed in part; `null`: the app has none. */
  readonly partial: string | null;
  /** How its status column spells our words, where it does so otherwise: `FAILED`, `error`. */
  readonly spelled: Readonly<Partial<Record<StatusWord, string>>>;
  /** The only words that its status column takes; `null`: nothing says so. */
  readonly labels: readonly string[] | null;
  /** How to send the task of a row again; `null`: unknown. */
  readonly resend: Resend | null;
  /** The table with the parents of this table's rows. */
  readonly parent: ParentMapping | null;
  /** The column in which a row names its parent in the same table. */
  readonly own: OwnTie | null;
  readonly created: string | null;
  readonly started: string | null;
  readonly completed: string | null;
  readonly updated: string | null;
  readonly error: string | null;
  readonly task: string | null;
  /** What may be written into a column, by its name. */
  readonly fits: Readonly<Record<string, ColumnFit>>;
  /** Every column with a time at which something happened to the row. */
  readonly times: readonly string[];
  /** Columns that count rows of a child table: `completed_links`, `total_links`. */
  readonly counters: readonly CounterMapping[];
  /** Tables without jobs whose rows reference rows of this one. */
  readonly bystanders: readonly BystanderMapping[];
}

/** What a column takes. */
export interface ColumnFit {
  /** `other`: no text, as a number or a boolean. */
  readonly holds: 'text' | 'json' | 'other';
  /** The characters that a text may have; `null`: as many as it likes. */
  readonly longest: number | null;
  /** What stands in it when there is nothing to say; left out when it takes nothing of the kind. */
  readonly empty?: string | number | null;
  readonly ids: IdForm;
}

/** How a column holds UUIDs, as its type shows; `plain`: without dashes, `binary`: not as text. */
export type IdForm = 'dashed' | 'plain' | 'binary';

/** A reference from rows that are never changed but may show that the referenced job is alive. */
export interface BystanderMapping {
  readonly table: string;
  readonly column: string;
  /** The referenced column of the job table. */
  readonly to: string;
  /** Declared in the schema: the referenced row cannot be deleted without this one. */
  readonly foreignKey: boolean;
  readonly status: string | null;
  readonly times: readonly string[];
}

export interface ParentMapping {
  readonly table: string;
  readonly column: string;
  /** Declared in the schema; otherwise only inferred from its name. */
  readonly foreignKey: boolean;
}

export type OwnTie = Omit<ParentMapping, 'table'>;

export interface CounterMapping {
  readonly column: string;
  /** The child table whose rows it counts. */
  readonly table: string;
  /** The status it counts, or all rows. */
  readonly counts: 'total' | StatusWord;
}

/** A call of a task; its arguments are columns of the row. */
export interface Resend {
  /** Its name in Celery: `tasks.process_link`. */
  readonly task: string;
  readonly args: readonly string[];
  /** `null`: the app's own routing. */
  readonly queue: string | null;
}

/**
 * The rows to read from a job database that is too large to copy: those that may need repair, with
 * all their ancestors and descendants. The host selects them by these rules alone.
 */
export interface Extract {
  /** The unit whose user and environment are used to connect to a PostgreSQL database. */
  readonly unit: string;
  /** Parents before children. */
  readonly tables: readonly ExtractTable[];
  /**
   * The name of one more table of the copy, with `table`, `status` and `rows`: how many rows each table
   * has in each status, also of those that are not in the copy.
   */
  readonly counts: string;
  /** How many rows in each unknown status are read. */
  readonly mostUnknown: number;
}

export interface ExtractTable {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** The columns to read; from a SQLite database, all columns are read. */
  readonly columns: readonly string[];
  readonly parent: ParentMapping | null;
  readonly own: OwnTie | null;
  /** Selects rows with one of these statuses. */
  readonly statuses: readonly (string | number)[];
  /** Unknown statuses that read like work: selects some rows with each, to tell of them. */
  readonly unknown: readonly string[];
  /** Selects rows that reference a missing parent. */
  readonly orphanedBy: readonly ParentMapping[];
  /** Selects rows with one of these ids. */
  readonly ids: readonly (string | number)[];
  /** Selects rows whose id, as text, begins with one of these. */
  readonly beginnings: readonly string[];
  /** Tables without jobs; their rows are read too if they reference a selected row. */
  readonly bystanders: readonly ExtractBystander[];
}

export interface ExtractBystander extends Pick<BystanderMapping, 'table' | 'column' | 'to'> {
  readonly foreignKey: boolean;
  readonly columns: readonly string[];
}

/** Tables, parents before children. */
export type StoreMapping = readonly TableMapping[];

export type StatusWord =
  | 'pending'
  | 'processing'
  | 'completed'
  /** Ended; some of it completed. */
  | 'partial'
  | 'failed'
  | 'cancelled';
