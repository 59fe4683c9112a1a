import type { CommitId, CommitLog, ParcelLabel } from '../model/release.ts';

/** Bytes to send to the host before the plan is applied. */
export interface Parcel extends ParcelLabel {
  /** For people: `the bundle`. */
  readonly title: string;
  readonly content: Uint8Array;
}

/** The commits of a checkout on the host. */
export interface HostHistory {
  readonly known: readonly CommitId[];
  readonly shallow: readonly CommitId[];
}

/** The clone of the repository on the runner. Every method throws ConfigError. */
export interface Code {
  /** The full hash of a commit that the clone contains. */
  require(commit: string): Promise<CommitId>;
  /** The commit that is checked out, and whether tracked files differ from it. */
  head(): Promise<{ readonly commit: CommitId; readonly changed: boolean }>;
  /** Whether the clone contains a commit. */
  has(commit: CommitId): Promise<boolean>;
  /** A Git bundle of the commits that the host lacks, in memory; `null`: it lacks none. */
  bundle(commit: CommitId, host: HostHistory): Promise<Parcel | null>;
  /** The commit's files, as tar.gz. */
  archive(commit: CommitId): Promise<Parcel>;
  /** The commits between two commits; `null`: the clone does not contain both. */
  log(from: CommitId, to: CommitId): Promise<CommitLog | null>;
  /** Hash over a lock file and its includes; `null`: no such commit or file. */
  hashLock(commit: CommitId, file: string): Promise<string | null>;
}
