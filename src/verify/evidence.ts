import type { WorkerCall } from '../celery/worker-call.ts';
import type { FactAnswers, FactQuery, WorkerProcess } from '../model/facts.ts';
import type { JobReport, JobRequest } from '../model/outcome.ts';
import type { Seconds } from '../model/units.ts';

/** The facts that verify asks for, all in one message. */
export type VerifyFactName =
  | 'host'
  | 'unit'
  | 'workers'
  | 'swap'
  | 'journal'
  | 'kernel'
  | 'http'
  | 'releases';
export type VerifyFacts = Pick<FactAnswers, VerifyFactName>;
export type VerifyQuery = Required<Pick<FactQuery, VerifyFactName>>;

/** A Celery worker that runs outside its unit; whoever calls verify finds them. */
export type Stray = Pick<WorkerProcess, 'pid' | 'cgroup' | 'argv' | 'startedAt'>;

/** Rows that claim to be worked on for longer than the threshold, in one table. */
export interface StuckRows {
  readonly table: string;
  readonly count: number;
  readonly oldestAgeSeconds: Seconds;
  readonly sampleIds: readonly string[];
}

/** What is known of the rows in the app's job tables. */
export type StuckSearch =
  | { readonly kind: 'read'; readonly rows: readonly StuckRows[] }
  /** `why` reads on from "not read: ". */
  | { readonly kind: 'not-read'; readonly why: string };

/** One message of the gate: a single job, or a batch. */
export interface GateRequest {
  readonly id: 'gate-job' | 'gate-batch';
  /** `one canary to celery`. */
  readonly title: string;
  readonly request: JobRequest;
}

export type GateResult =
  /** No gate is wanted. */
  | { readonly kind: 'none' }
  /** The jobs that would be sent; `why` they were not. */
  | { readonly kind: 'not-sent'; readonly requests: readonly GateRequest[]; readonly why: string }
  | { readonly kind: 'sent'; readonly runs: readonly GateRun[] };

export interface GateRun {
  readonly request: GateRequest;
  readonly result:
    | { readonly kind: 'report'; readonly report: JobReport }
    /** The host could not even send it. */
    | {
        readonly kind: 'fault';
        readonly problem: string;
        readonly evidence: readonly string[];
        readonly next: string;
      }
    /** The request before it failed. */
    | { readonly kind: 'not-sent' };
}

/** Everything that a verdict is made from. */
export interface VerifyEvidence {
  readonly before: VerifyFacts;
  /** After the jobs; `null` when none was sent. */
  readonly after: VerifyFacts | null;
  /** `null`: the unit's ExecStart is no Celery worker that can be read. */
  readonly call: WorkerCall | null;
  readonly strays: readonly Stray[];
  readonly stuck: StuckSearch;
  readonly gate: GateResult;
}
