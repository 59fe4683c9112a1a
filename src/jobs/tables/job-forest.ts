import { byName } from '../../model/by-name.ts';
import type { OwnTie, ParentMapping } from '../../model/job-store.ts';
import type { SqlValue } from '../../model/operation/jobs.ts';
import type { StoreRow, StoreValue } from '../../model/store-row.ts';
import {
  type Bystanders,
  bystanderColumns,
  bystandersOf,
  countBystanders,
  readKey,
} from './bystanders.ts';
import { commonForm, defaultForm, type InstantForm } from './instants.ts';
import { meaningOf, type StoreMapping, type TableMapping } from './mapping.ts';
import { readTask } from './task-ids.ts';

/** A row of a table of jobs, linked to its parent and children. */
export interface JobRow {
  readonly mapping: TableMapping;
  readonly id: string | number;
  /** Celeriac's word if the mapping has one, otherwise the app's. */
  readonly status: string;
  /** The mapped columns. */
  readonly values: StoreRow;
  readonly parent: JobRow | null;
  /** How it references its parent, existing or missing; `null`: it has no such reference. */
  readonly tie: ParentMapping | null;
  readonly children: readonly JobRow[];
  /** Its parent row is gone. */
  readonly orphan: boolean;
  /** Why it cannot be changed by its id; `null` when it can. */
  readonly blocked: string | null;
  /** Rows that reference it in tables without jobs; read, but never changed. */
  readonly bystanders: readonly Bystanders[];
}

export interface JobForest {
  readonly mapping: StoreMapping;
  /** Parents before their children. */
  readonly rows: readonly JobRow[];
  /** Number of rows without a usable id, by table. */
  readonly withoutId: ReadonlyMap<string, number>;
  /** Format of each timestamp column: table → column → format. */
  readonly forms: ReadonlyMap<string, ReadonlyMap<string, InstantForm>>;
  /** IANA name of the zone of timestamps that have none. */
  readonly timeZone: string;
  /** Of an extract: how many rows the tables have in each status, also of those that it lacks. */
  readonly counts: readonly StatusCount[];
}

/** How many rows a table has in a status. */
export interface StatusCount {
  readonly table: string;
  readonly status: StoreValue;
  readonly rows: number;
}

/** The columns of a table that Celeriac reads, the id first. */
export function readableColumns(mapping: TableMapping): readonly string[] {
  const named = mapping.bystanders.map(({ to }) => to);
  const columns = [
    mapping.id,
    ...vitalColumns(mapping),
    mapping.error,
    ...(mapping.resend?.args ?? []),
    ...named,
  ];
  return [...new Set(columns.filter((name) => name !== null))];
}

/** Columns that change when a row is being worked on; a row is only repaired if they are unchanged. */
export function vitalColumns(mapping: TableMapping): readonly string[] {
  const ties = [mapping.parent?.column ?? null, mapping.own?.column ?? null];
  const named = [mapping.status, ...ties, mapping.task];
  const counters = mapping.counters.map((counter) => counter.column);
  const columns = [...named, ...mapping.times, ...counters].filter((name) => name !== null);
  return [...new Set(columns)];
}

/** The tables that {@link growForest} reads, with their columns. */
export const listReads = (
  mapping: StoreMapping,
): readonly { readonly table: string; readonly columns: readonly string[] }[] =>
  mapping.flatMap((table) => [
    { table: table.table, columns: readableColumns(table) },
    ...table.bystanders.map((each) => ({ table: each.table, columns: bystanderColumns(each) })),
  ]);

/** Links the rows of all mapped tables. */
export function growForest(
  mapping: StoreMapping,
  readRows: (table: string, columns: readonly string[]) => readonly StoreRow[],
  timeZone = 'UTC',
  counts: readonly StatusCount[] = [],
): JobForest {
  const byTable = new Map<string, Map<string, Sapling>>();
  const rows: Sapling[] = [];
  const withoutId = new Map<string, number>();
  const forms = new Map<string, ReadonlyMap<string, InstantForm>>();
  for (const table of mapping) {
    const read = readRows(table.table, readableColumns(table));
    forms.set(
      table.table,
      findForms(table, (column) => read.map((row) => row[column] ?? null)),
    );
    const byId = new Map<string, Sapling>();
    byTable.set(table.table, byId);
    const saplings: Sapling[] = [];
    for (const values of read) {
      const id = values[table.id] ?? null;
      if (typeof id !== 'string' && typeof id !== 'number') {
        withoutId.set(table.table, (withoutId.get(table.table) ?? 0) + 1);
        continue;
      }
      const row = plant(table, id, values, byTable);
      saplings.push(row);
      const twin = byId.get(String(id));
      if (twin) {
        twin.blocked = row.blocked = 'another row of the table has the same id';
      }
      byId.set(String(id), row);
    }
    for (const row of table.own === null ? saplings : tieOwn(table, table.own, saplings, byId)) {
      row.parent?.children.push(row);
      rows.push(row);
    }
    const bystanders = countBystanders(table, readRows, timeZone);
    for (const row of saplings) row.bystanders = bystandersOf(row, bystanders);
  }
  return { mapping, rows, withoutId, forms, timeZone, counts };
}

