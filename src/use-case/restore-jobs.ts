import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import {
  isTransaction,
  planRestore,
  requireCleanUp,
  requireFile,
} from '../jobs/repair/restore-jobs.ts';
import { queryStores } from '../jobs/tables/store-choice.ts';
import type { Agent } from '../ports/agent.ts';
import { carryOut } from './carry-out.ts';
import type { Run } from './run.ts';
import { undoTransactions } from './undo.ts';

/**
 * Restores a database from a backup, or the rows that an earlier clean-up changed.
 *
 * @param restore `latest` or the path of a backup; or the transaction of a clean-up
 * @throws ConfigError, HostError
 */
export async function restoreJobs(
  run: Run,
  agent: Agent,
  restore: string,
  desired: CleanUpDesired,
): Promise<void> {
  const { unit } = desired;
  run.output('found', '0');
  run.output('repaired', '0');
  if (!isTransaction(restore)) {
    const { stores } = await run.look(agent, { stores: queryStores(desired) });
    const store = requireFile(stores, desired);
    const asked = { database: store.path, backup: restore, unit, user: desired.appUser };
    const { backup } = await run.look(agent, { backup: asked });
    const plan = planRestore(store, backup, restore, desired);
    await carryOut(run, agent, plan, { subject: 'jobs', unit });
    return;
  }
  const { transactions } = await run.look(agent, { transactions: {} });
  const { id } = requireCleanUp(restore, transactions);
  await undoTransactions(run, agent, {
    about: `clean-up ${id}`,
    whole: 'its rows are as they were before',
    subject: 'jobs',
    unit,
    transactions: [id],
  });
}
