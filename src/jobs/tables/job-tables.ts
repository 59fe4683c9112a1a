import type { TableSpec } from '../../config/stores-input.ts';
import { byName, ownValue } from '../../model/by-name.ts';
import type { StoreTable } from '../../model/facts/store.ts';
import type { Finding } from '../../model/operation.ts';
import { columnNames, findColumn, idColumn, statusColumn, taskColumn } from './columns.ts';
import { howToInclude, yamlFor } from './include-table.ts';
import {
  countedNoun,
  doubtStatuses,
  isBusinessName,
  isBusinessRecord,
  readTableName,
} from './job-words.ts';
import { listNames, singularOf, snakeOf, wordsOf } from './names.ts';
import { doubtColumns } from './people-work.ts';
import { findTies, mayNameAppTask, type TableSpecs } from './ties.ts';
import { ageColumns } from './time-columns.ts';

/**
 * How certain it is that a table holds jobs. Rows of doubtful tables are never changed; listing a
 * table in `stores` includes it.
 */
export type TableClass = 'named' | 'certain' | 'likely' | 'doubtful';

/** Whether a table with an id and a status holds jobs, and why. */
export interface TableVerdict {
  readonly table: StoreTable;
  readonly class: TableClass;
  /** For people: `named like a job, …`; for doubtful tables `not named like a job, …`. */
  readonly reason: string;
}

/** Tables of frameworks, with names that could be those of jobs. */
const frameworkNames =
  /^(?:django_(?:migrations|session|content_type|admin_log|site|flatpage.*|redirect)|sqlite_.*|alembic_.*)$/i;

/** Tables in which Celery and Kombu keep results, messages and schedules. */
const celeryNames =
  /^(?:celery_task(?:set)?meta|kombu_(?:message|queue)|django_celery_(?:results|beat)_.*|djcelery_.*)$/i;

/** The columns of Celery's results, whatever their table is called. */
const resultColumns = ['task_id', 'status', 'result', 'date_done', 'traceback'];

/** Whether Celery itself keeps a table: its rows say how tasks ended, and are no jobs of the app. */
const isOfCelery = (table: StoreTable): boolean =>
  celeryNames.test(table.name) ||
  resultColumns.every((name) => table.columns.some((column) => column.name === name));

/** Tables of Celery and of frameworks. */
export const isOthers = (table: StoreTable): boolean =>
  frameworkNames.test(table.name) || isOfCelery(table);

/** Names Celery's own tables that could be taken for jobs; `null` when there are none. */
export function tellCelerys(
  database: string,
  tables: readonly StoreTable[],
  specs: TableSpecs = byName(),
): Finding | null {
  const own = tables.filter(
    (table) =>
      ownValue(specs, table.name) === undefined &&
      isOfCelery(table) &&
      statusColumn(table) !== null,
  );
  if (own.length === 0) return null;
  const message = `skipped Celery's own tables: ${listNames(own.map(({ name }) => name))}`;
  return { level: 'notice', message, where: database, lasting: true };
}

/**
 * Which tables hold jobs. Each table needs evidence of its own (a shop's payments reference the same
 * users as its jobs): a column with Celery task ids, or a name, statuses and timestamps like those of
 * jobs. The parent of such a table holds jobs if it is named like a job as well, or if it counts how
 * those rows end.
 *
 * @param specs tables listed there hold jobs, whatever they look like
 * @returns a verdict for each table with an id and a status, in the order of the tables
 */
export function judgeTables(
  tables: readonly StoreTable[],
  specs: TableSpecs = byName(),
): readonly TableVerdict[] {
  const candidates = tables.filter((table) => isCandidate(table, ownValue(specs, table.name)));
  const found = new Map<StoreTable, TableVerdict>();
  const take = (table: StoreTable, kind: TableClass, reason: string): void => {
    found.set(table, { table, class: kind, reason });
  };
  for (const table of candidates) {
    if (ownValue(specs, table.name) !== undefined) take(table, 'named', 'listed in `stores`');
    else judgeAlone(table, tables, take);
  }
  // A table of jobs may make others tables of jobs: its parents and its parts.
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const table of candidates) {
      if (!found.has(table)) judgeByTies(table, [...found.keys()], take);
    }
  }
  const job = [...found.keys()];
  return candidates.map(
    (table) => found.get(table) ?? { table, class: 'doubtful', reason: doubt(table, job) },
  );
}

