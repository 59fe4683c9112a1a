import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Operation } from '../model/operation.ts';
import type {
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
  /** Runs the operations as one transaction; resolves also when it was undone. */
  apply(
    operations: readonly Operation[],
    meta: TransactionMeta,
    onProgress: OnProgress,
  ): Promise<Outcome>;
  /** Undoes a committed transaction from its journal. */
  undo(transaction: string, meta: TransactionMeta, onProgress: OnProgress): Promise<Outcome>;
  /** A consistent copy of a SQLite file, whole, in memory. */
  snapshot(
    database: string,
    limitBytes: Bytes,
    onProgress: OnProgress,
  ): Promise<{ readonly info: SnapshotInfo; readonly content: Uint8Array }>;
  submit(request: JobRequest, onProgress: OnProgress): Promise<JobReport>;
  close(): Promise<void>;
}
