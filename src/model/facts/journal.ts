import type { EpochSeconds } from '../units.ts';

export interface JournalQuery {
  readonly unit: string;
  /** The run (InvocationID) of an earlier look: if another one runs now, the ends of runs are read. */
  readonly earlierRun?: string;
}

/** How a run of the unit ended, as systemd itself has logged it. */
export interface EndedRun {
  /** Its InvocationID. */
  readonly run: string;
  readonly at: EpochSeconds;
  /** `success`, `exit-code`, `signal`, `oom-kill`…; empty: not said. */
  readonly result: string;
  /**
   * How far it was, by what systemd logs at level info; empty: nothing, as when the unit logs less.
   * Whoever stops a unit while it starts or reloads leaves no `stopped`.
   */
  readonly phase: '' | 'started' | 'not-started' | 'reloading';
  /** Somebody, or a shutdown, had asked systemd to stop it before. */
  readonly stopped: boolean;
  /** systemd itself started it again: NRestarts counts it until the next start by somebody else. */
  readonly restarted: boolean;
  /** What systemd said of its main process, or of the first other one that failed; empty: nothing. */
  readonly exit: string;
}

/** The unit's journal since its current start. Incomplete if journald dropped lines under load. */
export interface JournalFact {
  readonly since: EpochSeconds | null;
  readonly entries: number;
  /** Lines that may matter (429, error, traceback), newest last, limited; verify judges them. */
  readonly suspects: readonly { readonly at: EpochSeconds; readonly message: string }[];
  readonly tail: readonly string[];
  /** Warnings of systemd about the unit, if there were runs before: why they ended. */
  readonly ends: readonly string[];
  /** In the order of their ends; empty unless asked for with `earlierRun`, and another one runs. */
  readonly endedRuns: readonly EndedRun[];
}

export interface LoggedQuery {
  readonly unit: string;
  /** `null`: as far back as the journal goes. */
  readonly since: EpochSeconds | null;
  /** The cursor of an earlier look; takes precedence over `since`. */
  readonly after?: string;
}

/** What a unit logged since a time, of whichever start, grouped on the host. */
export interface LoggedFact {
  readonly since: EpochSeconds | null;
  /** Where this look ended; empty if nothing was logged. */
  readonly cursor: string;
  readonly entries: number;
  /** Whether all lines were read, not only the newest. */
  readonly complete: boolean;
  /** Lines that journald says it dropped: all counts are lower bounds. */
  readonly dropped: number;
  /** Lines of the days before that were read for the comparison; `null`: none could be read. */
  readonly earlier: number | null;
  /** Lines of level ERROR or above, and tracebacks; together they count once. */
  readonly errors: number;
  readonly tracebacks: number;
  /** Type of the exception and the innermost frame of the app, or the words of an error line. */
  readonly signatures: readonly {
    readonly signature: string;
    readonly count: number;
    readonly first: EpochSeconds;
    readonly last: EpochSeconds;
    readonly sample: string;
    /** How often it occurred in the days before; `null`: unknown. */
    readonly before: number | null;
  }[];
  /** Errors of further signatures, which are not listed. */
  readonly moreSignatures: number;
  /** Lines with the number 429, by their form; whether it is a status, verify judges. */
  readonly numbered: readonly {
    readonly sample: string;
    readonly count: number;
    readonly first: EpochSeconds;
    readonly last: EpochSeconds;
    /** The busiest minutes, each by its begin. */
    readonly minutes: readonly { readonly at: EpochSeconds; readonly count: number }[];
  }[];
  readonly moreNumbered: number;
}

export interface KernelFact {
  readonly since: EpochSeconds | null;
  /** Lines of the kernel log about out-of-memory kills since the unit's start. */
  readonly outOfMemory: readonly { readonly at: EpochSeconds; readonly message: string }[];
  /** Whether the kernel log can be read. */
  readonly readable: boolean;
}