type Sapling = { -readonly [Key in Exclude<keyof JobRow, 'parent' | 'children'>]: JobRow[Key] } & {
  parent: Sapling | null;
  children: JobRow[];
};

function plant(
  mapping: TableMapping,
  id: string | number,
  values: StoreRow,
  byTable: ReadonlyMap<string, ReadonlyMap<string, Sapling>>,
): Sapling {
  const named = mapping.parent ? readKey(values[mapping.parent.column]) : null;
  const parent =
    mapping.parent && named !== null ? byTable.get(mapping.parent.table)?.get(named) : undefined;
  const status = values[mapping.status];
  const row: Sapling = {
    mapping,
    id,
    status: statusOf(mapping, status),
    values,
    parent: parent ?? null,
    tie: named === null ? null : mapping.parent,
    children: [],
    orphan: named !== null && parent === undefined,
    blocked: null,
    bystanders: [],
  };
  if (row.orphan) blockSpelling(row, named, byTable.get(mapping.parent?.table ?? ''));
  return row;
}

/**
 * Blocks a row that names its parent in another case, and that parent: with COLLATE NOCASE, or for an app
 * that ignores case, the parent is not gone.
 */
function blockSpelling(
  row: Sapling,
  named: string | null,
  uppers: ReadonlyMap<string, Sapling> | undefined,
): void {
  const upper = uppers && named !== null ? lowerCased(uppers).get(named.toLowerCase()) : undefined;
  if (upper === undefined) return;
  row.orphan = false;
  row.blocked = `it names its parent ${named}, whose id is spelled ${upper.id}`;
  upper.blocked = `${nameRow(row)} names it ${named}, its id is spelled ${upper.id}`;
}

const lowered = new WeakMap<ReadonlyMap<string, Sapling>, ReadonlyMap<string, Sapling>>();

/** All rows of a table by their ids in lower case; made once, as most tables need none. */
function lowerCased(rows: ReadonlyMap<string, Sapling>): ReadonlyMap<string, Sapling> {
  const known = lowered.get(rows);
  if (known !== undefined) return known;
  const made = new Map([...rows].map(([id, row]) => [id.toLowerCase(), row]));
  lowered.set(rows, made);
  return made;
}

/** Deeper nesting within one table is not plausible. */
const deepest = 100;

/** Links rows to their parents in the same table; returns parents first. */
function tieOwn(
  { table }: TableMapping,
  own: OwnTie,
  rows: readonly Sapling[],
  byId: ReadonlyMap<string, Sapling>,
): readonly Sapling[] {
  const above = new Map<Sapling, Sapling>();
  for (const row of rows) {
    const key = readKey(row.values[own.column]);
    // The root of a tree may reference itself.
    if (key === null || key === String(row.id)) continue;
    const upper = byId.get(key);
    if (upper !== undefined) above.set(row, upper);
    else if (own.foreignKey && row.tie === null) {
      row.tie = { table, ...own };
      row.orphan = true;
      blockSpelling(row, key, byId);
    }
  }
  const depths = new Map(rows.map((row) => [row, climb(row, above).length]));
  for (const row of rows) {
    if ((depths.get(row) ?? 0) <= deepest) continue;
    for (const each of [row, ...climb(row, above)]) {
      each.blocked = `rows of ${table} are nested more than ${deepest} levels deep, or form a cycle`;
    }
  }
  for (const [row, upper] of above) {
    if ((depths.get(row) ?? 0) > deepest) continue;
    const other = climb(row, above).at(-1)?.parent ?? null;
    if (row.parent !== null && other !== null && other !== row.parent) {
      // It is unclear which of the two it belongs to: both are skipped.
      row.blocked = `it belongs to ${nameRow(row.parent)} and, by ${own.column}, to ${nameRow(other)}`;
      row.parent.blocked = `${nameRow(row)} ${row.blocked.replace(/^it /, '')}`;
    }
    row.parent = upper;
    row.tie = { table, ...own };
    row.orphan = false;
  }
  return rows.toSorted((a, b) => (depths.get(a) ?? 0) - (depths.get(b) ?? 0));
}

