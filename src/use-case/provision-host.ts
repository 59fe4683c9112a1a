import { provisionDesired } from '../config/provision-desired.ts';
import type { Plan } from '../model/operation.ts';
import { planProvision, provisionQuery } from '../plan/swap.ts';
import { carryOut } from './carry-out.ts';
import type { ActionRun } from './run.ts';

/**
 * Gives the host its swap, in one transaction.
 *
 * @returns what was planned
 * @throws ConfigError, HostError when it was undone
 */
export async function provisionHost(run: ActionRun<'provision'>): Promise<Plan> {
  const desired = provisionDesired(run.inputs);
  const query = provisionQuery(desired);
  await using agent = await run.openAgent(query);
  const facts = await run.look(agent, query);
  const plan = planProvision(facts, desired);
  await carryOut(run, agent, plan, { subject: desired.path });
  return plan;
}
