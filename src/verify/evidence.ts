import type { OwnBeats } from '../celery/beat.ts';
import type { WorkerCall } from '../celery/worker-call.ts';
import type { ClockSkew } from '../model/clock-skew.ts';
import type { WorkerProcess } from '../model/facts/beside.ts';
import type { BrokerFact, ConsumingFact } from '../model/facts/broker.ts';
import type { LoggedFact } from '../model/facts/journal.ts';
import type { CommandFact } from '../model/facts/probe.ts';
import type { FactAnswers, FactQuery } from '../model/facts.ts';
import type { JobReport, JobRequest } from '../model/outcome.ts';
import type { EpochSeconds, Seconds } from '../model/units.ts';

/** The facts that verify requests, all in one message. */
export type VerifyFactName =
  | 'host'
  | 'unit'
  | 'workers'
  | 'swap'
  | 'sysctl'
  | 'settings'
  | 'room'
  | 'pressure'
  | 'journal'
  | 'kernel'
  | 'http'
  | 'releases'
  | 'beats';
export type VerifyFacts = Pick<FactAnswers, VerifyFactName>;
export type VerifyQuery = Required<Pick<FactQuery, VerifyFactName>>;

/** A Celery worker that runs outside its unit. */
export type Stray = Pick<WorkerProcess, 'pid' | 'cgroup' | 'argv' | 'startedAt'>;

/** Jobs of one table that have been in progress for longer than the threshold. */
export interface StuckRows {
  readonly table: string;
  readonly count: number;
  /** Those without a sign of life since before the present release: its worker never had them. */
  readonly inherited: number;
  readonly oldestAgeSeconds: Seconds;
  readonly sampleIds: readonly string[];
}

/** Result of the search for stuck jobs in the app's tables. */
export type StuckSearch =
  | { readonly kind: 'read'; readonly rows: readonly StuckRows[] }
  /** `why` completes "not read: ". */
  | { readonly kind: 'not-read'; readonly why: string };

/** Whether the worker takes its messages. */
export type ConsumingSearch =
  | { readonly kind: 'asked'; readonly fact: ConsumingFact }
  /** `why` completes "not asked: ". */
  | { readonly kind: 'not-asked'; readonly why: string };

/** How the broker was, at two looks; the same one twice if it was asked once. */
export type BrokerSearch =
  | {
      readonly kind: 'asked';
      readonly first: BrokerFact;
      readonly last: BrokerFact;
      readonly firstAt: EpochSeconds;
      readonly lastAt: EpochSeconds;
    }
  /** `why` completes "not asked: ". */
  | { readonly kind: 'not-asked'; readonly why: string };

/** What a command among the user's checks did. */
export type OwnCommandResult =
  | { readonly kind: 'ran'; readonly fact: CommandFact }
  /** `why` completes "not run: ". */
  | { readonly kind: 'not-run'; readonly why: string };

/** One request of the gate: a single probe, or a batch. */
export interface GateRequest {
  readonly id: 'gate-job' | 'gate-batch';
  /** `one canary to celery`. */
  readonly title: string;
  readonly request: JobRequest;
}

export type GateResult =
  /** The gate is `none`. */
  | { readonly kind: 'none' }
  /** The probes that would be sent, and `why` they were not. */
  | { readonly kind: 'not-sent'; readonly requests: readonly GateRequest[]; readonly why: string }
  | { readonly kind: 'sent'; readonly runs: readonly GateRun[] };

export interface GateRun {
  readonly request: GateRequest;
  readonly result:
    | { readonly kind: 'report'; readonly report: JobReport }
    /** The host could not send it. */
    | {
        readonly kind: 'fault';
        readonly problem: string;
        readonly evidence: readonly string[];
        readonly next: string;
      }
    /** The previous request failed. */
    | { readonly kind: 'not-sent' };
}

/** Everything that a verdict is based on. */
export interface VerifyEvidence {
  readonly before: VerifyFacts;
  /** After the probes; `null` when none were sent. */
  readonly after: VerifyFacts | null;
  /** `null`: the unit's ExecStart is not a Celery worker that can be read. */
  readonly call: WorkerCall | null;
  /** `null`: the unit does not show its app, so its workers cannot be told from others. */
  readonly strays: readonly Stray[] | null;
  readonly stuck: StuckSearch;
  readonly consuming: ConsumingSearch;
  readonly broker: BrokerSearch;
  readonly beats: OwnBeats;
  /** What the unit logged since the release. */
  readonly logged: LoggedFact;
  /** What it logged during the gate; `null` when no probe was sent. */
  readonly loggedMeanwhile: LoggedFact | null;
  readonly gate: GateResult;
  /** By the name of the user's check, of those that are commands. */
  readonly ownCommands: ReadonlyMap<string, OwnCommandResult>;
  /** `null`: not compared. */
  readonly clockSkew: ClockSkew | null;
}

/** The newest facts: what the probes did counts too, e.g. a restart during the gate. */
export const latest = ({ before, after }: VerifyEvidence): VerifyFacts => after ?? before;