/** The tables of jobs. */
export const jobTablesOf = (verdicts: readonly TableVerdict[]): readonly StoreTable[] =>
  verdicts.filter((verdict) => verdict.class !== 'doubtful').map(({ table }) => table);

/** Whether any of these tables holds jobs. */
export const holdJobs = (tables: readonly StoreTable[]): boolean =>
  jobTablesOf(judgeTables(tables)).length > 0;

/** The tables that are skipped. */
export const doubtfulOf = (verdicts: readonly TableVerdict[]): readonly TableVerdict[] =>
  verdicts.filter((verdict) => verdict.class === 'doubtful');

/** `orders, users (why); payments (why)`, for people. */
export function explainDoubtful(verdicts: readonly TableVerdict[]): string {
  const names = new Map<string, string[]>();
  for (const { table, reason } of verdicts) {
    names.set(reason, [...(names.get(reason) ?? []), table.name]);
  }
  return [...names].map(([reason, list]) => `${listNames(list)} (${reason})`).join('; ');
}

/** The skipped tables, why they are skipped, and how to include them; `null` when there are none. */
export function tellDoubtful(database: string, verdicts: readonly TableVerdict[]): Finding | null {
  const doubtful = doubtfulOf(verdicts);
  if (doubtful.length === 0) return null;
  const message = `skipped tables, because nothing shows that their rows are jobs: ${explainDoubtful(doubtful)}; ${howToInclude(database, doubtful)}`;
  return { level: 'notice', message, where: database, lasting: true };
}

/**
 * Tables that are named like jobs, and whose rows cannot be identified or judged; `null`: there are none.
 *
 * @param tables those of a database in which other tables hold jobs
 */
export function tellUnread(
  database: string,
  tables: readonly StoreTable[],
  specs: TableSpecs = {},
): Finding | null {
  const unread = tables.flatMap((table) => {
    const spec = specs[table.name];
    if (spec !== undefined || isOthers(table) || readTableName(table.name) !== 'job') return [];
    const lacks = [
      ...(idColumn(table) === null ? ['id'] : []),
      ...(statusColumn(table) === null ? ['status'] : []),
    ];
    return lacks.length === 0 ? [] : [{ table: table.name, lacks }];
  });
  const [first, ...others] = unread;
  if (first === undefined) return null;
  const names = unread.map(({ table, lacks }) => `${table} (no ${lacks.join(' and no ')})`);
  const spec = Object.fromEntries(first.lacks.map((key) => [key, 'COLUMN']));
  const yaml = yamlFor(database, others.length > 0 ? 'TABLE' : first.table, spec);
  const message = `skipped tables that are named like jobs, because no column has a known name for the id or the status: ${names.join(', ')}; to include one, name its columns in \`stores\`: ${yaml}`;
  return { level: 'notice', message, where: database, lasting: true };
}

type Take = (table: StoreTable, kind: TableClass, reason: string) => void;

/** Whether a table has an id and a status column, and belongs to the app. */
function isCandidate(table: StoreTable, spec?: TableSpec): boolean {
  if (spec?.ignore === true || (spec === undefined && isOthers(table))) return false;
  return idColumn(table, spec) !== null && statusColumn(table, spec) !== null;
}

function judgeAlone(table: StoreTable, tables: readonly StoreTable[], take: Take): void {
  const task = celeryColumn(table, tables);
  if (task !== null && doubtStatuses(table.statuses, 'by task') === null) {
    take(table, 'certain', `its column ${task} holds Celery task ids`);
  } else if (
    readTableName(table.name) === 'job' &&
    hasTimesOfJobs(table) &&
    doubtColumns(table) === null
  ) {
    take(table, 'likely', 'named like a job, with the statuses and timestamps of one');
  }
}

