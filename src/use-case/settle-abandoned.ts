import { randomUUID } from 'node:crypto';
import { openSqliteStore } from '../adapters/sqlite-store.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import { type RecordedStop, recordedStop } from '../jobs/judge/recorded-stop.ts';
import { countRepaired, reportSkipped } from '../jobs/repair/clean-up-outcome.ts';
import type { CleanUp } from '../jobs/repair/clean-up-plan.ts';
import {
  countInProgress,
  describeSettled,
  describeToSettle,
  type Settled,
} from '../jobs/repair/settled.ts';
import { queryStores } from '../jobs/tables/store-choice.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import { formatCount } from '../model/quantities.ts';
import { seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import type { OpenStore } from '../ports/store.ts';
import { checklistOf } from '../report/checklist.ts';
import { outcomeToHostError } from '../report/failure.ts';
import { planCleanUp } from './clean-up.ts';
import { copyStores } from './copy-stores.ts';
import type { Run } from './run.ts';

/** What the use case needs besides the agent. */
export interface SettlingTools {
  readonly openStore: OpenStore;
  readonly newTaskId: () => string;
}

/** The transaction before. */
export interface Deploy {
  readonly plan: Plan;
  readonly outcome: Outcome | null;
}

const realTools: SettlingTools = { openStore: openSqliteStore, newTaskId: randomUUID };

/**
 * Settles the jobs that a restart left behind: by the clean-up, in a transaction of its own after that
 * of the release. Whatever becomes of it, the release stays: this never throws, and what it could not
 * do is a warning and left to the next clean-up.
 *
 * @param deploy what was planned, and what became of it; `null`: nothing was applied
 */
export async function settleAbandoned(
  run: Run,
  agent: Agent,
  { plan, outcome }: Deploy,
  { orphanedJobs, unit }: Pick<DeployWorkerDesired, 'orphanedJobs' | 'unit'>,
  tools: SettlingTools = realTools,
): Promise<void> {
  if (orphanedJobs === null) return;
  if (run.dryRun) {
    const restarts = plan.operations.some(({ op }) => op === 'start-unit');
    if (restarts) return await preview(run, agent, orphanedJobs, tools);
    const why = `${unit} is not to be stopped`;
    return tell(run, agent, `Dry run: no abandoned jobs would be looked for: ${why}.`);
  }
  const stop = outcome === null ? null : recordedStop(outcome, unit);
  if (stop === null) {
    const why = `${unit} was not stopped in this run`;
    return tell(run, agent, `No abandoned jobs were looked for: ${why}.`);
  }
  try {
    await settle(run, agent, stop, orphanedJobs, tools);
  } catch (error) {
    // A connection that was lost may have left a transaction that goes on.
    const reason = reasonOf(error);
    const rest = 'the release stays, and a later clean-up decides about jobs that are left';
    const message = `settling abandoned jobs failed: ${reason}; ${rest}`;
    tell(run, agent, `Settling abandoned jobs failed: ${reason}.`, [{ level: 'warning', message }]);
  }
}

async function settle(
  run: Run,
  agent: Agent,
  stop: RecordedStop,
  desired: CleanUpDesired,
  tools: SettlingTools,
): Promise<void> {
  const onProgress = run.onProgress();
  const cleanUp = await planCleanUp({ agent, ...tools, onProgress }, desired, stop);
  const { plan } = cleanUp;
  await run.showPlan(plan);
  const outcome = plan.operations.length === 0 ? null : await apply(run, agent, plan, stop);
  if (outcome !== null && outcome.result !== 'committed') {
    throw outcomeToHostError(outcome, plan.operations);
  }
  const settled = settledOf(cleanUp, outcome, stop);
  run.output('settled', String(settled.rows));
  run.output('left', String(settled.left));
  run.report(agent, {
    subject: 'jobs',
    sentence: describeSettled(settled),
    checklist: checklistOf(plan, outcome),
    plan,
    outcome,
    findings: outcome === null ? [] : reportSkipped(outcome, cleanUp),
  });
}

/** A release may await its verdict meanwhile: whoever holds the lock for longer goes first. */
const longestLockWait = 60;

/** As a clean-up: it is no release, and `restore` of the action cleanup undoes it. */
function apply(run: Run, agent: Agent, plan: Plan, { unit }: RecordedStop): Promise<Outcome> {
  const own = run.meta(unit);
  const lockTimeoutSeconds = seconds(Math.min(own.lockTimeoutSeconds, longestLockWait));
  const meta = { ...own, action: 'cleanup', lockTimeoutSeconds };
  return run.group('settling abandoned jobs', () =>
    agent.apply(plan.operations, meta, run.onProgress(plan)),
  );
}

function settledOf(
  { plan, repairs }: CleanUp,
  outcome: Outcome | null,
  stop: RecordedStop,
): Settled {
  const planned = repairs.reduce((sum, { rows }) => sum + rows.length, 0);
  const rows = outcome === null ? 0 : countRepaired(outcome);
  const left = (plan.skippedRows ?? 0) + Math.max(0, planned - rows);
  return { stop, rows, left, transaction: outcome?.transaction ?? null };
}

/** Of a worker that still runs nobody knows what it will leave: what is in progress now, and the rule. */
async function preview(
  run: Run,
  agent: Agent,
  desired: CleanUpDesired,
  { openStore }: SettlingTools,
): Promise<void> {
  try {
    const { stores } = await agent.look({ stores: queryStores(desired) });
    const copies = await copyStores({ agent, openStore }, stores, desired);
    try {
      const findings = copies.flatMap((copy) =>
        copy.findings.map((finding) => ({ where: copy.database, ...finding })),
      );
      const counts = copies.map(({ database, forest }) => countInProgress(database, forest));
      tell(run, agent, describeToSettle(counts, desired), findings);
    } finally {
      for (const { store } of copies) store[Symbol.dispose]();
    }
  } catch (error) {
    const message = `after this restart abandoned jobs would be left as they are: ${reasonOf(error)}`;
    tell(run, agent, 'Dry run: abandoned jobs would not be settled.', [
      { level: 'warning', message },
    ]);
  }
}

function tell(run: Run, agent: Agent, sentence: string, findings: readonly Finding[] = []): void {
  const nothing = { checklist: [], plan: null, outcome: null };
  run.report(agent, { subject: 'jobs', sentence, ...nothing, findings });
}

/** One line: what went wrong, and what could not be undone. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const reason = text.replace(/\.$/, '');
  if (error instanceof ConfigError) return `${error.where}: ${reason} (expected ${error.expected})`;
  const left = error instanceof HostError ? (error.failure.left ?? []) : [];
  if (left.length === 0) return reason;
  return `${reason}; ${formatCount(left.length, 'step')} could not be undone: ${left.join('; ')}`;
}
