import { ConfigError } from '../model/errors.ts';
import type { StoreTable } from '../model/facts.ts';
import type {
  CounterMapping,
  ParentMapping,
  StatusWord,
  StoreMapping,
  TableMapping,
} from '../model/job-store.ts';

export type { CounterMapping, StoreMapping, TableMapping } from '../model/job-store.ts';

export const statusWords: readonly StatusWord[] = [
  'pending',
  'processing',
  'completed',
  'failed',
  'cancelled',
];

const endedWords: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** Nothing more happens to a row in this status. */
export const isEnded = (status: string): boolean => endedWords.has(status);

const columnNames = {
  created: ['created_at', 'created', 'submitted_at', 'queued_at', 'date_created', 'creation_time'],
  started: ['started_at', 'started', 'date_started', 'start_time', 'processing_started_at'],
  completed: ['completed_at', 'finished_at', 'ended_at', 'date_done', 'end_time', 'done_at'],
  updated: ['updated_at', 'modified_at', 'heartbeat_at', 'last_heartbeat', 'last_seen_at'],
  error: ['error_message', 'error', 'last_error', 'failure_reason', 'error_text'],
  task: ['celery_task_id', 'task_id'],
} as const;

/** Tables of Celery, Kombu and Django that hold results and messages, not the app's jobs. */
const foreignTables = /^(?:celery_|kombu_|django_|sqlite_|alembic_)/i;

/** A time in the future, or of something else than work. */
const noSignOfLife = /(?:expire|expiry|schedul|eta$|due|deadline|deleted|retry|remind|birth)/i;

/**
 * Finds the tables that hold jobs, by the names of their columns: an `id`, a `status`, and what
 * ties them to each other.
 *
 * @throws ConfigError when no table has both an id and a status column
 */
export function proposeMapping(database: string, tables: readonly StoreTable[]): StoreMapping {
  const job = tables.filter((table) => isJobTable(table));
  if (job.length === 0) {
    const seen = tables.map((table) => table.name);
    throw new ConfigError(
      'input database',
      `${database} has no table with both an id and a status column; its tables: ${listNames(seen)}`,
      'the SQLite file in which the app keeps its jobs',
    );
  }
  const parents = breakCycles(new Map(job.map((table) => [table.name, findParent(table, job)])));
  const mapped = job.map((table) => mapTable(table, parents, job));
  return mapped.toSorted((a, b) => depthOf(a.table, parents) - depthOf(b.table, parents));
}

/** Whether a table has both an id and a status column, and is the app's own. */
export function isJobTable(table: StoreTable): boolean {
  return (
    !foreignTables.test(table.name) &&
    findColumn(table, ['id']) !== null &&
    findColumn(table, ['status']) !== null
  );
}

type Parents = ReadonlyMap<string, ParentMapping | null>;

function mapTable(table: StoreTable, parents: Parents, job: readonly StoreTable[]): TableMapping {
  const columns = {
    created: findColumn(table, columnNames.created),
    started: findColumn(table, columnNames.started),
    completed: findColumn(table, columnNames.completed),
    updated: findColumn(table, columnNames.updated),
    error: findColumn(table, columnNames.error),
    task: findColumn(table, columnNames.task),
  };
  const { created, started, completed, updated } = columns;
  const named = [created, started, completed, updated].filter((name) => name !== null);
  const others = table.columns
    .map((column) => column.name)
    .filter((name) => /_at$/i.test(name) && !noSignOfLife.test(name) && !named.includes(name));
  return {
    table: table.name,
    id: findColumn(table, ['id']) ?? 'id',
    status: findColumn(table, ['status']) ?? 'status',
    parent: parents.get(table.name) ?? null,
    words: {},
    resend: null,
    ...columns,
    times: [...named, ...others],
    counters: findCounters(table, parents, job),
  };
}

function findColumn(table: StoreTable, names: readonly string[]): string | null {
  for (const name of names) {
    const column = table.columns.find((candidate) => candidate.name.toLowerCase() === name);
    if (column) return column.name;
  }
  return null;
}

/** By foreign key, else by a column such as `job_id` that names another table of jobs. */
function findParent(table: StoreTable, job: readonly StoreTable[]): ParentMapping | null {
  for (const key of table.foreignKeys) {
    const parent = job.find((other) => other.name.toLowerCase() === key.table.toLowerCase());
    // SQLite leaves the column empty when the key means the parent's primary key.
    const toId = !key.to || key.to.toLowerCase() === 'id';
    if (parent && parent !== table && toId) {
      return { table: parent.name, column: key.column, foreignKey: true };
    }
  }
  for (const column of table.columns) {
    const singular = /^(.+)_id$/i.exec(column.name)?.[1]?.toLowerCase();
    const parent = job.find((other) => other !== table && singularOf(other.name) === singular);
    if (parent) return { table: parent.name, column: column.name, foreignKey: false };
  }
  return null;
}

/** `batches` → `batch`, `batch_links` → `batch_link`, `queries` → `query`. */
function singularOf(table: string): string {
  const name = table.toLowerCase();
  if (/ies$/.test(name)) return name.replace(/ies$/, 'y');
  if (/(?:ch|sh|s|x|z)es$/.test(name)) return name.replace(/es$/, '');
  return name.replace(/s$/, '');
}

/** A table can't be below itself: the tie known by its name alone gives way. */
function breakCycles(found: Parents): Parents {
  const parents = new Map(found);
  for (const table of parents.keys()) {
    const seen = new Set<string>([table]);
    for (let at = parents.get(table)?.table; at !== undefined; at = parents.get(at)?.table) {
      if (seen.has(at)) {
        const path = [...seen];
        const ring = path.slice(path.indexOf(at));
        const weakest = ring.find((name) => parents.get(name)?.foreignKey === false) ?? at;
        parents.set(weakest, null);
        break;
      }
      seen.add(at);
    }
  }
  return parents;
}

function depthOf(table: string, parents: Parents): number {
  const parent = parents.get(table);
  return parent ? 1 + depthOf(parent.table, parents) : 0;
}

/** `completed_links` counts the completed rows of the nearest table below that ends in `links`. */
function findCounters(
  table: StoreTable,
  parents: Parents,
  job: readonly StoreTable[],
): CounterMapping[] {
  const below = job
    .filter((other) => isBelow(other.name, table.name, parents))
    .toSorted((a, b) => depthOf(a.name, parents) - depthOf(b.name, parents));
  return table.columns.flatMap((column) => {
    const match = /^([a-z]+)_(.+)$/.exec(column.name.toLowerCase());
    const counts = match?.[1] ?? '';
    const counted = below.find(({ name }) => `_${name.toLowerCase()}`.endsWith(`_${match?.[2]}`));
    if (!counted || !isCountable(counts)) return [];
    return [{ column: column.name, table: counted.name, counts }];
  });
}

const isCountable = (word: string): word is CounterMapping['counts'] =>
  word === 'total' || statusWords.some((status) => status === word);

function isBelow(table: string, above: string, parents: Parents): boolean {
  const parent = parents.get(table)?.table;
  return parent !== undefined && (parent === above || isBelow(parent, above, parents));
}

function listNames(names: readonly string[]): string {
  if (names.length === 0) return 'none at all';
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown;
}
