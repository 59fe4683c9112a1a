import type { Finding } from './operation.ts';
import type { CommitId, CommitLog } from './release.ts';

/** Raised when a reader of older reports would misread a newer one; new fields do not raise it. */
export const planReportVersion = 1;

/** The actions whose dry run leaves its plan. */
export const plannedActions = ['provision', 'deploy-worker', 'cleanup'] as const;
export type PlannedAction = (typeof plannedActions)[number];

/** What a dry run has found, for whoever shows it elsewhere: the comment on a pull request. */
export interface PlanReport {
  readonly version: typeof planReportVersion;
  /** The version of Celeriac. */
  readonly celeriac: string;
  readonly action: PlannedAction;
  /** As the user gave it. */
  readonly host: string;
  /** Whether the key that looked may also change the host. */
  readonly access: 'read' | 'change';
  readonly parts: readonly PlannedPart[];
  /** Why there is no plan, or not all of it; `null`: it is whole. */
  readonly failure: string | null;
}

/** One plan of an action; a deploy may also say what becomes of abandoned jobs. */
export interface PlannedPart {
  /** A unit, a path; `null`: the host. */
  readonly subject: string | null;
  readonly sentence: string;
  readonly steps: readonly PlannedStep[];
  readonly findings: readonly Pick<Finding, 'level' | 'message' | 'where'>[];
  /** `null`: this part is not about code, or does not deploy any. */
  readonly code: CodeChange | null;
}

export interface PlannedStep {
  /** The operation: `install-unit`. */
  readonly op: string;
  readonly title: string;
  readonly why: string;
  /** The text that changes, or the rows; `null`: neither. */
  readonly detail: { readonly text: string; readonly language: string } | null;
}

/** From the commit on the host to that of the run. */
export interface CodeChange {
  /** `null`: there is none. */
  readonly from: CommitId | null;
  readonly to: CommitId;
  /** `null`: the clone does not contain both. */
  readonly log: CommitLog | null;
}
