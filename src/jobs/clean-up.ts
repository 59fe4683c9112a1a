import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { ConfigError } from '../model/errors.ts';
import type { StoreFact } from '../model/facts.ts';
import type { Extract } from '../model/job-store.ts';
import type { Finding, Operation, Plan, RowChange } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import { type EpochSeconds, seconds } from '../model/units.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import type { OpenStore, Rehearsal, Store } from '../ports/store.ts';
import { formatCount, formatDuration } from '../report/quantities.ts';
import { growForest, type JobForest, shortId } from './job-forest.ts';
import { holdJobs, proposeMapping, type StoreMapping } from './mapping.ts';
import { planRepair, type Repair, type RepairedRow } from './repair.ts';
import { renderRepairTable } from './repair-table.ts';
import { findStuckRows, type StuckRow, selectNamed } from './staleness.ts';

/** A job database as it was a moment ago, opened on the runner. */
export interface StoreCopy {
  readonly database: string;
  readonly store: Store;
  readonly forest: JobForest;
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
}

/** What there is to repair in one database. */
export interface StoreRepair {
  readonly database: string;
  readonly rows: readonly RepairedRow[];
  readonly rehearsal: Rehearsal;
}

export interface CleanUp {
  readonly plan: Plan;
  readonly repairs: readonly StoreRepair[];
  /** The rows of every repair as one table a database; empty when there are none. */
  render(style: 'markdown' | 'plain'): string;
}

/** Everything the use case takes from the outside. */
export interface CleanUpTools {
  readonly agent: Pick<Agent, 'look' | 'snapshot'>;
  readonly openStore: OpenStore;
  readonly onProgress?: OnProgress;
}

/**
 * Finds the stuck jobs of the host's databases, decides what becomes of each, and tries it on
 * copies. Nothing is changed on the host: applying `plan.operations` does that.
 *
 * @throws ConfigError when there is no database of jobs, or the ids name nothing
 * @throws HostError when a database can't be read or copied
 */
export async function planCleanUp(tools: CleanUpTools, desired: CleanUpDesired): Promise<CleanUp> {
  const copies = await copyStores(tools, desired);
  try {
    const found = findStuck(copies, desired);
    const planned = copies.map((copy, index) =>
      repairCopy(copy, found[index] ?? noneStuck, desired),
    );
    return describeCleanUp(limitChanges(planned), desired);
  } finally {
    for (const { store } of copies) store[Symbol.dispose]();
  }
}

/** Counts of stuck rows, for those who only look. */
export interface StuckCount {
  readonly database: string;
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
  readonly stuck: readonly StuckRow[];
  readonly findings: readonly Finding[];
}

/**
 * The rows that a clean-up would find, and no plan.
 *
 * @throws ConfigError when there is no database of jobs
 * @throws HostError when a database can't be read or copied
 */
export async function lookForStuckRows(
  tools: CleanUpTools,
  desired: CleanUpDesired,
): Promise<readonly StuckCount[]> {
  const copies = await copyStores(tools, desired);
  try {
    const found = findStuck(copies, desired);
    return copies.map(({ database, takenAt }, index) => ({
      database,
      takenAt,
      ...(found[index] ?? noneStuck),
    }));
  } finally {
    for (const { store } of copies) store[Symbol.dispose]();
  }
}

interface FoundStuck {
  readonly stuck: readonly StuckRow[];
  readonly findings: readonly Finding[];
}

const noneStuck: FoundStuck = { stuck: [], findings: [] };

/** Named rows and nothing else, or those that show no sign of life. */
function findStuck(copies: readonly StoreCopy[], desired: CleanUpDesired): readonly FoundStuck[] {
  const { thresholdSeconds, statuses, orphans, ids } = desired;
  if (ids.length > 0) {
    const forests = copies.map((copy) => copy.forest);
    return selectNamed(forests, ids).map((stuck) => ({ stuck, findings: [] }));
  }
  return copies.map((copy) =>
    findStuckRows(copy.forest, { now: copy.takenAt, thresholdSeconds, statuses, orphans }),
  );
}

async function copyStores(tools: CleanUpTools, desired: CleanUpDesired): Promise<StoreCopy[]> {
  const { agent, openStore, onProgress = () => {} } = tools;
  const { stores } = await agent.look({
    stores: {
      unit: desired.unit,
      databases: desired.database === null ? null : [desired.database],
    },
  });
  const copies: StoreCopy[] = [];
  try {
    for (const { database, mapping } of chooseStores(stores, desired)) {
      const { info, content } = await agent.snapshot(
        database,
        desired.snapshotLimitBytes,
        extractFor(mapping, desired),
        onProgress,
      );
      const store = openStore(database, content);
      copies.push(growCopy(database, store, mapping, info.takenAt));
    }
    return copies;
  } catch (error) {
    for (const { store } of copies) store[Symbol.dispose]();
    throw error;
  }
}

