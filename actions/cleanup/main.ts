import { runAction } from '../../src/action/run.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { cleanUpDesired } from '../../src/config/cleanup-inputs.ts';
import { planCleanUp } from '../../src/jobs/clean-up.ts';

void runAction('cleanup', async (run) => {
  const desired = cleanUpDesired(run.inputs, run.meta().holder);
  await using agent = await run.openAgent();
  const cleanUp = await planCleanUp({ agent, openStore: openSqliteStore }, desired);
  const found = cleanUp.repairs.reduce((sum, repair) => sum + repair.rows.length, 0);
  run.reporter.output('found', String(found));
  run.reporter.output('repaired', '0');
  const outcome = await run.carryOut(agent, cleanUp.plan, { subject: 'jobs', unit: desired.unit });
  if (outcome !== null) {
    run.reporter.output('repaired', String(found));
    run.reporter.warning(
      `${found} stuck or orphaned rows were repaired (action: ${desired.action})`,
    );
  }
});
