import { chooseRollBack } from '../plan/roll-back.ts';
import type { Agent } from '../ports/agent.ts';
import type { Run } from './run.ts';
import { undoTransactions } from './undo.ts';

/**
 * Undoes earlier deploys from the host's own journals: to the previous release, a named one, or a
 * single transaction.
 *
 * @throws ConfigError when the host knows no such release or transaction, or it is undone already
 * @throws HostError when a step could not be undone
 */
export async function rollBack(run: Run<'deploy-worker'>, agent: Agent): Promise<void> {
  const { inputs } = run;
  const { unit } = inputs;
  const { transactions, releases } = await run.look(agent, {
    transactions: {},
    releases: { unit },
  });
  const chosen = chooseRollBack(inputs['roll-back'], releases, transactions);
  await undoTransactions(run, agent, {
    action: 'deploy-worker',
    about: chosen.about,
    whole: 'the worker is as it was before',
    subject: unit,
    unit,
    transactions: chosen.transactions,
    dryRun: inputs['dry-run'],
  });
}
