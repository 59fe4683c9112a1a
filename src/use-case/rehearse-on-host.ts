import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import type { PlannedRepair } from '../jobs/repair/clean-up-plan.ts';
import { shortId } from '../jobs/tables/job-forest.ts';
import { ConfigError } from '../model/errors.ts';
import type { RehearsalFact } from '../model/facts/store.ts';
import type { Finding } from '../model/operation.ts';
import { formatCount } from '../model/quantities.ts';
import { seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';

/**
 * Tries the changes by what will make them: those of PostgreSQL in the database itself, in a
 * transaction that is rolled back, those of SQLite on a copy on the host, by the host's own SQLite,
 * which may be stricter than the runner's. A SQLite database that is too large to be copied is left out.
 *
 * @throws ConfigError when a database rejects the changes
 * @throws HostError when it cannot be reached
 */
export async function rehearseOnHost(
  agent: Pick<Agent, 'look'>,
  planned: readonly PlannedRepair[],
  desired: CleanUpDesired,
): Promise<readonly PlannedRepair[]> {
  const tried: PlannedRepair[] = [];
  for (const one of planned) {
    const canBe = one.holds === 'everything' || /^postgres(?:ql)?:/.test(one.database);
    tried.push(canBe && one.repair.rows.length > 0 ? await rehearse(agent, one, desired) : one);
  }
  return tried;
}

async function rehearse(
  agent: Pick<Agent, 'look'>,
  one: PlannedRepair,
  { action, unit, busyTimeoutSeconds }: CleanUpDesired,
): Promise<PlannedRepair> {
  const { database, user, repair, findings } = one;
  const rows = repair.changes;
  const query = { database, unit, user, rows, busyTimeoutSeconds: seconds(busyTimeoutSeconds) };
  const { rehearsal } = await agent.look({ rehearsal: query });
  if (rehearsal.problems.length === 0)
    return { ...one, findings: [...findings, ...reportUntried(database, rehearsal)] };
  throw new ConfigError(
    'input action',
    `${action} failed in a rehearsal on the host for ${database}: ${rehearsal.problems.slice(0, 5).join('; ')}`,
    'an action that the database allows; nothing was changed on the host',
  );
}

function reportUntried(where: string, { skipped }: RehearsalFact): Finding[] {
  if (skipped.length === 0) return [];
  const list = skipped.slice(0, 5).map(({ table, id, why }) => `${table} ${shortId(id)} ${why}`);
  const more = skipped.length > 5 ? `; and ${skipped.length - 5} more` : '';
  const message = `could not rehearse ${formatCount(skipped.length, 'row')}: ${list.join('; ')}${more}`;
  return [{ level: 'notice', message, where }];
}
