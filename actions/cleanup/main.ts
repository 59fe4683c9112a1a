import { runAction } from '../../src/action/run.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { cleanUpDesired } from '../../src/config/cleanup-inputs.ts';
import { countRepaired, planCleanUp, reportSkipped } from '../../src/jobs/clean-up.ts';

void runAction('cleanup', async (run) => {
  const desired = cleanUpDesired(run.inputs, run.meta().holder);
  await using agent = await run.openAgent();
  const cleanUp = await planCleanUp({ agent, openStore: openSqliteStore }, desired);
  const found = cleanUp.repairs.reduce((sum, repair) => sum + repair.rows.length, 0);
  run.reporter.output('found', String(found));
  const outcome = await run.carryOut(agent, cleanUp.plan, { subject: 'jobs', unit: desired.unit });
  const repaired = outcome === null ? 0 : countRepaired(outcome);
  run.reporter.output('repaired', String(repaired));
  for (const { message } of outcome === null ? [] : reportSkipped(outcome)) {
    run.reporter.warning(message, 'cleanup');
  }
  if (repaired > 0) {
    run.reporter.warning(`${repaired} stuck or orphaned rows repaired (action: ${desired.action})`);
  }
});
