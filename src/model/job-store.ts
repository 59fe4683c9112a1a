/** Which columns of a table say what. Columns are named as the table names them. */
export interface TableMapping {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** What the app's own words for a status mean, where they are not our words. */
  readonly words: Readonly<Record<string, StatusWord>>;
  /** Which of our words its rows have as they are: these are written, whatever `words` says. */
  readonly used: readonly StatusWord[];
  /** The app's word for what ended and completed in part; `null`: the app has none. */
  readonly partial: string | null;
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

/**
 * What the host has to know of a table to settle its jobs while no worker runs: which statuses and
 * columns count, and what is written. It looks which rows these are, and decides nothing else.
 */
export interface SettledTable {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** `null`: its rows are never abandoned themselves. */
  readonly task: string | null;
  readonly parent: ParentMapping | null;
  readonly own: OwnTie | null;
  /** The columns that are compared again before a row is changed. */
  readonly vital: readonly string[];
  /** The statuses of rows that a task is at work on. */
  readonly working: readonly string[];
  /** The statuses of rows that have ended. */
  readonly ended: readonly string[];
  /** Of these, those of rows that completed, as a whole or in part. */
  readonly completed: readonly string[];
  readonly partial: readonly string[];
  /** Of these, those that count as failed. */
  readonly failed: readonly string[];
  /** What a parent becomes of which all, some or none of the rows completed. */
  readonly endsAs: Readonly<Record<'all' | 'some' | 'none', string>>;
  /** What an abandoned row becomes. */
  readonly becomes: string;
  /** The status that a row is given → what is written into its columns. */
  readonly writes: Readonly<Record<string, readonly SettledColumn[]>>;
  /** Columns that say how many rows of a table below there will be. */
  readonly expects: readonly { readonly column: string; readonly table: string }[];
  /** Columns that count the rows of a table below that are in a status. */
  readonly counters: readonly {
    readonly column: string;
    readonly table: string;
    readonly statuses: readonly string[];
  }[];
  /** Tables that hold no jobs: a row that they name waits while theirs is in no status of `over`. */
  readonly waitsFor: readonly {
    readonly table: string;
    readonly column: string;
    readonly to: string;
    readonly status: string;
    readonly over: readonly (string | number)[];
  }[];
}

/** What is written into one column. */
export type SettledColumn =
  | { readonly column: string; readonly value: string | null }
  /** The moment of the change. */
  | { readonly column: string; readonly now: TimeSpelling }
  /** What became of the row, before what the column held; nothing where there is nothing to say. */
  | { readonly column: string; readonly message: { readonly before: string } };

/** How a column writes an instant. */
export type TimeSpelling =
  | {
      readonly kind: 'text';
      readonly separator: ' ' | 'T';
      /** Digits of the fraction of a second; it is cut, never rounded up. */
      readonly fraction: number;
      /** What its clock is ahead of UTC, and what stands behind the time. */
      readonly offsetSeconds: number;
      readonly zone: string;
    }
  | {
      readonly kind: 'epoch';
      /** 1 for seconds, 1000 for milliseconds. */
      readonly perSecond: number;
      /** Digits of the fraction of such a unit. */
      readonly fraction: number;
      /** Kept as text, not as a number. */
      readonly text: boolean;
    };

/** Tables in an order in which parents come before what is below them. */
export type StoreMapping = readonly TableMapping[];

export type StatusWord =
  | 'pending'
  | 'processing'
  | 'completed'
  /** Ended; some of it completed. */
  | 'partial'
  | 'failed'
  | 'cancelled';