/** What is needed of a database that is too large to be copied whole. */
function extractFor(mapping: StoreMapping, desired: CleanUpDesired): Extract {
  return {
    unit: desired.unit,
    mapping,
    suspects: Object.fromEntries(mapping.map(({ table }) => [table, desired.statuses])),
    orphans: desired.orphans,
    ids: desired.ids,
  };
}

function growCopy(
  database: string,
  store: Store,
  mapping: StoreMapping,
  takenAt: EpochSeconds,
): StoreCopy {
  try {
    refuseDamage(database, store);
    const forest = growForest(mapping, (table, columns) => store.readRows(table, columns));
    return { database, store, forest, takenAt };
  } catch (error) {
    store[Symbol.dispose]();
    throw error;
  }
}

function refuseDamage(database: string, store: Store): void {
  const damage = store.findDamage();
  if (damage.length === 0) return;
  throw new ConfigError(
    'input database',
    `${database} is damaged: ${damage.slice(0, 3).join('; ')}`,
    'a SQLite file whose integrity_check says ok; restore it from a backup first',
  );
}

interface ChosenStore {
  readonly database: string;
  readonly mapping: StoreMapping;
}

function chooseStores(stores: readonly StoreFact[], desired: CleanUpDesired): ChosenStore[] {
  if (desired.database !== null) return [chooseNamed(stores[0], desired.database)];
  const chosen = stores.flatMap((fact) =>
    fact.kind === 'sqlite' && holdJobs(fact.tables)
      ? [{ database: fact.path, mapping: proposeMapping(fact.path, fact.tables) }]
      : [],
  );
  if (chosen.length > 0) return chosen;
  const seen = stores.map((fact) => `${fact.path} (${describeFact(fact)})`);
  throw new ConfigError(
    'input database',
    seen.length === 0
      ? `no SQLite file was found below the WorkingDirectory of ${desired.unit}`
      : `no database with jobs was found below the WorkingDirectory of ${desired.unit}, only ${seen.join(', ')}`,
    'the path of the SQLite file in which the app keeps its jobs; set `database`',
  );
}

function chooseNamed(fact: StoreFact | undefined, database: string): ChosenStore {
  if (fact?.kind === 'sqlite') {
    return { database: fact.path, mapping: proposeMapping(fact.path, fact.tables) };
  }
  const problem = fact ? describeFact(fact) : 'the host says nothing about it';
  throw new ConfigError(
    'input database',
    fact?.kind === 'unreadable' ? fact.problem : `${database}: ${problem}`,
    whatWouldDo(problem),
  );
}

function whatWouldDo(problem: string): string {
  if (problem.startsWith('is damaged')) return 'a database that is whole: restore it from a backup';
  if (problem.startsWith('is locked')) return 'a database that can be read: try again';
  return 'the path on the host of the SQLite file in which the app keeps its jobs';
}

function describeFact(fact: StoreFact): string {
  if (fact.kind === 'absent') return 'there is no such file';
  if (fact.kind === 'unreadable') return fact.problem.replace(`${fact.path} `, '');
  return `tables: ${fact.tables.map((table) => table.name).join(', ') || 'none'}`;
}

/** What an applied clean-up left alone because it had changed since the plan was made. */
export function reportSkipped(outcome: Outcome): readonly Finding[] {
  return outcome.steps.flatMap((step): Finding[] => {
    const rows = step.op === 'repair-jobs' ? readSkipped(step.result?.skipped) : [];
    if (rows.length === 0) return [];
    const list = rows.slice(0, 5).map((row) => `${row.table} ${shortId(row.id)} ${row.why}`);
    const more = rows.length > 5 ? `; and ${rows.length - 5} more` : '';
    const message = `${formatCount(rows.length, 'row')} left alone: ${list.join('; ')}${more}`;
    return [{ level: 'warning', message }];
  });
}

/** Rows that an applied clean-up really changed. */
export function countRepaired(outcome: Outcome): number {
  if (outcome.result !== 'committed') return 0;
  const counts = outcome.steps.map((step) => step.result?.changed);
  return counts.reduce<number>((sum, count) => sum + (typeof count === 'number' ? count : 0), 0);
}

interface SkippedRow {
  readonly table: string;
  readonly id: string | number;
  readonly why: string;
}

const readSkipped = (value: unknown): readonly SkippedRow[] =>
  Array.isArray(value) ? (value as readonly SkippedRow[]) : [];

