import type { Bytes, EpochSeconds, Seconds, Sha256 } from './units.ts';

/** The full hash of a commit: 40 (or 64) lower-case hexadecimal digits. */
export type CommitId = string;

/** How the code of the app gets to the host. */
export type CodeSource = 'none' | 'git' | 'upload';

/** The query for a unit's code; paths that do not apply to the source are `null`. */
export interface ReleaseQuery {
  readonly unit: string;
  readonly source: CodeSource;
  /** Who reads the code; `null`: the user of the unit. */
  readonly user: string | null;
  /** `null`: search from the unit's WorkingDirectory upwards. */
  readonly checkout: string | null;
  readonly deployTo: string | null;
}

export interface ReleaseFact {
  readonly tree: CodeTree;
  /** What Celeriac last installed for this unit; `null`: nothing. */
  readonly installed: InstalledDependencies | null;
}

export type CodeTree =
  | { readonly kind: 'none' }
  | { readonly kind: 'absent'; readonly path: string }
  | { readonly kind: 'unusable'; readonly path: string; readonly problem: string }
  | NotOwnTree
  | CheckoutTree
  | ReleasesTree;

/** It belongs to somebody else than the app's user, or others may change what root would use. */
export interface NotOwnTree {
  readonly kind: 'not-own';
  readonly path: string;
  readonly user: string;
  readonly problem: string;
  /** What to do. */
  readonly fix: string;
}

/** A Git checkout. */
export interface CheckoutTree {
  readonly kind: 'checkout';
  /** Its top folder. */
  readonly path: string;
  /** The app's user, who owns it. */
  readonly user: string;
  readonly head: CommitId;
  /** `null`: HEAD is detached. */
  readonly branch: string | null;
  /** Commits that exist there: recent history, branches and tags. */
  readonly known: readonly CommitId[];
  /** Commits whose parents are missing. */
  readonly shallow: readonly CommitId[];
  /** Tracked files with uncommitted changes; only the first ones. */
  readonly dirty: readonly string[];
  readonly dirtyCount: number;
}

/** A folder with `releases/<commit>`, `shared` and the link `current`. */
export interface ReleasesTree {
  readonly kind: 'releases';
  readonly path: string;
  /** The app's user, who owns it. */
  readonly user: string;
  /** Target of the link `current`, as written; `null`: there is no such link. */
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

/** Bytes that are sent to the host before the plan is applied, identified by their hash. */
export interface ParcelLabel {
  readonly sha256: Sha256;
  readonly sizeBytes: Bytes;
}

/** What the runner's clone provides for the commit to deploy. */
export interface CodeOffer {
  readonly commit: CommitId;
  /** `null`: the host already has the commit. */
  readonly parcel: ParcelLabel | null;
  /** The commits between the host's and this one; `null`: the clone does not contain both. */
  readonly log: CommitLog | null;
  /** `null`: no lock file was requested. */
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
  /** Its hash at the host's commit; `null`: the clone does not contain that commit. */
  readonly previousHash: string | null;
  readonly timeoutSeconds: Seconds;
}