function judgeByTies(table: StoreTable, job: readonly StoreTable[], take: Take): void {
  const name = readTableName(table.name);
  const [upper] = findTies(table, job);
  const isPart = name === 'part' && hasTimesOfJobs(table) && doubtColumns(table) === null;
  if (isPart && upper !== undefined) {
    take(table, 'likely', `part of ${upper.table}, with the statuses and timestamps of a job`);
    return;
  }
  if (doubtStatuses(table.statuses, 'by name') !== null || doubtColumns(table) !== null) return;
  const below = job.filter((each) =>
    findTies(each, [...job, table]).some((tie) => tie.table === table.name),
  );
  const [first] = below;
  if (first !== undefined && name === 'job') {
    take(table, 'likely', `parent of ${first.name}, and named like a job`);
    return;
  }
  const counted = isBusinessName(table.name) ? null : findCounted(table, below);
  if (counted !== null) {
    take(table, 'likely', `its column ${counted.column} counts ${counted.table}`);
  }
}

const hasTimesOfJobs = (table: StoreTable): boolean =>
  doubtStatuses(table.statuses, 'by name') === null && ageColumns(table).length > 0;

/**
 * The column with Celery task ids, unless it references a table of the app with that name. In tables
 * about money or people, `task_id` may be an id of something else, e.g. of a payment provider; and an
 * order that names its Celery task may be "processing" until it is shipped, long after that.
 */
function celeryColumn(table: StoreTable, tables: readonly StoreTable[]): string | null {
  const column = taskColumn(table);
  if (column === null || mayNameAppTask(table, column, tables)) return null;
  if (isBusinessRecord(table.name)) return null;
  if (isBusinessName(table.name) && !wordsOf(column).includes('celery')) return null;
  const others = tables.filter((other) => idColumn(other) !== null);
  return findTies(
    { ...table, foreignKeys: [] },
    others.filter(({ name }) => name !== table.name),
  ).some((tie) => tie.column === column)
    ? null
    : column;
}

function findCounted(
  table: StoreTable,
  below: readonly StoreTable[],
): { readonly column: string; readonly table: string } | null {
  for (const { name: column } of table.columns) {
    const noun = countedNoun(snakeOf(column));
    const counted = below.find((each) => `_${singularOf(each.name)}`.endsWith(`_${noun}`));
    if (noun !== null && counted !== undefined) return { column, table: counted.name };
  }
  return null;
}

function doubt(table: StoreTable, job: readonly StoreTable[]): string {
  const name = readTableName(table.name);
  const named = name === 'job' || taskColumn(table) !== null;
  const statuses = named ? doubtStatuses(table.statuses, 'by name') : null;
  if (statuses !== null) return statuses;
  const columns = name === null ? null : doubtColumns(table);
  if (columns !== null) {
    return `named like ${name === 'part' ? 'a part of a job' : 'a job'}, but ${columns}`;
  }
  if (name === 'job') return 'named like a job, but without a timestamp column';
  const tied = job.filter(
    (other) => findTies(table, [other]).length > 0 || findTies(other, [table]).length > 0,
  );
  const celery = taskColumn(table);
  if (celery !== null && wordsOf(celery).includes('celery') && isBusinessRecord(table.name)) {
    return `named like business records, whose status may be another than that of the Celery task in ${celery}`;
  }
  const [task] = columnNames.task.map((each) => findColumn(table, [each])).filter(Boolean);
  const what =
    task === undefined
      ? 'not named like a job, and without a column for Celery task ids'
      : `not named like a job, and ${task} may not be a Celery task id`;
  const names = tied.map((other) => other.name);
  return names.length > 0 ? `linked to ${names.slice(0, 3).join(', ')}, but ${what}` : what;
}
