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
  TransactionMeta,
} from '../model/outcome.ts';
import type { Bytes, Seconds } from '../model/units.ts';
import type { Parcel } from './code.ts';

/** What a run cost on the wire; part of every report. */
export interface Traffic {
  readonly handshakes: number;
  readonly execs: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  readonly connectSeconds: Seconds;
  readonly startSeconds: Seconds;
}

export type OnProgress = (progress: Progress) => void;

/** The hand: one program on the host, asked over one connection. Every method throws HostError. */
export interface Agent extends AsyncDisposable {
  readonly hello: Hello;
  readonly traffic: Traffic;
  look<const Query extends FactQuery>(query: Query): Promise<FactsFor<Query>>;
  /** Stores bytes on the host, where operations find them by their hash. Changes nothing else. */
  send(parcel: Parcel, onProgress: OnProgress): Promise<void>;
  /**
   * Runs the operations as one transaction; resolves also when it was undone. It goes on without
   * this connection; a new one is made to follow it.
   */
  apply(
    operations: readonly Operation[],
    meta: TransactionMeta,
    onProgress: OnProgress,
  ): Promise<Outcome>;
  /** Undoes committed transactions from their journals, in this order: the newest first. */
  undo(
    transactions: readonly string[],
    meta: TransactionMeta,
    onProgress: OnProgress,
  ): Promise<Outcome>;
  /** Puts right what an earlier run left half-done; empty when there is nothing of the kind. */
  recover(meta: TransactionMeta, onProgress: OnProgress): Promise<readonly Deed[]>;
  /** These releases of the unit, which await their verdict, stay. False: they no longer do. */
  confirm(unit: string, transactions: readonly string[], meta: TransactionMeta): Promise<boolean>;
  /**
   * A consistent copy of a job database as a SQLite file in memory: the whole of it, or, when it is
   * larger than the limit or a PostgreSQL database, the rows that the extract names.
   */
  snapshot(
    database: string,
    limitBytes: Bytes,
    extract: Extract,
    onProgress: OnProgress,
  ): Promise<{ readonly info: SnapshotInfo; readonly content: Uint8Array }>;
  submit(request: JobRequest, onProgress: OnProgress): Promise<JobReport>;
  close(): Promise<void>;
}
