import type { ClockSkew } from '../model/clock-skew.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Extract } from '../model/job-store.ts';
import type { Operation } from '../model/operation.ts';
import type {
  Deed,
  Hello,
  JobReport,
  JobRequest,
  Outcome,
  Progress,
  SnapshotInfo,
  ToldNotices,
  TransactionMeta,
} from '../model/outcome.ts';
import type { Proof, SoakFigures } from '../model/soak.ts';
import type { Bytes, Seconds } from '../model/units.ts';
import type { Parcel } from './code.ts';

/** The network cost of a run; part of every report. */
export interface Traffic {
  readonly handshakes: number;
  readonly execs: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  readonly connectSeconds: Seconds;
  readonly startSeconds: Seconds;
}

export type OnProgress = (progress: Progress) => void;

/** The agent: one program on the host, used over one connection. Every method throws HostError. */
export interface Agent extends AsyncDisposable {
  readonly hello: Hello;
  readonly traffic: Traffic;
  /** By the most precise of the looks at `host`; `null`: there was none. */
  readonly clockSkew: ClockSkew | null;
  look<const Query extends FactQuery>(query: Query): Promise<FactsFor<Query>>;
  /** Stores bytes on the host, where operations find them by their hash. Changes nothing else. */
  send(parcel: Parcel, onProgress: OnProgress): Promise<void>;
  /**
   * Runs the operations as one transaction; resolves even if it was undone. The transaction
   * survives the loss of this connection, and a new connection follows it.
   */
  apply(
    operations: readonly Operation[],
    meta: TransactionMeta,
    onProgress: OnProgress,
  ): Promise<Outcome>;
  /**
   * Undoes committed transactions from their journals, in this order: newest first. With `newest`
   * nothing, if meanwhile another release than that of this transaction runs.
   */
  undo(
    transactions: readonly string[],
    meta: TransactionMeta,
    onProgress: OnProgress,
    newest?: string,
  ): Promise<Outcome>;
  /** Recovers transactions that an earlier run left unfinished; empty if there are none. */
  recover(meta: TransactionMeta, onProgress: OnProgress): Promise<readonly Deed[]>;
  /**
   * Records that a run has reported what the host did alone, so that no other run reports it again,
   * and which lasting findings it told.
   */
  acknowledge(transactions: readonly string[], notices?: ToldNotices): Promise<void>;
  /**
   * Confirms releases that await their verdict, and records what their gate has measured. False: they
   * no longer await it.
   */
  confirm(
    unit: string,
    transactions: readonly string[],
    meta: TransactionMeta,
    figures?: SoakFigures,
  ): Promise<boolean>;
  /**
   * Records what the soak of an unproven release has shown, and ends its samples; again, the same.
   * False: another release runs, or this one has another verdict.
   */
  prove(proof: Proof, meta: TransactionMeta): Promise<boolean>;
  /**
   * A consistent copy of a job database as a SQLite file in memory: all of it, or, if it is larger
   * than the limit or a PostgreSQL database, the rows that the extract selects. `user` is the app's
   * user, who opens it.
   */
  snapshot(
    database: string,
    limitBytes: Bytes,
    extract: Extract,
    user: string,
    onProgress: OnProgress,
  ): Promise<{ readonly info: SnapshotInfo; readonly content: Uint8Array }>;
  submit(request: JobRequest, onProgress: OnProgress): Promise<JobReport>;
  close(): Promise<void>;
}
