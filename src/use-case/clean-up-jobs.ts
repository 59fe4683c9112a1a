import { randomUUID } from 'node:crypto';
import { openSqliteStore } from '../adapters/sqlite-store.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { countRepaired, describeResult, reportSkipped } from '../jobs/repair/clean-up-outcome.ts';
import type { CleanUp } from '../jobs/repair/clean-up-plan.ts';
import type { Finding } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import { formatCount, formatDuration } from '../model/quantities.ts';
import { seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import { carryOut } from './carry-out.ts';
import { planCleanUp } from './clean-up.ts';
import { lookThrough } from './look-through.ts';
import type { Run } from './run.ts';

/** What a clean-up did. */
export interface CleanedUp {
  /** `null`: nothing was applied. */
  readonly outcome: Outcome | null;
  /** Rows that are, or in a dry run would be, repaired. */
  readonly found: number;
  readonly repaired: number;
  /** Rows that changed after the plan was made, and tasks that were not sent. */
  readonly skipped: readonly Finding[];
}

/**
 * Finds stuck jobs, shows them and, unless this is a dry run, repairs them.
 *
 * @throws ConfigError, HostError
 */
export async function cleanUpJobs(
  run: Run,
  agent: Agent,
  desired: CleanUpDesired,
): Promise<CleanedUp> {
  const through = lookThrough(run, agent);
  const tools = { agent: through, openStore: openSqliteStore, newTaskId: randomUUID };
  if (desired.noDatabase) await run.look(agent, {});
  const cleanUp = desired.noDatabase
    ? withoutDatabase
    : await planCleanUp({ ...tools, onProgress: run.onProgress() }, desired);
  await showMappings(run, cleanUp);
  const found = countRows(cleanUp);
  run.output('found', String(found));
  const outcome = await carryOut(run, agent, cleanUp.plan, {
    subject: 'jobs',
    unit: desired.unit,
    ...pauseOf(cleanUp),
    data: (result) => describeResult(cleanUp, result),
  });
  const repaired = outcome === null ? 0 : countRepaired(outcome);
  const skipped = outcome === null ? [] : reportSkipped(outcome, cleanUp);
  run.output('repaired', String(repaired));
  for (const { message } of skipped) run.warn(message);
  return { outcome, found, repaired, skipped };
}

const withoutDatabase: CleanUp = {
  plan: {
    operations: [],
    satisfied: [],
    findings: [
      {
        level: 'notice',
        lasting: true,
        message: 'jobs: skipped: `database: none`, this app has no tables of jobs',
      },
    ],
  },
  repairs: [],
  mappings: [],
  pauseSeconds: seconds(0),
  timeZone: 'UTC',
};

const countRows = ({ repairs }: CleanUp): number =>
  repairs.reduce((sum, { rows }) => sum + rows.length, 0);

function showMappings(run: Run, { mappings }: CleanUp): Promise<void> {
  const lines = mappings.flatMap(({ database, lines }) => [
    database,
    ...lines.map((line) => `  ${line}`),
  ]);
  return run.showDetails('tables of jobs', lines);
}

function pauseOf(cleanUp: CleanUp) {
  const { pauseSeconds } = cleanUp;
  if (pauseSeconds === 0) return {};
  const count = formatCount(countRows(cleanUp), 'row');
  const why = `${count} will be checked again in ${formatDuration(pauseSeconds)}; rows that change until then are skipped`;
  return { pause: { seconds: pauseSeconds, why } };
}
