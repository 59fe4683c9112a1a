import { runAction } from '../../src/action/run.ts';
import { planProvision, provisionQuery } from '../../src/plan/swap.ts';
import { carryOut } from '../../src/use-case/carry-out.ts';

void runAction('provision', async (run) => {
  const desired = {
    path: run.inputs['swap-path'],
    sizeBytes: run.inputs['swap-size'],
    swappiness: run.inputs.swappiness,
  };
  await using agent = await run.openAgent();
  const facts = await run.look(agent, provisionQuery(desired));
  const plan = planProvision(facts, desired);
  await carryOut(run, agent, plan, { subject: desired.path });
});
