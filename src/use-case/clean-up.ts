import { interpreterOf } from '../celery/interpreter.ts';
import { workerCallOf } from '../celery/worker-call.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { type Evidence, judgeRow, listTasks, readEvidence } from '../jobs/judge/liveness.ts';
import {
  findStuckRows,
  refuseEndedStatuses,
  type StuckRow,
  type StuckRows,
  selectNamed,
} from '../jobs/judge/staleness.ts';
import { planExtract } from '../jobs/judge/suspects.ts';
import { planRepair, type Repair, type RepairedRow } from '../jobs/repair/repair.ts';
import { renderRepairTable } from '../jobs/repair/repair-table.ts';
import { growForest, type JobForest, nameRow, shortId } from '../jobs/tables/job-forest.ts';
import { doubtfulOf, type TableVerdict } from '../jobs/tables/job-tables.ts';
import { type LeftRow, reportLeft, untouched } from '../jobs/tables/left-alone.ts';
import {
  describeMapping,
  meaningOf,
  type StoreMapping,
  statusWords,
} from '../jobs/tables/mapping.ts';
import { chooseStores, listDatabases, queryStores } from '../jobs/tables/store-choice.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { HostFact, StoreFact, TasksFact, UnitFact } from '../model/facts.ts';
import type { ByTheApp, Finding, Operation, Plan } from '../model/operation.ts';
import type { Rehearsal } from '../model/store-row.ts';
import { type EpochSeconds, type Seconds, seconds } from '../model/units.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import type { OpenStore, Store } from '../ports/store.ts';
import { formatCount, formatDuration } from '../report/quantities.ts';

/** A job database as it was a moment ago, opened on the runner. */
export interface StoreCopy {
  readonly database: string;
  readonly store: Store;
  readonly forest: JobForest;
  /** All of it, or the rows that may want repair with their families. */
  readonly holds: 'everything' | 'rows';
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
  /** What its tables were taken for. */
  readonly verdicts: readonly TableVerdict[];
  /** What the choice of its tables has to tell. */
  readonly findings: readonly Finding[];
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
  /** What was taken for what, one line a table. */
  readonly mappings: readonly { readonly database: string; readonly lines: readonly string[] }[];
  /** How long to wait before the plan is applied: what moves meanwhile is left alone. */
  readonly pauseSeconds: Seconds;
  /** The rows of every repair as one table a database; empty when there are none. */
  render(style: 'markdown' | 'plain'): string;
}

/** Everything the use case takes from the outside. */
export interface CleanUpTools {
  readonly agent: Pick<Agent, 'look' | 'snapshot'>;
  readonly openStore: OpenStore;
  /** The id of a task that is to be sent: a UUID, as Celery's own. */
  readonly newTaskId: () => string;
  readonly onProgress?: OnProgress;
}

/**
 * Finds the stuck jobs of the host's databases, decides what becomes of each, and tries it on
 * copies. Nothing is changed on the host: applying `plan.operations` does that.
 *
 * @throws ConfigError when there is no database of jobs, the ids name nothing, or the unit does
 * not tell how its app is asked
 * @throws HostError when a database can't be read or copied, or it can't be told what the worker
 * holds
 */
