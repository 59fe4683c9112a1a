import { appProcessOf } from '../celery/app-process.ts';
import { otherWorkersIn } from '../celery/worker-process.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import {
  findStuck,
  judgeByEvidence,
  noneStuck,
  type ReadStore,
  statusesOf,
} from '../jobs/judge/dead-rows.ts';
import { type Evidence, listTasks, readEvidence } from '../jobs/judge/liveness.ts';
import type { RecordedStop } from '../jobs/judge/recorded-stop.ts';
import { refuseEndedStatuses, type StuckRow, type StuckRows } from '../jobs/judge/staleness.ts';
import { countsTable, planExtract, type UnknownWords } from '../jobs/judge/suspects.ts';
import { countColumns, readCounts, unknownAtWork } from '../jobs/judge/unknown-statuses.ts';
import { explainsWrite, findLag, warnOfLag } from '../jobs/judge/zone-lag.ts';
import {
  type CleanUp,
  describeCleanUp,
  limitChanges,
  type PlannedRepair,
} from '../jobs/repair/clean-up-plan.ts';
import { refuseForeignLabels, refuseForeignWords } from '../jobs/repair/foreign-words.ts';
import { planRepair } from '../jobs/repair/repair.ts';
import { describeSkipped } from '../jobs/tables/include-table.ts';
import { growForest, type JobForest, listReads } from '../jobs/tables/job-forest.ts';
import { doubtfulOf } from '../jobs/tables/job-tables.ts';
import { describeMapping } from '../jobs/tables/mapping.ts';
import { reportLeft, untouched } from '../jobs/tables/skipped-rows.ts';
import {
  type ChosenStore,
  chooseStores,
  queryStores,
  tablesToSample,
} from '../jobs/tables/store-choice.ts';
import { spellingsOf } from '../jobs/tables/task-ids.ts';
import { timeColumns } from '../jobs/tables/time-columns.ts';
import { refuseUnknownWords } from '../jobs/tables/unknown-words.ts';
import { byName } from '../model/by-name.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { StoreFact, TasksFact, UnitFact } from '../model/facts.ts';
import type { AskingTheApp, Finding } from '../model/operation.ts';
import type { Rehearsal, StoreRow } from '../model/store-row.ts';
import type { EpochSeconds } from '../model/units.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import type { OpenStore, Store } from '../ports/store.ts';
import { formatCount } from '../report/quantities.ts';
import { lookAtPrograms } from './look-at-programs.ts';
import { rehearseOnHost } from './rehearse-on-host.ts';

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

/** Everything that the use case needs from outside. */
export interface CleanUpTools {
  readonly agent: Pick<Agent, 'look' | 'snapshot'>;
  readonly openStore: OpenStore;
  /** Generates the id of a task to send: a UUID, like Celery's. */
  readonly newTaskId: () => string;
  readonly onProgress?: OnProgress;
}

/**
 * Finds the stuck jobs in the host's databases, decides what becomes of each, and rehearses the
 * changes. Nothing is changed on the host: applying `plan.operations` does that.
 *
 * @param stop a recorded stop: then the jobs that it left behind, whatever their age
 * @throws ConfigError when there is no database with jobs, an id matches nothing, or the unit does
 * not show how to reach its app
 * @throws HostError when a database cannot be read or copied, or the worker cannot be asked
 */
export async function planCleanUp(
  tools: CleanUpTools,
  desired: CleanUpDesired,
  stop: RecordedStop | null = null,
): Promise<CleanUp> {
  const host = await lookAtHost(tools, desired);
  const copies = await copyStores(tools, host.stores, desired);
  try {
    const app = host.unit === null ? null : requireApp(host.unit);
    refuseTurnedClock(copies, stop);
    const { found, evidence } = await findDead(tools, copies, { ...host, app, stop }, desired);
    const resets = await countResets(tools, copies, desired);
    const planned: PlannedRepair[] = [];
    for (const [index, copy] of copies.entries()) {
      const dead = found[index] ?? noneStuck;
      planned.push(await repairCopy(copy, dead, evidence, resets[index] ?? {}, tools, desired));
    }
    const tried = await rehearseOnHost(tools.agent, limitChanges(planned), desired);
    return describeCleanUp(tried, app, evidence, desired);
  } finally {
    for (const { store } of copies) store[Symbol.dispose]();
  }
}

/** The stuck rows of a database, for verify. */
export interface StuckCount {
  readonly database: string;
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
  readonly stuck: readonly StuckRow[];
  readonly findings: readonly Finding[];
}

/**
 * Finds the rows without a sign of life, without a plan and without asking about their tasks.
 *
 * @throws ConfigError when there is no database with jobs
 * @throws HostError when a database cannot be read or copied
 */
