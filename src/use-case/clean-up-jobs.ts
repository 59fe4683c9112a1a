import { randomUUID } from 'node:crypto';
import { openSqliteStore } from '../adapters/sqlite-store.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { countRepaired, reportSkipped } from '../jobs/repair/clean-up-outcome.ts';
import type { CleanUp } from '../jobs/repair/clean-up-plan.ts';
import type { Agent } from '../ports/agent.ts';
import { formatCount, formatDuration } from '../report/quantities.ts';
import { planCleanUp } from './clean-up.ts';
import type { Run } from './run.ts';

/**
 * Finds stuck jobs, shows them and, unless this is a dry run, repairs them.
 *
 * @throws ConfigError, HostError
 */
export async function cleanUpJobs(
  run: Run<'cleanup'>,
  agent: Agent,
  desired: CleanUpDesired,
): Promise<void> {
  const { reporter } = run;
  const tools = { agent, openStore: openSqliteStore, newTaskId: randomUUID };
  const cleanUp = await planCleanUp({ ...tools, onProgress: run.onProgress() }, desired);
  await showMappings(run, cleanUp);
  const found = cleanUp.repairs.reduce((sum, repair) => sum + repair.rows.length, 0);
  reporter.output('found', String(found));
  const outcome = await run.carryOut(agent, cleanUp.plan, {
    subject: 'jobs',
    unit: desired.unit,
    ...pauseOf(cleanUp),
  });
  const repaired = outcome === null ? 0 : countRepaired(outcome);
  reporter.output('repaired', String(repaired));
  for (const { message } of outcome === null ? [] : reportSkipped(outcome)) {
    reporter.warning(message, 'cleanup');
  }
  if (repaired > 0) {
    reporter.warning(`${repaired} stuck or orphaned rows repaired (action: ${desired.action})`);
  }
}

function showMappings({ reporter }: Run<'cleanup'>, { mappings }: CleanUp): Promise<void> {
  const lines = mappings.flatMap(({ database, lines }) => [
    database,
    ...lines.map((line) => `  ${line}`),
  ]);
  return reporter.group('cleanup: tables of jobs', async () => reporter.info(lines.join('\n')));
}

function pauseOf({ pauseSeconds, repairs }: CleanUp) {
  if (pauseSeconds === 0) return {};
  const count = formatCount(
    repairs.reduce((sum, { rows }) => sum + rows.length, 0),
    'row',
  );
  const why = `${count} will be checked again in ${formatDuration(pauseSeconds)}; rows that change until then are skipped`;
  return { pause: { seconds: pauseSeconds, why } };
}
