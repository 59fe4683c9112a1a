import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { type ReadStore, statusesOf } from '../jobs/judge/dead-rows.ts';
import { refuseEndedStatuses } from '../jobs/judge/staleness.ts';
import { countsTable, planExtract, type UnknownWords } from '../jobs/judge/suspects.ts';
import { countColumns, readCounts, unknownAtWork } from '../jobs/judge/unknown-statuses.ts';
import { explainsWrite, findLag, warnOfLag } from '../jobs/judge/zone-lag.ts';
import { growForest, type JobForest, listReads } from '../jobs/tables/job-forest.ts';
import { type ChosenStore, chooseStores, tablesToSample } from '../jobs/tables/store-choice.ts';
import { timeColumns } from '../jobs/tables/time-columns.ts';
import { refuseUnknownWords } from '../jobs/tables/unknown-words.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { StoreFact } from '../model/facts/store.ts';
import type { Finding } from '../model/operation.ts';
import type { StoreRow } from '../model/store-row.ts';
import type { EpochSeconds } from '../model/units.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import type { OpenStore, Store } from '../ports/store.ts';

/** A copy of a job database, opened on the runner. */
export interface StoreCopy extends ReadStore {
  readonly database: string;
  /** The app's user, who opens it on the host. */
  readonly user: string;
  readonly store: Store;
  /** All of it, or only rows that may need repair and their related rows. */
  readonly holds: 'everything' | 'rows';
  /** Findings from the choice of its tables. */
  readonly findings: readonly Finding[];
}

/** What copying needs from outside. */
export interface CopyTools {
  readonly agent: Pick<Agent, 'look' | 'snapshot'>;
  readonly openStore: OpenStore;
  readonly onProgress?: OnProgress;
}

/**
 * Copies the databases with jobs to the runner, and reads the jobs in them.
 *
 * @throws ConfigError when there is none, or one is not as the inputs say
 * @throws HostError when one cannot be read or copied
 */
export async function copyStores(
  tools: CopyTools,
  stores: readonly StoreFact[],
  desired: CleanUpDesired,
): Promise<StoreCopy[]> {
  refuseEndedStatuses(desired.statuses);
  const copies: StoreCopy[] = [];
  try {
    for (const chosen of chooseStores(stores, desired)) {
      const copy = await copyStore(tools, chosen, desired);
      copies.push(copy);
      const { counts, mapping } = copy.forest;
      const unknown = unknownAtWork(mapping, counts, statusesOf(copy.forest, desired));
      if (unknown.size === 0 || desired.ids.length > 0) continue;
      // An extract has no rows in these statuses: some are needed to tell whether they look stuck.
      const more = await copyWithUnknown(tools, chosen, desired, unknown);
      if (more === null) continue;
      copy.store[Symbol.dispose]();
      copies[copies.length - 1] = more;
    }
    return copies;
  } catch (error) {
    for (const { store } of copies) store[Symbol.dispose]();
    throw error;
  }
}

async function copyStore(
  { agent, openStore, onProgress = () => {} }: CopyTools,
  chosen: ChosenStore,
  desired: CleanUpDesired,
  unknown?: UnknownWords,
): Promise<StoreCopy> {
  const { database, user } = chosen;
  const { info, content } = await agent.snapshot(
    database,
    desired.snapshotLimitBytes,
    planExtract(chosen.mapping, desired, unknown),
    user,
    onProgress,
  );
  const store = await openStore(database, content);
  const { takenAt, holds, writtenAt } = info;
  const grown = await growCopy(chosen, store, holds, desired.timeZone);
  const lag = holds === 'rows' ? null : await readLag(chosen, store, grown.forest, writtenAt);
  return { ...grown, database, user, store, holds, takenAt, lag };
}

/** Whether the jobs look older than their database; `null`: no, or one of its other tables was written. */
async function readLag(
  { tables, mapping }: ChosenStore,
  store: Store,
  forest: JobForest,
  writtenAt: EpochSeconds | null,
): Promise<Finding | null> {
  const newest = writtenAt === null ? null : findLag(forest, writtenAt);
  if (newest === null || writtenAt === null) return null;
  const made = await store.readRows('sqlite_master', ['name', 'sql']);
  // Reading one may need a module that only the app has.
  const virtual = made.filter(({ sql }) => /^CREATE VIRTUAL/i.test(String(sql)));
  const apart = [...virtual.map(({ name }) => name), ...mapping.map((each) => each.table)];
  for (const table of tables) {
    const columns = timeColumns(table);
    if (columns.length === 0 || apart.includes(table.name)) continue;
    const rows = await store.readRows(table.name, columns);
    if (explainsWrite(rows, writtenAt, forest.timeZone)) return null;
  }
  return warnOfLag(newest, forest);
}

/** `null`: with these rows, and all that are related, it is too large; what is counted is told. */
async function copyWithUnknown(...asked: Required<Parameters<typeof copyStore>>) {
  try {
    return await copyStore(...asked);
  } catch (error) {
    if (error instanceof HostError) return null;
    throw error;
  }
}

async function growCopy(
  chosen: ChosenStore,
  store: Store,
  holds: StoreCopy['holds'],
  timeZone: string,
): Promise<Pick<StoreCopy, 'forest' | 'verdicts' | 'findings'>> {
  try {
    await refuseDamage(chosen.database, store);
    const sampled = new Map<string, Awaited<ReturnType<Store['sampleValues']>>>();
    for (const table of tablesToSample(chosen)) {
      sampled.set(table, await store.sampleValues(table));
    }
    const { mapping, verdicts, findings } = chosen.withValues((table) => sampled.get(table) ?? {});
    const rows = new Map<string, readonly StoreRow[]>();
    const key = (table: string, columns: readonly string[]) => JSON.stringify([table, columns]);
    for (const { table, columns } of listReads(mapping)) {
      rows.set(key(table, columns), await store.readRows(table, columns));
    }
    const read = (table: string, columns: readonly string[]) => rows.get(key(table, columns)) ?? [];
    const counts =
      holds === 'rows' ? readCounts(await store.readRows(countsTable, countColumns)) : [];
    const forest = growForest(mapping, read, timeZone, counts);
    refuseUnknownWords(chosen.database, forest);
    return { forest, verdicts, findings };
  } catch (error) {
    store[Symbol.dispose]();
    throw error;
  }
}

async function refuseDamage(database: string, store: Store): Promise<void> {
  const damage = await store.findDamage();
  if (damage.length === 0) return;
  throw new ConfigError(
    'input database',
    `${database} is damaged: ${damage.slice(0, 3).join('; ')}`,
    'a SQLite file whose integrity_check reports ok; restore it from a backup first',
  );
}