export async function lookForStuckRows(
  tools: Omit<CleanUpTools, 'newTaskId'>,
  desired: CleanUpDesired,
): Promise<readonly StuckCount[]> {
  const { stores } = await tools.agent.look({ stores: queryStores(desired) });
  const copies = await copyStores(tools, stores, desired);
  try {
    const found = findStuck(copies, false, desired);
    return copies.map(({ database, takenAt }, index) => {
      const { stuck, left, findings } = found[index] ?? noneStuck;
      return { database, takenAt, stuck, findings: [...reportLeft(left, untouched), ...findings] };
    });
  } finally {
    for (const { store } of copies) store[Symbol.dispose]();
  }
}

// --- facts and copies ---------------------------------------------------------------------------

interface HostLook {
  readonly stores: readonly StoreFact[];
  /** `null`: the app is not needed. */
  readonly unit: UnitFact | null;
}

async function lookAtHost(tools: CleanUpTools, desired: CleanUpDesired): Promise<HostLook> {
  const { agent } = tools;
  const stores = queryStores(desired);
  const { databases } = stores;
  const asksApp = needsApp(desired);
  if (databases !== null && !asksApp) {
    return { ...(await agent.look({ stores })), unit: null };
  }
  const found = await agent.look({ stores, unit: { name: desired.unit } });
  // Otherwise a typo in its name would look like an app without a database.
  if (databases === null) requireUnit(found.unit);
  return asksApp ? lookAtPrograms(agent, found) : { ...found, unit: null };
}

const unitHint = 'the unit of a Celery worker';

/** @throws ConfigError when there is no such unit */
function requireUnit({ name, loadState }: UnitFact, hint = unitHint): void {
  if (loadState === 'loaded') return;
  const problem = loadState === 'not-found' ? 'no such unit' : loadState;
  throw new ConfigError('input unit', `${name}: ${problem} on the host`, hint);
}

/** Whether the app is needed to ask about tasks or to send them. */
function needsApp({ evidence, action, stores }: CleanUpDesired): boolean {
  const tables = stores.flatMap((store) => Object.values(store.tables));
  const sends = action === 'reset' && tables.some(({ resend }) => resend !== undefined);
  return evidence === 'broker' || sends;
}

/** @throws ConfigError when the unit does not show how to reach its app */
function requireApp(unit: UnitFact): AskingTheApp {
  const hint = `${unitHint}; with \`evidence: age\` the worker is not needed`;
  requireUnit(unit, hint);
  const app = appProcessOf(unit);
  if (app.kind === 'known') {
    return { ...app.process, otherWorkers: otherWorkersIn(app.workingDirectory) };
  }
  const problem = `cannot read the Celery app from the ExecStart of ${unit.name}`;
  throw new ConfigError('input unit', problem, hint);
}

