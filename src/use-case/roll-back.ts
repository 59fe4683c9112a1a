import { nameLeftBehind } from '../plan/deploy/companions.ts';
import { chooseRollBack } from '../plan/roll-back.ts';
import type { Agent } from '../ports/agent.ts';
import type { ActionRun } from './run.ts';
import { undoTransactions } from './undo.ts';

/**
 * Undoes earlier deploys from the journals on the host: back to the previous release, to a given
 * release, or a single transaction.
 *
 * @throws ConfigError when the release or transaction is unknown to the host or already undone
 * @throws HostError when a step could not be undone
 */
export async function rollBack(run: ActionRun<'deploy-worker'>, agent: Agent): Promise<void> {
  const { inputs } = run;
  const { unit } = inputs;
  const { transactions, releases, companions } = await run.look(agent, {
    transactions: {},
    releases: { unit },
    companions: { unit, units: [], folder: inputs['deploy-to'].path },
  });
  const chosen = chooseRollBack(inputs['roll-back'], releases, transactions);
  await undoTransactions(run, agent, {
    about: chosen.about,
    whole: 'the worker is as it was before',
    subject: unit,
    unit,
    transactions: chosen.transactions,
    tell: (steps) => nameLeftBehind(companions.beside, steps),
  });
}
