import type { CommitId, CommitLog, ParcelLabel } from '../model/release.ts';

/** What is sent to the host before the plan is applied. */
export interface Parcel extends ParcelLabel {
  /** In a word or two, for people: `the bundle`. */
  readonly title: string;
  readonly content: Uint8Array;
}

/** What a checkout on the host has. */
export interface HostHistory {
  readonly known: readonly CommitId[];
  readonly shallow: readonly CommitId[];
}

/** The clone of the repository that the run works in. Every method throws ConfigError. */
export interface Code {
  /** The commit, when the clone holds it. */
  require(commit: string): Promise<CommitId>;
  /** Whether the clone holds a commit. */
  has(commit: CommitId): Promise<boolean>;
  /** A git bundle of what the host lacks, in memory; `null`: it lacks nothing. */
  bundle(commit: CommitId, host: HostHistory): Promise<Parcel | null>;
  /** The commit's files, as tar.gz. */
  archive(commit: CommitId): Promise<Parcel>;
  /** What lies between two commits; `null` when the clone can't tell. */
  log(from: CommitId, to: CommitId): Promise<CommitLog | null>;
  /** Hash over a lock file and what it includes; `null`: the commit or the file is not there. */
  hashLock(commit: CommitId, file: string): Promise<string | null>;
}