export async function planCleanUp(tools: CleanUpTools, desired: CleanUpDesired): Promise<CleanUp> {
  const host = await lookAtHost(tools, desired);
  const copies = await copyStores(tools, host.stores, desired);
  try {
    const app = host.unit === null ? null : appOf(host.unit, host.cpus);
    const { found, evidence } = await findDead(tools, copies, host.unit, app, desired);
    const resets = await countResets(tools, copies, desired);
    const planned = copies.map((copy, index) => {
      const dead = found[index] ?? noneStuck;
      return repairCopy(copy, dead, evidence, resets[index] ?? {}, tools, desired);
    });
    return describeCleanUp(limitChanges(planned), app, evidence, desired);
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
 * The rows that show no sign of life, and no plan; nobody is asked for their tasks.
 *
 * @throws ConfigError when there is no database of jobs
 * @throws HostError when a database can't be read or copied
 */
export async function lookForStuckRows(
  tools: Omit<CleanUpTools, 'newTaskId'>,
  desired: CleanUpDesired,
): Promise<readonly StuckCount[]> {
  const { stores } = await tools.agent.look({
    stores: queryStores(desired.unit, listDatabases(desired)),
  });
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

// --- what there is ------------------------------------------------------------------------------

interface HostLook {
  readonly stores: readonly StoreFact[];
  /** `null`: nobody is to be asked by the app. */
  readonly unit: UnitFact | null;
  readonly cpus: number;
}

async function lookAtHost(tools: CleanUpTools, desired: CleanUpDesired): Promise<HostLook> {
  const { agent } = tools;
  const stores = queryStores(desired.unit, listDatabases(desired));
  if (!needsApp(desired)) {
    return { ...(await agent.look({ stores })), unit: null, cpus: 0 };
  }
  const look = await agent.look({ stores, unit: { name: desired.unit }, host: {} });
  const host: HostFact = look.host;
  return { stores: look.stores, unit: look.unit, cpus: host.cpus };
}

/** To ask for tasks, or to send them. */
function needsApp({ evidence, action, stores }: CleanUpDesired): boolean {
  const tables = stores.flatMap((store) => Object.values(store.tables));
  const sends = action === 'reset' && tables.some(({ resend }) => resend !== undefined);
  return evidence === 'broker' || sends;
}

/** @throws ConfigError when the unit does not tell it */
function appOf(unit: UnitFact, cpus: number): ByTheApp {
  const hint =
    'the unit of a Celery worker; `evidence: age` goes by the age of jobs alone, without asking the worker';
  if (unit.loadState !== 'loaded') {
    const problem = unit.loadState === 'not-found' ? 'there is no such unit' : unit.loadState;
    throw new ConfigError('input unit', `${unit.name}: ${problem} on the host`, hint);
  }
  const interpreter = interpreterOf(unit);
  const call = workerCallOf(unit, cpus);
  if (interpreter === null || call === null || call.app === null) {
    const problem = `how ${unit.name} starts its Celery app can't be read from its ExecStart`;
    throw new ConfigError('input unit', problem, hint);
  }
  return { unit: unit.name, interpreter, app: call.app, pythonPath: call.pythonPath };
}

async function copyStores(
  tools: Omit<CleanUpTools, 'newTaskId'>,
  stores: readonly StoreFact[],
  desired: CleanUpDesired,
): Promise<StoreCopy[]> {
  const { agent, openStore, onProgress = () => {} } = tools;
  refuseEndedStatuses(desired.statuses);
  const copies: StoreCopy[] = [];
  try {
    for (const { database, mapping, verdicts, findings } of chooseStores(stores, desired)) {
      const { info, content } = await agent.snapshot(
        database,
        desired.snapshotLimitBytes,
        planExtract(mapping, desired),
        onProgress,
      );
      const store = openStore(database, content);
      const { takenAt, holds } = info;
      const forest = growCopy(database, store, mapping, desired.timeZone);
      copies.push({ database, store, forest, holds, takenAt, verdicts, findings });
    }
    return copies;
  } catch (error) {
    for (const { store } of copies) store[Symbol.dispose]();
    throw error;
  }
}

function growCopy(
  database: string,
  store: Store,
  mapping: StoreMapping,
  timeZone: string,
): JobForest {
  try {
    refuseDamage(database, store);
    const read = (table: string, columns: readonly string[]) => store.readRows(table, columns);
    const forest = growForest(mapping, read, timeZone);
    refuseUnknownWords(database, forest);
    return forest;
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

/** Where the words were given, one that is not among them is more likely forgotten than meant. */
function refuseUnknownWords(database: string, forest: JobForest): void {
  const known: ReadonlySet<string> = new Set(statusWords);
  for (const table of forest.mapping) {
    if (Object.keys(table.words).length === 0) continue;
    const row = forest.rows.find((each) => each.mapping === table && !known.has(each.status));
    if (row === undefined) continue;
    throw new ConfigError(
      'input stores',
      `${nameRow(row)} of ${database} has the status '${row.status}', which \`words\` does not name`,
      `\`words\` with every status of ${table.table}, each as one of ${statusWords.join(', ')}`,
    );
  }
}

// --- dead or alive ------------------------------------------------------------------------------

const noneStuck: StuckRows = { stuck: [], left: [], findings: [] };

/** Named rows and nothing else, or those that show no sign of life. */
function findStuck(
  copies: readonly StoreCopy[],
  stopped: boolean,
  desired: CleanUpDesired,
): readonly StuckRows[] {
  const { thresholdSeconds, orphans, ids } = desired;
  if (ids.length > 0) {
    const forests = copies.map((copy) => copy.forest);
    const doubtful = doubtfulOf(copies.flatMap(({ verdicts }) => verdicts));
    return selectNamed(forests, ids, doubtful).map((stuck) => ({ ...noneStuck, stuck }));
  }
  return copies.map(({ forest, takenAt }) => {
    const statuses = statusesOf(forest, desired);
    refuseEndedStatuses(statuses);
    return findStuckRows(forest, { now: takenAt, thresholdSeconds, statuses, orphans, stopped });
  });
}

/** In our words: a person may ask by the app's. */
function statusesOf(forest: JobForest, { statuses }: CleanUpDesired): readonly string[] {
  const meant = forest.mapping.flatMap((table) => statuses.map((word) => meaningOf(table, word)));
  return [...new Set([...statuses, ...meant])];
}

/** The rows that are dead by all that can be known, and what is told of the others. */
async function findDead(
  tools: CleanUpTools,
  copies: readonly StoreCopy[],
  unit: UnitFact | null,
  app: ByTheApp | null,
  desired: CleanUpDesired,
): Promise<{ readonly found: readonly StuckRows[]; readonly evidence: Evidence | null }> {
  if (desired.evidence === 'age' || unit === null || app === null) {
    return { found: findStuck(copies, false, desired), evidence: null };
  }
  const seemsStopped =
    ['inactive', 'failed'].includes(unit.activeState) && unit.processes.length === 0;
  const suspects = findStuck(copies, seemsStopped, desired);
  if (suspects.every(({ stuck }) => stuck.length === 0)) return { found: suspects, evidence: null };
  const evidence = await askForTasks(tools, app, listTasks(suspects.flatMap((one) => one.stuck)));
  // It may have been started meanwhile.
  const stopped = seemsStopped && evidence.worker === 'stopped';
  const found = stopped === seemsStopped ? suspects : findStuck(copies, stopped, desired);
  return { found: found.map((one) => judge(one, evidence, desired)), evidence };
}

/** One question holds no more. */
const tasksAtOnce = 5000;

async function askForTasks(
  { agent, onProgress = () => {} }: CleanUpTools,
  app: ByTheApp,
  ids: readonly string[],
): Promise<Evidence> {
  onProgress({ kind: 'note', message: `asking ${app.unit} and its broker for the tasks of jobs` });
  const told: (TasksFact & { kind: 'told' })[] = [];
  for (let at = 0; at === 0 || at < ids.length; at += tasksAtOnce) {
    const asked = ids.slice(at, at + tasksAtOnce);
    const { tasks } = await agent.look({ tasks: { ...app, ids: asked } });
    if (tasks.kind === 'unknown') throw nothingKnown(tasks, app);
    told.push(tasks);
  }
  return readEvidence(app.unit, {
    kind: 'told',
    worker: told.every(({ worker }) => worker === 'stopped') ? 'stopped' : 'answers',
    owed: told.flatMap(({ owed }) => owed),
    held: told.flatMap(({ held }) => held),
  });
}

function nothingKnown(
  { problem, evidence = [] }: TasksFact & { kind: 'unknown' },
  { unit }: ByTheApp,
): HostError {
  return new HostError(`No job is called dead, and nothing was changed: ${problem}.`, {
    step: 'ask the worker and its broker for the tasks of jobs',
    evidence,
    next: `See what ${unit} does: \`systemctl status ${unit}\`, \`journalctl -u ${unit} -n 50\`. Where nobody can be asked for good, \`evidence: age\` goes by the age of jobs alone.`,
  });
}

function judge(found: StuckRows, evidence: Evidence, desired: CleanUpDesired): StuckRows {
  const dead: StuckRow[] = [];
  const alive: LeftRow[] = [];
  const leave = ({ row, reason }: StuckRow, because: string): void => {
    const level = reason === 'named' ? 'warning' : 'notice';
    alive.push({ row, why: 'they live', says: { because }, level });
  };
  for (const one of found.stuck) {
    const verdict = judgeRow(one.row, evidence);
    if (verdict.kind === 'dead') dead.push({ ...one, evidence: verdict.why });
    else if (verdict.kind === 'held') leave(one, `a worker holds task ${shortId(verdict.task)}`);
    else if (one.reason === 'named' && desired.action === 'reset')
      dead.push({ ...one, owed: true });
    else leave(one, `task ${shortId(verdict.task)} still waits in the broker`);
  }
  return { stuck: dead, left: [...found.left, ...alive], findings: found.findings };
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

// --- what becomes of them -----------------------------------------------------------------------

interface PlannedRepair {
  readonly database: string;
  /** What was taken for what, one line a table. */
  readonly lines: readonly string[];
  readonly holds: StoreCopy['holds'];
  readonly repair: Repair;
  readonly rehearsal: Rehearsal;
  readonly findings: readonly Finding[];
}

function repairCopy(
  copy: StoreCopy,
  found: StuckRows,
  evidence: Evidence | null,
  resets: Readonly<Record<string, number>>,
  { newTaskId }: CleanUpTools,
  desired: CleanUpDesired,
): PlannedRepair {
  const { database, store, forest, takenAt, holds } = copy;
  const { action, runUrl, maxResets } = desired;
  const statuses = statusesOf(forest, desired);
  const rules = { action, now: takenAt, statuses, runUrl, evidence, resets, maxResets, newTaskId };
  const repair = planRepair(forest, found.stuck, rules, found.left);
  const rehearsal = repair.changes.length > 0 ? store.rehearse(repair.changes) : nothingToTry;
  if (rehearsal.problems.length > 0) {
    throw new ConfigError(
      'input action',
      `${action} does not go well on a copy of ${database}: ${rehearsal.problems.slice(0, 5).join('; ')}`,
      'an action that the database allows; nothing was changed on the host',
    );
  }
  const findings = [...copy.findings, ...found.findings, ...repair.findings].map((finding) => ({
    where: database,
    ...finding,
  }));
  const lines = describeMapping(forest.mapping, copy.verdicts);
  return { database, lines, holds, repair, rehearsal, findings };
}

const nothingToTry: Rehearsal = { changed: {}, problems: [] };

/** One message to the host holds at most 1 MiB, and its rows are most of it. */
const changesLimit = 600 * 1024;

/** As many whole groups as one message holds; the rest is for the next run, and said. */
function limitChanges(planned: readonly PlannedRepair[]): readonly PlannedRepair[] {
  let room = changesLimit;
  return planned.map((one) => {
    const { changes, tasks, calls } = one.repair;
    const taken = new Set<string>();
    let left = 0;
    const [tasksOf, callsOf] = [tasks, calls].map((list) =>
      Map.groupBy(list, (each) => each.group),
    );
    for (const [group, rows] of Map.groupBy(changes, (change) => change.group)) {
      const message = [rows, tasksOf?.get(group) ?? [], callsOf?.get(group) ?? []];
      const size = new TextEncoder().encode(JSON.stringify(message)).length;
      if (size > room) {
        left += rows.filter((row) => row.change.kind !== 'keep').length;
        continue;
      }
      room -= size;
      taken.add(group);
    }
    return left === 0 ? one : cutRepair(one, taken, left);
  });
}

function cutRepair(one: PlannedRepair, taken: ReadonlySet<string>, left: number): PlannedRepair {
  const { repair } = one;
  const key = (row: { table: string; id: string | number }): string => `${row.table}:${row.id}`;
  const isTaken = (each: { readonly group: string }): boolean => taken.has(each.group);
  const changes = repair.changes.filter(isTaken);
  const kept = new Set(changes.map(key));
  const message = `${left} more rows want repair than one run takes: run the clean-up again`;
  return {
    ...one,
    repair: {
      ...repair,
      changes,
      calls: repair.calls.filter(isTaken),
      tasks: repair.tasks.filter(isTaken),
      rows: repair.rows.filter((row) => kept.has(key(row))),
    },
    findings: [...one.findings, { level: 'warning', message, where: one.database }],
  };
}

function describeCleanUp(
  planned: readonly PlannedRepair[],
  app: ByTheApp | null,
  evidence: Evidence | null,
  desired: CleanUpDesired,
): CleanUp {
  const changing = planned.filter(({ repair }) => repair.rows.length > 0);
  const plan: Plan = {
    operations: changing.flatMap((one) => listOperations(one, app, desired)),
    satisfied: planned
      .filter(({ repair }) => repair.rows.length === 0)
      .map(({ database }) => `jobs: nothing to repair in ${database}`),
    findings: planned.flatMap(({ findings }) => findings),
  };
  const waits = changing.length > 0 && evidence?.worker !== 'stopped';
  return {
    plan,
    repairs: changing.map(({ database, repair, rehearsal }) => ({
      database,
      rows: repair.rows,
      rehearsal,
    })),
    mappings: planned.map(({ database, lines }) => ({ database, lines })),
    pauseSeconds: waits ? desired.confirmAfterSeconds : seconds(0),
    render: (style) =>
      changing
        .map(({ database, repair }) => `${database}\n\n${renderRepairTable(repair.rows, style)}\n`)
        .join('\n'),
  };
}

function listOperations(
  one: PlannedRepair,
  app: ByTheApp | null,
  desired: CleanUpDesired,
): Operation[] {
  const { database, repair, holds } = one;
  const { changes, tasks, calls } = repair;
  const count = formatCount(repair.rows.length, 'row');
  const backUp: Operation = {
    op: 'backup-database',
    title: `Back up ${database}`,
    why: `${count} of it will be changed`,
    database,
    keep: desired.keepBackups,
  };
  const repairJobs: Operation = {
    op: 'repair-jobs',
    title: `Repair ${count} of ${database}`,
    why: summarize(one, desired),
    database,
    unit: desired.unit,
    rows: changes,
    lookAgain: app === null || tasks.length === 0 ? null : { ...app, tasks },
    busyTimeoutSeconds: seconds(desired.busyTimeoutSeconds),
    diff: renderRepairTable(repair.rows, 'plain'),
  };
  // What is not copied whole has the rows as they were in the transaction's journal.
  const changed = holds === 'everything' ? [backUp, repairJobs] : [repairJobs];
  if (app === null || calls.length === 0) return changed;
  const names = [...new Set(calls.map(({ task }) => task))].join(', ');
  const send: Operation = {
    op: 'send-tasks',
    ...app,
    title: `Send ${formatCount(calls.length, 'task')} again`,
    why: `${names}: pending starts nothing by itself`,
    database,
    calls: calls.map(({ group: _, ...call }) => call),
  };
  return [...changed, send];
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
