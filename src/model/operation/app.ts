/** How to start a process that imports the app: as the unit does, with its user and directory. */
export interface ByTheApp {
  readonly unit: string;
  /** The interpreter and its leading arguments, e.g. `['/usr/bin/python3']`. */
  readonly interpreter: readonly string[];
  /** The value of `-A`. */
  readonly app: string;
  /** Directories to prepend to the module search path. */
  readonly pythonPath: readonly string[];
}

/** How the host recognizes workers of the app that run outside the unit. */
export interface WorkerSearch {
  /** Their working directory; symbolic links are resolved. */
  readonly directory: string;
  /**
   * A regular expression with the same meaning in JavaScript and Python, for the arguments of a
   * process, each followed by a NUL.
   */
  readonly command: string;
}

/** How to ask the app's broker and workers, including workers outside the unit. */
export interface AskingTheApp extends ByTheApp {
  readonly otherWorkers: WorkerSearch;
}
