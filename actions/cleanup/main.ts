import { cleanUpJobs } from '../../src/action/clean-up-jobs.ts';
import { restoreJobs } from '../../src/action/restore-jobs.ts';
import { runAction } from '../../src/action/run.ts';
import { cleanUpDesired } from '../../src/config/cleanup-inputs.ts';

void runAction('cleanup', async (run) => {
  const desired = cleanUpDesired(run.inputs, run.meta().holder);
  await using agent = await run.openAgent();
  await (run.inputs.restore === '' ? cleanUpJobs : restoreJobs)(run, agent, desired);
});
