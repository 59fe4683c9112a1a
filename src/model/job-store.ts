/** Which columns of a table say what. Columns are named as the table names them. */
export interface TableMapping {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** What the app's own words for a status mean, where they are not our words. */
  readonly words: Readonly<Record<string, StatusWord>>;
  /** How the task of a row is sent again; `null`: not known. */
  readonly resend: Resend | null;
  /** The table whose rows this table's rows belong to. */
  readonly parent: ParentMapping | null;
  /** How a row names another of the same table that it belongs to; that one comes first. */
  readonly own: OwnTie | null;
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
  /** Tables that hold no jobs, whose rows name rows of this one. */
  readonly bystanders: readonly BystanderMapping[];
}

/** A tie from rows that are never changed, and may say that what they name is alive. */
export interface BystanderMapping {
  readonly table: string;
  readonly column: string;
  /** The column of the table above that it names. */
  readonly to: string;
  /** Declared in the schema: what it names can't be deleted without it. */
  readonly foreignKey: boolean;
  readonly status: string | null;
  readonly times: readonly string[];
}

export interface ParentMapping {
  readonly table: string;
  readonly column: string;
  /** Declared in the schema; else known by its name alone, and perhaps a mirror. */
  readonly foreignKey: boolean;
}

export type OwnTie = Omit<ParentMapping, 'table'>;

export interface CounterMapping {
  readonly column: string;
  /** The table below whose rows it counts. */
  readonly table: string;
  /** The status it counts, or all rows. */
  readonly counts: 'total' | StatusWord;
}

/** A call of a task: its arguments are columns of the row. */
export interface Resend {
  /** As Celery knows it: `tasks.process_link`. */
  readonly task: string;
  readonly args: readonly string[];
  /** `null`: the app's own routing. */
  readonly queue: string | null;
}

/**
 * Which rows of a job database are needed when the whole of it is too much: those that may want
 * repair, with all above and below them. The host finds them by what stands here and judges nothing.
 */
export interface Extract {
  /** Whose user and environment a PostgreSQL database is reached with. */
  readonly unit: string;
  /** Parents before what is below them. */
  readonly tables: readonly ExtractTable[];
}

export interface ExtractTable {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** The columns that are read; a SQLite database gives all that the table has. */
  readonly columns: readonly string[];
  readonly parent: ParentMapping | null;
  readonly own: OwnTie | null;
  /** Rows with one of these in their status column are wanted. */
  readonly statuses: readonly (string | number)[];
  /** So are rows that name, by one of these ties, a row that is not there. */
  readonly orphanedBy: readonly ParentMapping[];
  /** So are rows with one of these ids, and rows whose id as text begins like this. */
  readonly ids: readonly (string | number)[];
  readonly beginnings: readonly string[];
  /** Tables that hold no jobs, whose rows come along when they name wanted rows. */
  readonly bystanders: readonly ExtractBystander[];
}

export interface ExtractBystander extends Pick<BystanderMapping, 'table' | 'column' | 'to'> {
  readonly foreignKey: boolean;
  readonly columns: readonly string[];
}

/** Tables in an order in which parents come before what is below them. */
export type StoreMapping = readonly TableMapping[];

export type StatusWord = 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled';
