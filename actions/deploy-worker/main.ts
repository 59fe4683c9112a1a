import { rollBack } from '../../src/action/roll-back.ts';
import { runAction } from '../../src/action/run.ts';
import { supportModuleText } from '../../src/action/support-module.ts';
import { deployWorkerDesired } from '../../src/config/deploy-worker-inputs.ts';
import { deployWorkerQuery, planDeployWorker } from '../../src/plan/deploy-worker.ts';

void runAction('deploy-worker', async (run) => {
  const desired = deployWorkerDesired(run.inputs, supportModuleText(), run.meta().holder);
  await using agent = await run.openAgent();
  if (run.inputs['roll-back'] !== '') {
    await rollBack(run, agent);
    return;
  }
  const facts = await agent.look(deployWorkerQuery(desired));
  const plan = planDeployWorker(facts, desired);
  await run.carryOut(agent, plan, { subject: desired.unit, unit: desired.unit });
});
