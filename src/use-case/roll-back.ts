import { ConfigError } from '../model/errors.ts';
import { nameLeftBehind } from '../plan/deploy/companions.ts';
import { AnotherReleaseError, chooseRollBack, type RollBack } from '../plan/roll-back.ts';
import type { Agent } from '../ports/agent.ts';
import type { ActionRun, Run } from './run.ts';
import { undoTransactions } from './undo.ts';

/** What to go back to. */
export interface RollBackTarget {
  readonly unit: string;
  /** `previous`, the number of a release, or a transaction to undo; `newest:` before it: only if its release runs. */
  readonly target: string;
  /** The folder of uploaded releases, to find further units that run from it; `null`: none. */
  readonly folder: string | null;
  /** The transaction of the release that must run; absent: whichever does. */
  readonly from?: string;
}

/**
 * Undoes earlier deploys from the journals on the host: back to the previous release, to a given
 * release, or a single transaction.
 *
 * @throws ConfigError when the release or transaction is unknown to the host or already undone
 * @throws HostError when a step could not be undone
 */
export async function rollBack(run: ActionRun<'deploy-worker'>, agent: Agent): Promise<void> {
  const { inputs } = run;
  const folder = inputs['deploy-to'].path;
  await rollBackTo(run, agent, { unit: inputs.unit, target: inputs['roll-back'], folder });
}

/**
 * The same, for any run.
 *
 * @throws AnotherReleaseError when the release of a `newest:` transaction is not the one that runs
 * @throws ConfigError when another release than `from` runs
 */
export async function rollBackTo(
  run: Run,
  agent: Agent,
  { unit, target, folder, from }: RollBackTarget,
): Promise<void> {
  const { transactions, releases, companions } = await run.look(agent, {
    transactions: {},
    releases: { unit },
    companions: { unit, units: [], folder },
  });
  const chosen = choose(run, () => chooseRollBack(target, releases, transactions));
  const { newest } = chosen;
  if (chosen.transactions.length === 0) {
    tellUndone(run, agent, { unit, about: chosen.about });
    return;
  }
  if (from !== undefined && newest !== from) {
    const problem = 'another release was deployed meanwhile';
    throw new ConfigError('input roll-back', problem, 'the release that failed to run');
  }
  await undoTransactions(run, agent, {
    about: chosen.about,
    whole: 'the worker is as it was before',
    subject: unit,
    unit,
    transactions: chosen.transactions,
    ...(newest !== null && { newest }),
    tell: (steps) => nameLeftBehind(companions.beside, steps),
  });
}

/** During a long gate, the host rolls back by its timer. */
function tellUndone(
  run: Run,
  agent: Agent,
  { unit, about }: { readonly unit: string; readonly about: string },
): void {
  for (const [name, value] of [
    ['transaction', ''],
    ['changed', 'false'],
    ['result', 'undone'],
  ] as const) {
    run.output(name, value);
  }
  run.report(agent, {
    subject: unit,
    sentence: `The host has already undone ${about}; nothing is left to roll back.`,
    checklist: [],
    plan: null,
    outcome: null,
    findings: [],
  });
}

function choose(run: Run, chosen: () => RollBack): RollBack {
  try {
    return chosen();
  } catch (error) {
    if (error instanceof AnotherReleaseError) run.output('result', 'superseded');
    throw error;
  }
}
