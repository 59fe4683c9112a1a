import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import type { AskingTheApp } from '../../model/operation/app.ts';
import type { Finding, Operation, Plan } from '../../model/operation.ts';
import { formatCount, formatDuration } from '../../model/quantities.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import type { Evidence } from '../judge/liveness.ts';
import type { RepairedRow } from './changes.ts';
import { sinceStop } from './fate.ts';
import type { Repair } from './repair.ts';
import { renderRepairTable } from './repair-table.ts';
import { tellRoot } from './root-works.ts';

/** The repair of one database. */
export interface StoreRepair {
  readonly database: string;
  readonly rows: readonly RepairedRow[];
}

export interface CleanUp {
  readonly plan: Plan;
  readonly repairs: readonly StoreRepair[];
  /** The mapping of each database, one line per table. */
  readonly mappings: readonly { readonly database: string; readonly lines: readonly string[] }[];
  /** How long to wait before the plan is applied; rows that change until then are skipped. */
  readonly pauseSeconds: Seconds;
  /** IANA name of the zone of times that have none. */
  readonly timeZone: string;
}

/** The repair of one database, tried on a copy of it. */
export interface PlannedRepair {
  readonly database: string;
  /** The app's user, who opens it on the host. */
  readonly user: string;
  /** The mapping, one line per table. */
  readonly lines: readonly string[];
  readonly holds: 'everything' | 'rows';
  readonly repair: Repair;
  readonly findings: readonly Finding[];
}

/** A message to the host is limited to 1 MiB, most of which are the rows. */
const changesLimit = 600 * 1024;

/** Keeps as many whole groups as fit in one message; the rest is reported and left to the next run. */
export function limitChanges(planned: readonly PlannedRepair[]): readonly PlannedRepair[] {
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
  const message = `${left} more rows need repair than fit in one run; run the clean-up again`;
  return {
    ...one,
    repair: {
      ...repair,
      changes,
      calls: repair.calls.filter(isTaken),
      tasks: repair.tasks.filter(isTaken),
      rows: repair.rows.filter((row) => kept.has(key(row))),
      skipped: repair.skipped + left,
    },
    findings: [...one.findings, { level: 'warning', message, where: one.database }],
  };
}

/** The operations of a clean-up, and what to show of it. */
export function describeCleanUp(
  planned: readonly PlannedRepair[],
  app: AskingTheApp | null,
  evidence: Evidence | null,
  desired: CleanUpDesired,
): CleanUp {
  const changing = planned.filter(({ repair }) => repair.rows.length > 0);
  const plan: Plan = {
    operations: changing.flatMap((one) => listOperations(one, app, evidence, desired)),
    satisfied: planned
      .filter(({ repair }) => repair.rows.length === 0)
      .map(({ database, repair: { skipped } }) =>
        skipped === 0
          ? `jobs: nothing to repair in ${database}`
          : `jobs: nothing that can be repaired in ${database}, ${formatCount(skipped, 'row')} skipped`,
      ),
    findings: [
      ...tellRoot(
        planned.map(({ user }) => user),
        desired,
      ),
      ...planned.flatMap(({ findings }) => findings),
    ],
    skippedRows: planned.reduce((sum, { repair }) => sum + repair.skipped, 0),
  };
  const waits = changing.length > 0 && evidence?.worker !== 'stopped';
  return {
    plan,
    repairs: changing.map(({ database, repair }) => ({
      database,
      rows: repair.rows,
    })),
    mappings: planned.map(({ database, lines }) => ({ database, lines })),
    pauseSeconds: waits ? desired.confirmAfterSeconds : seconds(0),
    timeZone: desired.timeZone,
  };
}

function listOperations(
  one: PlannedRepair,
  app: AskingTheApp | null,
  evidence: Evidence | null,
  desired: CleanUpDesired,
): Operation[] {
  const { database, user, repair, holds } = one;
  const { changes, tasks, calls } = repair;
  const count = formatCount(repair.rows.length, 'row');
  const backUp: Operation = {
    op: 'backup-database',
    title: `back up ${database}`,
    why: `${count} will be changed`,
    database,
    unit: desired.unit,
    user,
    keep: desired.keepBackups,
  };
  const repairJobs: Operation = {
    op: 'repair-jobs',
    title: `repair ${count} in ${database}`,
    why: summarize(one, evidence, desired),
    database,
    unit: desired.unit,
    user,
    rows: changes,
    lookAgain: app === null || tasks.length === 0 ? null : { ...app, tasks },
    busyTimeoutSeconds: seconds(desired.busyTimeoutSeconds),
    diff: renderRepairTable(repair.rows),
  };
  // For a database that is not copied whole, the journal of the transaction keeps the old rows.
  const changed = holds === 'everything' ? [backUp, repairJobs] : [repairJobs];
  if (app === null || calls.length === 0) return changed;
  const names = [...new Set(calls.map(({ task }) => task))].join(', ');
  const send: Operation = {
    op: 'send-tasks',
    ...app,
    title: `send ${formatCount(calls.length, 'task')} again`,
    why: `${names}: pending rows do not start by themselves`,
    database,
    user,
    calls: calls.map(({ group: _, ...call }) => call),
  };
  return [...changed, send];
}

/** `2 jobs failed, 4 batches failed, 12 batch_links failed; no sign of life for 30 min`. */
function summarize(
  { repair }: PlannedRepair,
  evidence: Evidence | null,
  desired: CleanUpDesired,
): string {
  const counts = new Map<string, number>();
  for (const row of repair.rows) {
    const becomes = row.becomes === row.status ? 'counters updated' : row.becomes;
    const key = `${row.table} ${becomes}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const list = [...counts].map(([key, count]) => `${count} ${key}`).join(', ');
  return `${list}; ${reasonFor(evidence, desired)}`;
}

function reasonFor(evidence: Evidence | null, { ids, thresholdSeconds }: CleanUpDesired): string {
  if (evidence?.stop !== undefined) return sinceStop({ evidence });
  return ids.length > 0
    ? 'selected by ids'
    : `no sign of life for ${formatDuration(thresholdSeconds)}`;
}