interface PlannedRepair {
  readonly database: string;
  readonly repair: Repair;
  readonly rehearsal: Rehearsal;
  readonly findings: readonly Finding[];
}

function repairCopy(copy: StoreCopy, found: FoundStuck, desired: CleanUpDesired): PlannedRepair {
  const { database, store, forest, takenAt } = copy;
  const { action, statuses, runUrl } = desired;
  const repair = planRepair(forest, found.stuck, { action, now: takenAt, statuses, runUrl });
  const rehearsal = repair.changes.length > 0 ? store.rehearse(repair.changes) : nothingToTry;
  if (rehearsal.problems.length > 0) {
    throw new ConfigError(
      'input action',
      `${action} does not go well on a copy of ${database}: ${rehearsal.problems.slice(0, 5).join('; ')}`,
      'an action that the database allows; nothing was changed on the host',
    );
  }
  const findings = [...found.findings, ...repair.findings].map((finding) => ({
    where: database,
    ...finding,
  }));
  return { database, repair, rehearsal, findings };
}

const nothingToTry: Rehearsal = { changed: {}, problems: [] };

/** One message to the host holds at most 1 MiB, and its rows are most of it. */
const changesLimit = 600 * 1024;

/** As many whole groups as one message holds; the rest is for the next run, and said. */
function limitChanges(planned: readonly PlannedRepair[]): readonly PlannedRepair[] {
  let room = changesLimit;
  return planned.map((one) => {
    const groups = Map.groupBy(one.repair.changes, (change) => change.group);
    const taken: RowChange[] = [];
    let left = 0;
    for (const group of groups.values()) {
      const size = new TextEncoder().encode(JSON.stringify(group)).length;
      if (size > room) {
        left += group.filter((row) => row.change.kind !== 'keep').length;
        continue;
      }
      room -= size;
      taken.push(...group);
    }
    return left === 0 ? one : cutRepair(one, taken, left);
  });
}

function cutRepair(one: PlannedRepair, changes: readonly RowChange[], left: number): PlannedRepair {
  const key = (row: { table: string; id: string | number }): string => `${row.table}:${row.id}`;
  const kept = new Set(changes.map(key));
  const message = `${left} more rows want repair than one run takes: run the clean-up again`;
  return {
    ...one,
    repair: { ...one.repair, changes, rows: one.repair.rows.filter((row) => kept.has(key(row))) },
    findings: [...one.findings, { level: 'warning', message, where: one.database }],
  };
}

function describeCleanUp(planned: readonly PlannedRepair[], desired: CleanUpDesired): CleanUp {
  const changing = planned.filter(({ repair }) => repair.rows.length > 0);
  const plan: Plan = {
    operations: changing.flatMap((one) => listOperations(one, desired)),
    satisfied: planned
      .filter(({ repair }) => repair.rows.length === 0)
      .map(({ database }) => `jobs: nothing to repair in ${database}`),
    findings: planned.flatMap(({ findings }) => findings),
  };
  return {
    plan,
    repairs: changing.map(({ database, repair, rehearsal }) => ({
      database,
      rows: repair.rows,
      rehearsal,
    })),
    render: (style) =>
      changing
        .map(({ database, repair }) => `${database}\n\n${renderRepairTable(repair.rows, style)}\n`)
        .join('\n'),
  };
}

function listOperations(one: PlannedRepair, desired: CleanUpDesired): Operation[] {
  const { database, repair } = one;
  const count = formatCount(repair.rows.length, 'row');
  return [
    {
      op: 'backup-database',
      title: `Back up ${database}`,
      why: `${count} of it will be changed`,
      database,
      keep: desired.keepBackups,
    },
    {
      op: 'repair-jobs',
      title: `Repair ${count} of ${database}`,
      why: summarize(one, desired),
      database,
      unit: desired.unit,
      rows: repair.changes,
      lookAgain: null,
      busyTimeoutSeconds: seconds(desired.busyTimeoutSeconds),
      diff: renderRepairTable(repair.rows, 'plain'),
    },
  ];
}

/** `2 jobs failed, 4 batches failed, 12 batch_links failed; no sign of life for 30 min`. */
function summarize({ repair }: PlannedRepair, desired: CleanUpDesired): string {
  const counts = new Map<string, number>();
  for (const row of repair.rows) {
    const becomes = row.becomes === row.status ? 'counted again' : row.becomes;
    const key = `${row.table} ${becomes}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const list = [...counts].map(([key, count]) => `${count} ${key}`).join(', ');
  const reason =
    desired.ids.length > 0
      ? 'named in ids'
      : `no sign of life for ${formatDuration(desired.thresholdSeconds)}`;
  return `${list}; ${reason}`;
}
