import { runAction } from '../../src/action/run.ts';
import { deployWorkerDesired } from '../../src/config/deploy-worker-inputs.ts';
import { deployWorkerQuery } from '../../src/plan/deploy/look.ts';
import { carryOut } from '../../src/use-case/carry-out.ts';
import { planAndLook } from '../../src/use-case/look-at-consuming.ts';
import { openRunCode } from '../../src/use-case/offer-code.ts';
import { rollBack } from '../../src/use-case/roll-back.ts';
import { supportModuleText } from '../../src/use-case/support-module.ts';
import { tellRestart } from '../../src/use-case/tell-restart.ts';

void runAction('deploy-worker', async (run) => {
  if (run.inputs['roll-back'] !== '') {
    await using agent = await run.openAgent();
    return await rollBack(run, agent);
  }
  const desired = deployWorkerDesired(run.inputs, supportModuleText(), run.meta().holder);
  await using agent = await run.openAgent();
  const facts = await run.look(agent, deployWorkerQuery(desired));
  const code = await openRunCode(desired.release, facts.release);
  const plan = await planAndLook(agent, facts, desired, code.offer);
  const release = { confirmWithinSeconds: run.inputs['confirm-within'] || null };
  const { unit } = desired;
  const about = { subject: unit, unit, release, tell: tellRestart };
  await carryOut(run, agent, plan, { ...about, ...code.about });
});
