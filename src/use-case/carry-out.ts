import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome, TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import type { Parcel } from '../ports/code.ts';
import { checklistOf } from '../report/checklist.ts';
import { linkPages } from '../report/doc-links.ts';
import { outcomeToHostError } from '../report/failure.ts';
import { describeOutcome } from '../report/summary.ts';
import type { Pause, Result, Run } from './run.ts';

export interface About {
  /** What the run is about: a unit, a path; `null`: the host. */
  readonly subject: string | null;
  readonly unit?: string;
  /** The transaction becomes a release of the unit. */
  readonly release?: NonNullable<TransactionMeta['release']>;
  /** Files that the operations need; sent to the host before they are applied. */
  readonly parcels?: readonly Parcel[];
  /** Between the plan and its application. */
  readonly pause?: Pause;
  /** Just before the host is asked to change something. */
  readonly begin?: () => void;
  readonly extra?: Result['extra'];
  readonly code?: Result['code'];
  /** What to report besides the steps. */
  readonly tell?: (outcome: Outcome | null) => Told | Promise<Told>;
  /** The result for programs. */
  readonly data?: (outcome: Outcome | null) => object;
}

export interface Told {
  /** Appended to the result; may be empty. */
  readonly sentence: string;
  readonly findings: readonly Finding[];
  readonly outputs: Readonly<Record<string, string>>;
}

/**
 * Shows the plan, applies it unless this is a dry run or there is nothing to do, and reports.
 *
 * @throws HostError when the transaction was undone
 */
export async function carryOut(
  run: Run,
  agent: Agent,
  planned: Plan,
  about: About,
): Promise<Outcome | null> {
  const plan = linkPages(planned, run.docs);
  await run.showPlan(plan);
  const idle = run.dryRun || plan.operations.length === 0;
  const outcome = idle ? null : await apply(run, agent, plan, about);
  const told = await about.tell?.(outcome);
  const committed = outcome?.result === 'committed';
  for (const [name, value] of Object.entries(told?.outputs ?? {})) run.output(name, value);
  run.output('changed', String(committed));
  run.output('transaction', committed ? outcome.transaction : '');
  run.report(agent, {
    subject: about.subject,
    sentence: [describeOutcome(plan, outcome), told?.sentence ?? '']
      .filter((part) => part !== '')
      .join(' '),
    checklist: checklistOf(plan, outcome),
    plan,
    outcome,
    findings: told?.findings ?? [],
    ...(about.extra !== undefined && { extra: about.extra }),
    ...(about.code !== undefined && { code: about.code }),
    ...(about.data !== undefined && { data: about.data(outcome) }),
  });
  if (outcome !== null && !committed) throw outcomeToHostError(outcome, plan.operations);
  return outcome;
}

async function apply(run: Run, agent: Agent, plan: Plan, about: About): Promise<Outcome> {
  const { parcels = [], pause, release, unit } = about;
  if (pause !== undefined) await run.pause(pause);
  return run.group('working on the host', async () => {
    for (const parcel of parcels) await agent.send(parcel, run.onProgress());
    about.begin?.();
    const meta = { ...run.meta(unit), ...(release !== undefined && { release }) };
    return agent.apply(plan.operations, meta, run.onProgress(plan));
  });
}
