import type { CommitId } from '../release.ts';
import type { ReleaseState, SoakFigures } from '../soak.ts';
import type { EpochSeconds, Seconds } from '../units.ts';

/** Of the newest release that stayed and proved any; `null`: there is none. */
export interface SettingsFact {
  readonly transaction: string;
  /** As `systemctl show` printed them. */
  readonly properties: Readonly<Record<string, string>>;
}

/** A transaction that the host has on record. Lists of them are in the host's own order. */
export interface TransactionFact {
  readonly id: string;
  readonly action: string;
  readonly holder: string;
  /** The worker that it is about; `null`: the host. Absent: the agent is older than the question. */
  readonly unit?: string | null;
  readonly startedAt: EpochSeconds;
  readonly state: 'open' | 'committed' | 'undone' | 'undo-failed';
  /** Who undid it: a run, or `the host itself`; empty if it failed, or was not undone. */
  readonly undoneBy: string;
  readonly undoneWhy: string;
}

/** What the undo of a transaction will do. */
export interface UndoingFact {
  readonly id: string;
  /** In the order of the undo; only steps that were done. */
  readonly steps: readonly {
    readonly op: string;
    /** That it works on; `null`: on none. */
    readonly unit: string | null;
    /** Of the file or folder that it changes; `null`: none. */
    readonly path: string | null;
    /** Of the way forward. */
    readonly title: string;
    /** Of the way forward; may be empty. */
    readonly diff: string;
    /** There is a diff, which is too long to be shown. */
    readonly cut: boolean;
    /** What becomes of each row, as many as fit; empty but for repairs. */
    readonly rows: readonly string[];
    /** All of them. */
    readonly rowCount: number;
  }[];
}

/** One of any unit. */
export interface PastTransaction extends TransactionFact {
  /** `null`: of the host as a whole. */
  readonly unit: string | null;
}

/** What happened on the host, of all units, that a run reports or finishes. */
export interface PastFact {
  /** Undone by the host itself, and not reported by any run yet; in the host's own order. */
  readonly untold: readonly PastTransaction[];
  /** At work, if `working`; otherwise interrupted. */
  readonly open: readonly PastTransaction[];
  /** Who holds the host's lock; `null`: nobody. */
  readonly working: string | null;
  /** Releases that are rolled back automatically unless verify confirms them. */
  readonly awaiting: readonly {
    readonly unit: string;
    /** Newest first. */
    readonly transactions: readonly string[];
    readonly deadline: EpochSeconds;
    readonly withinSeconds: Seconds;
  }[];
  /** Temporary files of killed runs. */
  readonly leftovers: readonly string[];
  /** Lasting findings that earlier runs told, by what they were about. */
  readonly notices: Readonly<Record<string, readonly string[]>>;
}

/** The ledger of one unit. Release 0 is the unit as it was before Celeriac. */
export interface ReleasesFact {
  /** Oldest first. */
  readonly releases: readonly LedgerRelease[];
  /** Releases that are rolled back automatically unless verify confirms them; newest first. */
  readonly awaiting: {
    readonly transactions: readonly string[];
    readonly deadline: EpochSeconds;
  } | null;
  /** Whether a timer on the host is set for the deadline. */
  readonly guarded: boolean;
  /** `null`: no release that runs put code in place. Absent: the agent is older than the question. */
  readonly code?: PlacedCode | null;
}

/** The code of the release that runs, and what is there now. */
export interface PlacedCode {
  /** The checkout, or the folder of uploaded releases. */
  readonly path: string;
  readonly wanted: CommitId;
  /** A commit, or where a link points that is no release; `null`: not known. */
  readonly actual: string | null;
  /** Why it is not known. */
  readonly problem: string;
}

export interface LedgerRelease {
  readonly release: number;
  /** `null`: release 0. */
  readonly transaction: string | null;
  readonly at: EpochSeconds;
  readonly holder: string;
  readonly actor: string;
  readonly sha: string;
  readonly verdict: 'none' | 'confirmed' | 'rolled-back';
  readonly why: string;
  readonly state: ReleaseState;
  /** Since when it is in that state. */
  readonly since: EpochSeconds;
  /** Who put it there; `''` for release 0. */
  readonly by: string;
  /** The sentence of the soak's verdict; `''`: none yet. */
  readonly soakWhy: string;
  /** What the soak measured; `null`: no verdict yet. */
  readonly figures: SoakFigures | null;
  /** What the gate measured that confirmed it; `null`: nothing was recorded. */
  readonly gateFigures: SoakFigures | null;
  /** False once its journal was pruned: it can no longer be undone. */
  readonly kept: boolean;
}
