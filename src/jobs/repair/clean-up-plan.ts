import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import type { AskingTheApp, Finding, Operation, Plan } from '../../model/operation.ts';
import type { Rehearsal } from '../../model/store-row.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import { formatCount, formatDuration } from '../../report/quantities.ts';
import type { Evidence } from '../judge/liveness.ts';
import type { RepairedRow } from './changes.ts';
import type { Repair } from './repair.ts';
import { renderRepairTable } from './repair-table.ts';

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

/** The repair of one database, tried on a copy of it. */
export interface PlannedRepair {
  readonly database: string;
  /** What was taken for what, one line a table. */
  readonly lines: readonly string[];
  readonly holds: 'everything' | 'rows';
  readonly repair: Repair;
  readonly rehearsal: Rehearsal;
  readonly findings: readonly Finding[];
}

/** One message to the host holds at most 1 MiB, and its rows are most of it. */
const changesLimit = 600 * 1024;

/** As many whole groups as one message holds; the rest is for the next run, and said. */
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

/** The operations of a clean-up, and what is shown of it. */
export function describeCleanUp(
  planned: readonly PlannedRepair[],
  app: AskingTheApp | null,
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
  app: AskingTheApp | null,
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
