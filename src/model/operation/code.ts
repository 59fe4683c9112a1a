import type { CommitId } from '../release.ts';
import type { Seconds, Sha256 } from '../units.ts';
import type { Described } from './described.ts';

/**
 * Runs a command of the app, such as a migration, with the user, the directory and the environment of
 * the unit. Its output is reported. What it did is never undone.
 */
export interface RunCommand extends Described {
  readonly op: 'run-command';
  readonly unit: string;
  /** The Python of the worker; `python` in `argv` stands for it. */
  readonly interpreter: readonly string[];
  /** Without a shell. */
  readonly argv: readonly string[];
  /** For a code folder that is not current yet: paths in `from` are replaced by paths in `to`. */
  readonly instead?: { readonly from: string; readonly to: string };
  readonly timeoutSeconds: Seconds;
}

/** An operation on files of the app: by a process of the app's user, who must own them. */
export interface AsTheAppUser {
  /** The `User=` of the unit, or the one that the workflow names. */
  readonly user: string;
}

/** Adds a commit that was sent as a Git bundle to the object store of a checkout. */
export interface FetchCommit extends Described, AsTheAppUser {
  readonly op: 'fetch-commit';
  readonly checkout: string;
  readonly commit: CommitId;
  /** Hash of the bundle. */
  readonly sha256: Sha256;
}

/** Moves a checkout, and its current branch, to a commit in its object store. */
export interface CheckoutCode extends Described, AsTheAppUser {
  readonly op: 'checkout-code';
  readonly checkout: string;
  readonly commit: CommitId;
  /** HEAD as planned for. */
  readonly expects: CommitId;
  /** Stashes uncommitted changes. If false, any uncommitted change makes the operation fail. */
  readonly stash: boolean;
}

/** Unpacks a commit that was sent as an archive into `releases/<commit>`. */
export interface UnpackRelease extends Described, AsTheAppUser {
  readonly op: 'unpack-release';
  readonly deployTo: string;
  readonly commit: CommitId;
  /** Hash of the archive. */
  readonly sha256: Sha256;
  readonly shared: readonly SharedPath[];
}

/** A path in each code folder that is a link into `shared/`. */
export interface SharedPath {
  readonly path: string;
  /** A missing folder is created; a missing file is an error. */
  readonly folder: boolean;
}

/** Points the link `current` at a code folder, in one rename. */
export interface SwitchRelease extends Described, AsTheAppUser {
  readonly op: 'switch-release';
  readonly deployTo: string;
  readonly commit: CommitId;
  /** Target of the link as planned for; `null`: no link. */
  readonly expects: string | null;
}

/** Removes the oldest code folders. */
export interface PruneReleases extends Described, AsTheAppUser {
  readonly op: 'prune-releases';
  readonly deployTo: string;
  readonly keep: number;
  /** Never removed: the code folder of the previous commit. */
  readonly spare: readonly CommitId[];
}

/** Installs a lock file into the virtual environment of the unit's interpreter. */
export type InstallDependencies = Described &
  AsTheAppUser & {
    readonly op: 'install-dependencies';
    readonly unit: string;
    readonly interpreter: readonly string[];
    readonly tool: 'pip' | 'uv';
    /** Path in the repository. */
    readonly file: string;
    readonly commit: CommitId;
    /** Hash over the lock file and what it includes. */
    readonly lock: string;
    readonly timeoutSeconds: Seconds;
  } & ({ readonly checkout: string } | { readonly release: string });
