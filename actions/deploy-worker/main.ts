import { runAction } from '../../src/action/run.ts';
import { deployWorker } from '../../src/use-case/deploy-worker.ts';
import { rollBack } from '../../src/use-case/roll-back.ts';

void runAction('deploy-worker', async (run) => {
  if (run.inputs['roll-back'] === '') return await deployWorker(run);
  await using agent = await run.openAgent();
  await rollBack(run, agent);
});
