import { stringify } from 'yaml';
import { actions } from '../../config/action-inputs.ts';
import {
  columnNames,
  findColumn,
  idColumn,
  statusColumn,
  taskColumn,
} from '../../jobs/tables/columns.ts';
import { holdJobs, isOthers, judgeTables } from '../../jobs/tables/job-tables.ts';
import { isBusinessRecord, readTableName } from '../../jobs/tables/job-words.ts';
import { listNames, snakeOf } from '../../jobs/tables/names.ts';
import type { StoreTable } from '../../model/facts/store.ts';
import type { FactAnswers } from '../../model/facts.ts';
import { formatList } from '../../model/quantities.ts';
import { comment, entry } from './fleet-lines.ts';

type Stores = FactAnswers['stores'];

/** Databases with tables of jobs, by the schemas that were found. */
export const jobDatabases = (stores: Stores): readonly string[] =>
  stores.flatMap((store) => ('tables' in store && holdJobs(store.tables) ? [store.path] : []));

/** A database in which no table of jobs was recognised, though some of its tables may be one. */
export interface OpenDatabase {
  readonly path: string;
  /** Those that may be, the likeliest first. */
  readonly tables: readonly OpenTable[];
}

interface OpenTable {
  readonly table: StoreTable;
  /** Why it is not taken for one. */
  readonly reason: string;
}

/** Databases of which only the owner knows whether they have jobs; none if another one has them. */
export function openDatabases(stores: Stores): readonly OpenDatabase[] {
  if (jobDatabases(stores).length > 0) return [];
  return stores.flatMap((store) => {
    const tables = 'tables' in store ? openTables(store.tables) : [];
    return tables.length === 0 ? [] : [{ path: store.path, tables }];
  });
}

function openTables(tables: readonly StoreTable[]): readonly OpenTable[] {
  const verdicts = judgeTables(tables);
  return tables
    .filter((table) => !isOthers(table))
    .flatMap((table): readonly OpenTable[] => {
      const verdict = verdicts.find((each) => each.table === table);
      if (verdict !== undefined) return [{ table, reason: verdict.reason }];
      if (signsOf(table) === 0) return [];
      const lacks = [
        ...(idColumn(table) === null ? ['id'] : []),
        ...(statusColumn(table) === null ? ['status'] : []),
      ];
      return [{ table, reason: `no column has a known name for the ${lacks.join(' or the ')}` }];
    })
    .toSorted((one, other) => signsOf(other.table) - signsOf(one.table));
}

/** How much speaks for a table of jobs. */
function signsOf(table: StoreTable): number {
  const task = taskColumn(table) === null ? 0 : 4;
  const name = readTableName(table.name) === 'job' ? 2 : 0;
  // The state of an address is none of a job.
  const state = likelyStatus(table) === null || isBusinessRecord(table.name) ? 0 : 1;
  return task + name + state;
}

/** The column that may be its status, though its name is none of the known ones. */
function likelyStatus(table: StoreTable): string | null {
  const known = statusColumn(table);
  const named = table.columns.find(({ name }) =>
    /(?:^|_)(?:status|state|phase|stage)$/.test(snakeOf(name)),
  );
  return known ?? named?.name ?? null;
}

/** The setting of the database, with what was found. */
export function databaseLines(stores: Stores): readonly string[] {
  const found = jobDatabases(stores);
  const [only] = found;
  if (only !== undefined && !actions.cleanup.database.schema.safeParse(only).success) {
    return [
      comment(
        `Tables of jobs are in ${only}, and \`database\` takes no such path: it is searched for`,
      ),
      comment('by each run.'),
    ];
  }
  if (only !== undefined && found.length === 1) {
    return [comment('Its tables hold jobs, by their columns:'), entry('database', only)];
  }
  if (found.length > 1) {
    return [
      comment(`These databases have tables of jobs: ${formatList(found)}.`),
      comment('All of them are cleaned up; `database` would name one of them alone.'),
    ];
  }
  const open = openDatabases(stores);
  const unread = unreadLines(stores);
  if (open.length > 0) return [...unread, ...open.flatMap(questionLines)];
  if (unread.length > 0) {
    return [
      ...unread,
      comment('database: # a SQLite file, a postgresql:// URL without a password, or none'),
    ];
  }
  return [
    ...(stores.length === 0
      ? [
          comment(
            "No SQLite file below the worker's directory, and no sqlite:/// or postgresql:// URL in",
          ),
          comment('its environment.'),
        ]
      : stores.map((store) => comment(whyNone(store)))),
    comment('If the app keeps its jobs in a table elsewhere, name the database here.'),
    entry('database', 'none'),
  ];
}

const unreadLines = (stores: Stores): readonly string[] => {
  const unread = stores.flatMap((store) =>
    store.kind === 'unreadable' ? [`${store.path} (${store.problem})`] : [],
  );
  return unread.length === 0
    ? []
    : [comment(`What could not be read may have tables of jobs: ${formatList(unread)}.`)];
};

/** Of a database without a table that may hold jobs. */
function whyNone(store: Stores[number]): string {
  if (!('tables' in store)) return `No tables of jobs in ${store.path}.`;
  const own = store.tables.filter((table) => !isOthers(table));
  const others = store.tables.filter(isOthers);
  const parts = [
    ...(own.length > 0
      ? [`${listNames(own.map(({ name }) => name))} (no column for a status)`]
      : []),
    ...(others.length > 0
      ? [`${listNames(others.map(({ name }) => name))} (of Celery or a framework)`]
      : []),
  ];
  const tables = parts.length === 0 ? 'it has no tables' : parts.join('; ');
  return `No tables of jobs in ${store.path}: ${tables}.`;
}

const mostReasons = 20;

/** A question to the owner: what is written there is commented out, so no run takes it for known. */
function questionLines({ path, tables }: OpenDatabase): readonly string[] {
  const shown = tables.slice(0, mostReasons);
  const [likeliest] = tables;
  return [
    comment(`Does the app keep its jobs in ${path}? No table shows by itself that it does:`),
    ...shown.map(({ table, reason }) => comment(`- ${table.name}: ${reason}`)),
    ...(tables.length > shown.length
      ? [comment(`- and ${tables.length - shown.length} more`)]
      : []),
    comment(
      'Until this is answered, the clean-up ends with an error. If a table holds jobs, remove',
    ),
    comment(
      'the `#` here, replace each COLUMN, and if its words for a status are others than pending,',
    ),
    comment('processing, completed, failed and cancelled, add `words: { running: processing }`:'),
    ...(likeliest === undefined ? [] : sketchOf(path, likeliest.table)),
    comment('If none does:'),
    comment('database: none'),
  ];
}

function sketchOf(path: string, table: StoreTable): readonly string[] {
  const spec: Record<string, string> = {
    id: idColumn(table) ?? 'COLUMN',
    status: likelyStatus(table) ?? 'COLUMN',
  };
  for (const key of ['created', 'started', 'completed', 'updated', 'error'] as const) {
    const column = findColumn(table, columnNames[key]);
    if (column !== null) spec[key] = column;
  }
  const task = taskColumn(table);
  if (task !== null) spec.task = task;
  const yaml = stringify(
    { stores: [{ database: path, tables: { [table.name]: spec } }] },
    { lineWidth: 0 },
  );
  return yaml.trimEnd().split('\n').map(comment);
}
