import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { isTransaction, planRestore, requireCleanUp } from '../jobs/repair/restore-jobs.ts';
import { listDatabases } from '../jobs/tables/store-choice.ts';
import { HostError } from '../model/errors.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { outcomeToHostError } from '../report/failure.ts';
import { renderPlanText } from '../report/plan-view.ts';
import { describeOutcome } from '../report/summary.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { progressTo, type Terminal } from './terminal.ts';

/**
 * `--restore`: restores a database from a backup, or the rows that an earlier clean-up changed.
 *
 * @throws ConfigError, HostError
 */
export function restore(
  agent: Agent,
  wanted: string,
  desired: CleanUpDesired,
  meta: TransactionMeta,
  terminal: Terminal,
): Promise<ExitCode> {
  const put = isTransaction(wanted) ? undoCleanUp : restoreBackup;
  return put(agent, wanted, desired, meta, terminal);
}

async function undoCleanUp(
  agent: Agent,
  wanted: string,
  { dryRun }: CleanUpDesired,
  meta: TransactionMeta,
  terminal: Terminal,
): Promise<ExitCode> {
  const { transactions } = await agent.look({ transactions: {} });
  const { id } = requireCleanUp(wanted, transactions);
  if (dryRun) {
    terminal.out(`Dry run: clean-up ${id} would be undone; nothing was changed.\n`);
    return exitCodes.found;
  }
  const outcome = await agent.undo([id], meta, progressTo(terminal));
  if (outcome.result !== 'undone') {
    throw new HostError(`Not all of clean-up ${id} could be undone.`, {
      step: `undo ${id}`,
      left: outcome.steps
        .filter(({ status }) => status === 'not-undone')
        .map(({ message }) => message),
      next: 'restore the remaining rows by hand; the backup is in /var/lib/celeriac/backups.',
    });
  }
  terminal.out(`Undone: clean-up ${id}; its rows are as they were before.\n`);
  return exitCodes.done;
}

async function restoreBackup(
  agent: Agent,
  wanted: string,
  desired: CleanUpDesired,
  meta: TransactionMeta,
  terminal: Terminal,
): Promise<ExitCode> {
  const { stores } = await agent.look({
    stores: { unit: desired.unit, databases: listDatabases(desired) },
  });
  const plan = planRestore(wanted, stores, desired);
  terminal.out(`${renderPlanText(plan)}\n`);
  const outcome = desired.dryRun
    ? null
    : await agent.apply(plan.operations, meta, progressTo(terminal, plan));
  terminal.out(`${describeOutcome(plan, outcome)}\n`);
  if (outcome === null) return exitCodes.found;
  if (outcome.result !== 'committed') throw outcomeToHostError(outcome, plan.operations);
  return exitCodes.done;
}
