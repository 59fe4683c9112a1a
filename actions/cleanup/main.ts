import { runAction } from '../../src/action/run.ts';
import { cleanUpDesired } from '../../src/config/cleanup-inputs.ts';
import { cleanUpJobs } from '../../src/use-case/clean-up-jobs.ts';
import { restoreJobs } from '../../src/use-case/restore-jobs.ts';

void runAction('cleanup', async (run) => {
  const desired = cleanUpDesired(run.inputs, run.meta().holder);
  await using agent = await run.openAgent();
  await (run.inputs.restore === '' ? cleanUpJobs : restoreJobs)(run, agent, desired);
});
