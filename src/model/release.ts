import type { Bytes, EpochSeconds, Seconds, Sha256 } from './units.ts';

/** The whole name of a commit, 40 (or 64) lower-case hexadecimal digits. */
export type CommitId = string;

/** How the code of the app gets to the host. */
export type CodeSource = 'none' | 'git' | 'upload';

/** What is asked of the host; paths that do not matter for the source are `null`. */
export interface ReleaseQuery {
  readonly unit: string;
  readonly source: CodeSource;
  /** `null`: looked for from the unit's WorkingDirectory upwards. */
  readonly checkout: string | null;
  readonly deployTo: string | null;
}

export interface ReleaseFact {
  readonly tree: CodeTree;
  /** What Celeriac installed last for this unit; `null`: nothing. */
  readonly installed: InstalledDependencies | null;
}

export type CodeTree =
  | { readonly kind: 'none' }
  | { readonly kind: 'absent'; readonly path: string }
  | { readonly kind: 'unusable'; readonly path: string; readonly problem: string }
  | CheckoutTree
  | ReleasesTree;

/** A git checkout. */
export interface CheckoutTree {
  readonly kind: 'checkout';
  /** Its top folder. */
  readonly path: string;
  readonly owner: string;
  readonly head: CommitId;
  /** `null`: a commit is checked out by itself. */
  readonly branch: string | null;
  /** Commits that are there: recent history, branches and tags. */
  readonly known: readonly CommitId[];
  /** Commits whose parents are not there. */
  readonly shallow: readonly CommitId[];
  /** The first of the tracked files that are not as committed. */
  readonly dirty: readonly string[];
  readonly dirtyCount: number;
}

/** A folder with `releases/<commit>`, `shared` and the link `current`. */
export interface ReleasesTree {
  readonly kind: 'releases';
  readonly path: string;
  readonly owner: string;
  /** Where `current` leads, as it is written; `null`: there is none. */
  readonly current: string | null;
  readonly releases: readonly CommitId[];
}

export interface InstalledDependencies {
  /** Hash over the lock file and what it includes. */
  readonly lock: string;
  readonly file: string;
  readonly interpreter: readonly string[];
  readonly prefix: string;
  readonly at: EpochSeconds;
}

/** Bytes that travel to the host before the plan is applied, known by their hash. */
export interface ParcelLabel {
  readonly sha256: Sha256;
  readonly sizeBytes: Bytes;
}

/** What the runner's clone knows of the commit that is to be deployed. */
export interface CodeOffer {
  readonly commit: CommitId;
  /** `null`: the host has the commit already. */
  readonly parcel: ParcelLabel | null;
  /** What is between the host's commit and this one; `null`: the clone does not hold both. */
  readonly log: CommitLog | null;
  /** `null`: no lock file was asked for. */
  readonly lock: LockFile | null;
}

export interface CommitLog {
  readonly direction: 'forward' | 'back' | 'aside';
  readonly count: number;
  /** `abc1234 subject`, newest first, the first few. */
  readonly subjects: readonly string[];
}

export interface LockFile {
  readonly file: string;
  readonly tool: 'pip' | 'uv';
  readonly hash: string;
  /** At the commit that the host has; `null`: the clone does not know that commit. */
  readonly previousHash: string | null;
  readonly timeoutSeconds: Seconds;
}