/** The ancestors, nearest first; stops one above the limit. */
function climb(row: Sapling, above: ReadonlyMap<Sapling, Sapling>): readonly Sapling[] {
  const path: Sapling[] = [];
  for (let at = above.get(row); at !== undefined && path.length <= deepest; at = above.get(at)) {
    path.push(at);
  }
  return path;
}

/** Whether its parent is a row of the same table. */
export const isOwn = (row: JobRow): boolean => row.tie?.table === row.mapping.table;

/**
 * Celeriac's word for a status if the mapping has one, otherwise the app's. Numbers are only statuses
 * if the mapping defines them; `''`: none.
 */
export function statusOf(mapping: TableMapping, value: StoreValue | undefined): string {
  if (typeof value === 'string') return meaningOf(mapping, value);
  const word = typeof value === 'number' ? String(value) : '';
  return Object.hasOwn(mapping.words, word) ? meaningOf(mapping, word) : '';
}

/** How the time columns of a table write their instants, by the values that they hold. */
function findForms(
  table: TableMapping,
  valuesOf: (column: string) => readonly unknown[],
): ReadonlyMap<string, InstantForm> {
  const common = new Map(table.times.map((column) => [column, commonForm(valuesOf(column))]));
  // An empty column gets the format of columns that the app fills; `created_at` comes last, because
  // SQLite's CURRENT_TIMESTAMP often fills it.
  const neighbours = [table.completed, table.started, table.updated, table.created];
  const neighbour = neighbours.map((name) => (name ? common.get(name) : null)).find(Boolean);
  return new Map(
    table.times.map((column) => [column, common.get(column) ?? neighbour ?? defaultForm]),
  );
}

/** All descendants, depth first. */
export function descendantsOf(row: JobRow): readonly JobRow[] {
  return row.children.flatMap((child) => [child, ...descendantsOf(child)]);
}

/** All ancestors, nearest first. */
export function ancestorsOf(row: JobRow): readonly JobRow[] {
  return row.parent === null ? [] : [row.parent, ...ancestorsOf(row.parent)];
}

/** The topmost ancestor, or the row itself. */
export function rootOf(row: JobRow): JobRow {
  return row.parent ? rootOf(row.parent) : row;
}

/**
 * The parent row that describes the same work: a batch and its job, if the batch references the job
 * without a foreign key and is its only child. They are repaired together.
 */
export function mirrorAbove(row: JobRow): JobRow | null {
  const mirrors = row.tie !== null && !row.tie.foreignKey && !isOwn(row);
  return mirrors && row.parent?.children.length === 1 ? row.parent : null;
}

/** The id of the task that works, or worked, on a row, as Celery writes it. */
export function taskOf(row: JobRow): string | null {
  const { task } = row.mapping;
  return task === null ? null : readTask(row.values[task]);
}

/** A value for display. */
export function showValue(value: StoreValue | undefined): string {
  if (value === null || value === undefined) return 'empty';
  if (typeof value === 'object') return value.opaque === 'blob' ? 'binary data' : 'a huge number';
  return typeof value === 'string' ? `'${value.slice(0, 60)}'` : String(value);
}

/** `batches:12ab34cd…`: the row in `ids` and in the count of resets. */
export const rowKey = ({ mapping, id }: JobRow): string => `${mapping.table}:${id}`;

/** `batches 12ab34cd`: the table and the first 8 characters of the id. */
export const nameRow = (row: JobRow): string => `${row.mapping.table} ${shortId(row.id)}`;

export const shortId = (id: string | number): string =>
  /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(String(id)) ? String(id).slice(0, 8) : String(id);

/** The columns that the host can compare, with their values. */
export function pickSeen(row: JobRow, columns: readonly string[]): Record<string, SqlValue> {
  const seen = byName<SqlValue>();
  for (const column of columns) {
    const value = row.values[column] ?? null;
    if (value === null || typeof value !== 'object') seen[column] = value;
  }
  return seen;
}
