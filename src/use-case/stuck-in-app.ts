import { openSqliteStore } from '../adapters/sqlite-store.ts';
import { readAppUser } from '../config/app-user-input.ts';
import { cleanUpDefaults, readStores } from '../config/cleanup-desired.ts';
import type { VerifyValues } from '../config/verify-inputs.ts';
import { orNone } from '../jobs/tables/mapping.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import { type EpochSeconds, seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import type { StuckRows, StuckSearch } from '../verify/evidence.ts';
import type { Known } from '../verify/soak/besides.ts';
import { lookForStuckRows, type StuckCount } from './look-for-stuck-rows.ts';

/** A host without a job database is reported, but does not fail the verdict. */
export async function searchStuckRows(
  agent: Agent,
  inputs: VerifyValues,
  releasedAt: EpochSeconds | null,
): Promise<StuckSearch> {
  if (inputs.database.none) {
    return { kind: 'not-read', why: '`database: none`, this app has no tables of jobs' };
  }
  const wanted = readStores(inputs);
  try {
    const found = await readJobs(agent, inputs);
    return { kind: 'read', rows: found.flatMap((each) => countByTable(each, releasedAt)) };
  } catch (error) {
    if (!isNamed(wanted) && error instanceof ConfigError) {
      return { kind: 'not-read', why: `${error.message}; ${orNone}` };
    }
    throw error;
  }
}

function countByTable(
  { stuck, takenAt }: StuckCount,
  releasedAt: EpochSeconds | null,
): StuckRows[] {
  const tables = Map.groupBy(stuck, ({ row }) => row.mapping.table);
  return [...tables].map(([table, rows]) => ({
    table,
    count: rows.length,
    inherited: rows.filter(
      ({ lastSign }) => lastSign !== null && releasedAt !== null && lastSign < releasedAt,
    ).length,
    oldestAgeSeconds: seconds(
      Math.max(0, ...rows.map(({ lastSign }) => takenAt - (lastSign ?? takenAt))),
    ),
    sampleIds: rows.slice(0, 5).map(({ row }) => String(row.id)),
  }));
}

/**
 * How long the job is stuck that is so longest, of those that the release has begun itself; 0: none is.
 *
 * Only of a database that is named: to search for one every hour costs more than the number is worth.
 *
 * @param since when the release started, which is before its gate
 */
export async function oldestStuckJob(
  agent: Agent,
  inputs: VerifyValues,
  since: EpochSeconds,
): Promise<Known> {
  if (inputs.database.none) return { why: 'this app has no tables of jobs (`database: none`)' };
  if (!isNamed(readStores(inputs))) return { why: 'neither `database` nor `stores` is given' };
  try {
    return { value: oldestSince(await readJobs(agent, inputs), since) };
  } catch (error) {
    // What is only compared fails no soak.
    if (!(error instanceof ConfigError || error instanceof HostError)) throw error;
    return { why: `the jobs could not be read (${error.message})` };
  }
}

/** In seconds, of the jobs that showed a sign of life after `since`; 0: none of them is stuck. */
export function oldestSince(stores: readonly StuckCount[], since: EpochSeconds): number {
  const ages = stores.flatMap(({ stuck, takenAt }) =>
    stuck.flatMap(({ lastSign }) =>
      lastSign === null || lastSign < since ? [] : [takenAt - lastSign],
    ),
  );
  return ages.reduce((most, age) => Math.max(most, Math.round(age)), 0);
}

/** Whether somebody said where the jobs are: otherwise they are searched for. */
const isNamed = ({ stores, database }: ReturnType<typeof readStores>): boolean =>
  database !== null || stores.length > 0;

const readJobs = (agent: Agent, inputs: VerifyValues): Promise<readonly StuckCount[]> =>
  lookForStuckRows(
    { agent, openStore: openSqliteStore },
    {
      ...cleanUpDefaults,
      ...readStores(inputs),
      timeZone: inputs.timezone,
      unit: inputs.unit,
      appUser: readAppUser(inputs['app-user']),
      thresholdSeconds: inputs.threshold,
      snapshotLimitBytes: inputs['snapshot-limit'],
    },
  );