/** @throws ConfigError, HostError */
export async function copyStores(
  tools: Omit<CleanUpTools, 'newTaskId'>,
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
  { agent, openStore, onProgress = () => {} }: Omit<CleanUpTools, 'newTaskId'>,
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

// --- evidence -----------------------------------------------------------------------------------

/** Who can be asked, and what is known. */
interface Asked {
  readonly unit: UnitFact | null;
  readonly app: AskingTheApp | null;
  readonly stop: RecordedStop | null;
}

/** The rows that are stuck by all available evidence, and findings about the others. */
async function findDead(
  tools: CleanUpTools,
  copies: readonly StoreCopy[],
  { unit, app, stop }: Asked,
  desired: CleanUpDesired,
): Promise<{ readonly found: readonly StuckRows[]; readonly evidence: Evidence | null }> {
  if (desired.evidence === 'age' || unit === null || app === null) {
    return { found: findStuck(copies, false, desired), evidence: null };
  }
  const seemsStopped =
    stop === null &&
    ['inactive', 'failed'].includes(unit.activeState) &&
    unit.processes.length === 0;
  const suspects = findStuck(copies, seemsStopped, desired, stop);
  if (suspects.every(({ stuck }) => stuck.length === 0)) return { found: suspects, evidence: null };
  const asked = listTasks(suspects.flatMap((one) => one.stuck));
  const evidence = readEvidence(app.unit, await askForTasks(tools, app, asked), stop);
  // It may have been started in the meantime.
  const stopped = seemsStopped && evidence.worker === 'stopped';
  const found = stopped === seemsStopped ? suspects : findStuck(copies, stopped, desired, stop);
  return { found: found.map((one) => judgeByEvidence(one, evidence, desired)), evidence };
}

/** Limit of tasks per request. */
const tasksAtOnce = 5000;

async function askForTasks(
  { agent, onProgress = () => {} }: CleanUpTools,
  app: AskingTheApp,
  ids: readonly string[],
): Promise<TasksFact & { kind: 'told' }> {
  onProgress({
    kind: 'note',
    message: `asking ${app.unit} and its broker about the tasks of jobs`,
  });
  const told: (TasksFact & { kind: 'told' })[] = [];
  const spelled = ids.flatMap(spellingsOf);
  for (let at = 0; at === 0 || at < spelled.length; at += tasksAtOnce) {
    const asked = spelled.slice(at, at + tasksAtOnce);
    const { tasks } = await agent.look({ tasks: { ...app, ids: asked } });
    if (tasks.kind === 'unknown') throw nothingKnown(tasks, app);
    told.push(tasks);
  }
  return {
    kind: 'told',
    worker: told.every(({ worker }) => worker === 'stopped') ? 'stopped' : 'answers',
    owed: told.flatMap(({ owed }) => owed),
    held: told.flatMap(({ held }) => held),
    begun: byName(told.flatMap(({ begun = {} }) => Object.entries(begun))),
    holding: Math.max(...told.map(({ holding }) => holding)),
    waiting: Math.max(...told.map(({ waiting }) => waiting)),
    hidden: told.map(({ hidden }) => hidden).find((why) => why !== null) ?? null,
  };
}

function nothingKnown(
  { problem, evidence = [] }: TasksFact & { kind: 'unknown' },
  { unit }: AskingTheApp,
): HostError {
  return new HostError(`Cannot tell which jobs are stuck; nothing was changed: ${problem}.`, {
    step: 'ask the worker and its broker about the tasks of jobs',
    evidence,
    next: `check ${unit}: \`systemctl status ${unit}\`, \`journalctl -u ${unit} -n 50\`. If worker and broker can never be asked, \`evidence: age\` decides by the age of jobs alone.`,
  });
}

/** Before and after a stop is told by one clock; where it was set back meanwhile, by none. */
function refuseTurnedClock(copies: readonly StoreCopy[], stop: RecordedStop | null): void {
  if (stop === null || copies.every(({ takenAt }) => takenAt >= stop.at)) return;
  throw new HostError(`The clock of the host was set back since ${stop.unit} stopped.`, {
    step: 'compare the times of jobs with the stop',
    next: 'nothing: the next clean-up decides by the age of the jobs.',
  });
}

async function countResets(
  { agent }: CleanUpTools,
  copies: readonly StoreCopy[],
  { action }: CleanUpDesired,
): Promise<readonly Readonly<Record<string, number>>[]> {
  if (action !== 'reset') return [];
  const counts: Readonly<Record<string, number>>[] = [];
  for (const { database } of copies) {
    counts.push((await agent.look({ resets: { database } })).resets);
  }
  return counts;
}

/** The app's own triggers act on a repair as on any change; whoever approves it should know. */
function tellTriggered({ rows, triggers }: Rehearsal['triggered']): readonly Finding[] {
  if (triggers.length === 0) return [];
  const names = triggers.length === 1 ? 'the trigger' : 'the triggers';
  const effect =
    rows <= 0
      ? 'would run, and change no rows'
      : `would make ${formatCount(rows, 'more change')}, which \`restore\` does not take back`;
  const message = `${names} ${triggers.join(', ')} of the database ${effect}`;
  return [{ level: 'notice', message }];
}

// --- repair -------------------------------------------------------------------------------------

async function repairCopy(
  copy: StoreCopy,
  found: StuckRows,
  evidence: Evidence | null,
  resets: Readonly<Record<string, number>>,
  { newTaskId }: CleanUpTools,
  desired: CleanUpDesired,
): Promise<PlannedRepair> {
  const { database, user, store, forest, takenAt, holds } = copy;
  const { action, runUrl, maxResets, deleteCompleted } = desired;
  refuseForeignLabels(database, forest);
  const statuses = statusesOf(forest, desired);
  const limits = { resets, maxResets, deleteCompleted };
  const rules = { action, now: takenAt, statuses, runUrl, evidence, ...limits, newTaskId };
  const repair = planRepair(forest, found.stuck, rules, found.left);
  refuseForeignWords(database, forest, repair.changes);
  const tried = repair.changes.length > 0 ? await store.rehearse(repair.changes) : null;
  const problems = tried?.problems ?? [];
  if (problems.length > 0) {
    throw new ConfigError(
      'input action',
      `${action} failed on a copy of ${database}: ${problems.slice(0, 5).join('; ')}`,
      'an action that the database allows; nothing was changed on the host',
    );
  }
  const triggered = tried === null ? [] : tellTriggered(tried.triggered);
  const told = [...copy.findings, ...found.findings, ...repair.findings, ...triggered];
  const findings = told.map((finding) => ({
    where: database,
    ...finding,
  }));
  const lines = [
    ...describeMapping(forest.mapping, copy.verdicts),
    ...describeSkipped(database, doubtfulOf(copy.verdicts)),
  ];
  return { database, user, lines, holds, repair, findings };
}
