import type { ActionName, actions } from '../config/action-inputs.ts';
import type { ValuesOf } from '../config/input.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome, Progress, TransactionMeta } from '../model/outcome.ts';
import type { Seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import type { Parcel } from '../ports/code.ts';
import type { Reporter } from '../ports/reporter.ts';
import type { SummaryContent } from '../report/summary.ts';

/** One run of one action: what its `main.ts` works with. */
export interface Run<Name extends ActionName> {
  readonly inputs: ValuesOf<(typeof actions)[Name]>;
  readonly reporter: Reporter;
  /** One connection, one exec. Close it (`await using`) before the action ends. */
  openAgent(): Promise<Agent>;
  /** Who runs this, for the host's lock and ledger. */
  meta(unit?: string): TransactionMeta;
  /** The facts of the host. What an earlier run left unfinished is undone first, and reported. */
  look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>>;
  /** Prints the host's progress; with `plan`, its steps are numbered. */
  onProgress(plan?: Plan): (progress: Progress) => void;
  /**
   * Shows the plan, applies it unless this is a dry run or there is nothing to do, and reports.
   *
   * @throws HostError when the transaction was undone
   */
  carryOut(agent: Agent, plan: Plan, about: About): Promise<Outcome | null>;
  /** The job summary of this run, with its network cost. */
  summarize(agent: Agent, content: Omit<SummaryContent, 'action' | 'host' | 'cost'>): void;
}

export interface About {
  /** What the run is about: a unit, a path; `null`: the host. */
  readonly subject: string | null;
  readonly unit?: string;
  /** The transaction becomes a release of the unit. */
  readonly release?: NonNullable<TransactionMeta['release']>;
  /** Files that the operations need; sent to the host before they are applied. */
  readonly parcels?: readonly Parcel[];
  /** Between the plan and its application. */
  readonly pause?: { readonly seconds: Seconds; readonly why: string };
  readonly extra?: Pick<SummaryContent, 'table' | 'details'>;
  /** What to report besides the steps. */
  readonly tell?: (outcome: Outcome | null) => Told;
}

export interface Told {
  /** Appended to the result; may be empty. */
  readonly sentence: string;
  readonly findings: readonly Finding[];
  readonly outputs: Readonly<Record<string, string>>;
}
