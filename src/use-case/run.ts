import type { ActionName, actions } from '../config/action-inputs.ts';
import type { ValuesOf } from '../config/input.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome, TransactionMeta } from '../model/outcome.ts';
import type { CodeChange } from '../model/plan-report.ts';
import type { Seconds } from '../model/units.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import type { Reporter } from '../ports/reporter.ts';
import type { ChecklistItem } from '../report/checklist.ts';
import type { SummaryContent } from '../report/summary.ts';

/** One run of a use case: who runs it, and where it reports: the log of a workflow, or a terminal. */
export interface Run {
  readonly dryRun: boolean;
  /** What precedes `docs/` in the address of a page; `''`: unknown. */
  readonly docs: string;
  /** Who runs this, for the host's lock and ledger. */
  meta(unit?: string): TransactionMeta;
  /** The facts of the host. The first look also tells what the host did alone. */
  look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>>;
  /** Prints the host's progress; with `plan`, its steps are numbered. */
  onProgress(plan?: Plan): OnProgress;
  /** A group of log lines. */
  group<T>(title: string, body: () => Promise<T>): Promise<T>;
  /** Details that are folded away where possible. */
  showDetails(title: string, lines: readonly string[]): Promise<void>;
  /** The plan and its findings, before it is applied. */
  showPlan(plan: Plan): Promise<void>;
  /** Waits between the plan and its application. */
  pause(pause: Pause): Promise<void>;
  warn(message: string): void;
  /** An output for later steps of the workflow. */
  output(name: string, value: string): void;
  report(agent: Agent, result: Result): void;
}

export interface Pause {
  readonly seconds: Seconds;
  readonly why: string;
}

/** The result of a run, or of a dry run. */
export interface Result {
  /** A unit, a path; `null`: the host. */
  readonly subject: string | null;
  readonly sentence: string;
  readonly checklist: readonly ChecklistItem[];
  /** `null`: earlier transactions were undone. */
  readonly plan: Plan | null;
  /** `null`: nothing was done. */
  readonly outcome: Outcome | null;
  /** Findings besides those of the plan. */
  readonly findings: readonly Finding[];
  readonly extra?: Pick<SummaryContent, 'table' | 'details'>;
  /** The commits that are deployed. */
  readonly code?: CodeChange;
  /** The result for programs (`--json`). */
  readonly data?: object;
}

/** One run of an action, as its `main.ts` sees it. */
export interface ActionRun<Name extends ActionName> extends Run {
  readonly inputs: ValuesOf<(typeof actions)[Name]>;
  readonly reporter: Reporter;
  /** Values of the inputs that are secret. */
  readonly secrets: readonly string[];
  /**
   * One connection, one exec. Close it (`await using`) before the action ends.
   *
   * @param first what the first look asks, which then needs no round trip of its own
   */
  openAgent(first?: FactQuery): Promise<Agent>;
  /** The facts of the host. What an earlier run left unfinished is undone first, and reported. */
  look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>>;
  /**
   * Writes files for later steps of the workflow. Returns their folder.
   *
   * @throws Error when they cannot be written
   */
  keepFiles(name: string, files: Readonly<Record<string, string>>): string;
  /** The job summary of this run, with its network cost. */
  summarize(agent: Agent, content: Omit<SummaryContent, 'action' | 'host' | 'cost'>): void;
}
