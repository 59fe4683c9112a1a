import { runAction } from '../../src/action/run.ts';
import { servesStore } from '../../src/adapters/sqlite-process.ts';
import { cleanUpDesired } from '../../src/config/cleanup-desired.ts';
import { formatCount } from '../../src/model/quantities.ts';
import { cleanUpJobs } from '../../src/use-case/clean-up-jobs.ts';
import { restoreJobs } from '../../src/use-case/restore-jobs.ts';

// The process that opens a copy of a database is this program, too.
if (!servesStore())
  void runAction('cleanup', async (run) => {
    const { restore } = run.inputs;
    const desired = cleanUpDesired(run.inputs, run.meta().holder);
    await using agent = await run.openAgent();
    if (restore !== '') {
      await restoreJobs(run, agent, restore, desired);
      return;
    }
    const { repaired } = await cleanUpJobs(run, agent, desired);
    if (repaired > 0) {
      const rows = formatCount(repaired, 'stuck or orphaned row');
      run.warn(`repaired ${rows} (action: ${desired.action})`);
    }
  });
